// The escape corpus, G and I: what the kernel shows and lets change, tried as root inside, with a look at the host's side of it.
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { Container } from '../../lib/index.ts'
import { errorOf, makeContainer, startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { probe } from '../support/probe.ts'

const skip = needsRoot

interface Outcome {
  readonly result: number
  readonly error: string | null
}

const sh = async (container: Container, script: string): Promise<string> =>
  (await container.attach(['sh', '-c', script], { reject: false })).stdout
/** A system call, made inside. */
const call = async (container: Container, ...words: (string | number)[]): Promise<Outcome> =>
  JSON.parse((await container.attach(['/probe', 'syscall', ...words.map(String)])).stdout)
/** The same on the host. */
const hostCall = (...words: (string | number)[]): Outcome =>
  JSON.parse(execFileSync(probe, ['syscall', ...words.map(String)], { encoding: 'utf8' }))
const open = async (container: Container, path: string, how: string): Promise<Outcome> =>
  JSON.parse((await container.attach(['/probe', 'open', path, how])).stdout)

/** What nothing of ours stands in the way of: the control of most rows. */
const unguarded = (t: Test) => startContainer(t, { idmap: false, seccomp: false, config: 'lxc.cap.drop =\n' })

const SYS = { shmget: 29, shmctl: 31, syslog: 103, add_key: 248, keyctl: 250, open_by_handle_at: 304 } as const
const onX64 = skip || (process.arch === 'x64' ? false : 'numbers of calls are those of x86-64')

t.test('E-I7 a key of the host is neither found nor read', { skip: onX64 }, async t => {
  const name = `caisson-${randomUUID()}`
  const [USER_KEYRING, READ, SETPERM, INVALIDATE, SEARCH] = [-4, 11, 5, 21, 10]
  const key = hostCall(SYS.add_key, 'user', name, 'canary', 6, USER_KEYRING).result
  t.teardown(() => hostCall(SYS.keyctl, INVALIDATE, key))
  hostCall(SYS.keyctl, SETPERM, key, 0x3f3f3f3f)
  t.equal(hostCall(SYS.keyctl, READ, key, 0, 0).result, 6, 'control: the host reads it')
  const { container } = await startContainer(t)
  t.match(await call(container, SYS.keyctl, READ, key, 0, 0), { result: -1, error: 'EPERM' }, 'the filter')
  t.match(await call(container, SYS.keyctl, SEARCH, USER_KEYRING, 'user', name, 0), { result: -1, error: 'EPERM' })
  t.notMatch(await sh(container, 'cat /proc/keys /proc/key-users'), /canary|caisson|keyring/)
  const { container: control } = await unguarded(t)
  t.equal((await call(control, SYS.keyctl, READ, key, 0, 0)).result, 6, 'control: without our layers it is read')
})

t.test('E-I8 the kernel’s log is not read', { skip: onX64 }, async t => {
  const SIZE_BUFFER = 10
  t.ok(hostCall(SYS.syslog, SIZE_BUFFER, 0, 0).result > 0, 'control: the host can')
  const { container } = await startContainer(t)
  t.match(await call(container, SYS.syslog, SIZE_BUFFER, 0, 0), { error: 'EPERM' })
  t.match(await call(container, SYS.syslog, 3, 0, 0), { error: 'EPERM' })
  t.equal((await open(container, '/dev/kmsg', 'r')).error, 'ENOENT')
  t.equal((await container.attach(['sh', '-c', 'timeout 1 head -c 1 /proc/kmsg'], { reject: false })).stdout, '')
})

t.test('E-I11 a handle of a file opens nothing', { skip: onX64 }, async t => {
  const tried = (container: Container) => call(container, SYS.open_by_handle_at, -100, '\x01\x01\x01\x01', 0)
  const { container } = await startContainer(t)
  t.equal((await tried(container)).error, 'EPERM')
  const { container: control } = await unguarded(t)
  t.match((await tried(control)).error, /EINVAL|ESTALE|EBADF/, 'control: without our layers the handle is looked at')
})

/** Files that name what is the host's, and that the host itself finds full. */
const MASKED = [
  'kallsyms',
  'keys',
  'timer_list',
  'kpagecount',
  'kpageflags',
  'slabinfo',
  'vmallocinfo',
  'iomem',
  'interrupts',
  'sched_debug',
  'kcore',
  'latency_stats',
]

t.test('E-I6 masked files give nothing away', { skip }, async t => {
  const { container } = await startContainer(t)
  const size = async (file: string) => Number(await sh(container, `head -c 100 /proc/${file} 2>/dev/null | wc -c`))
  const onHost = (file: string) =>
    execFileSync('sh', ['-c', `head -c 100 /proc/${file} 2>/dev/null | wc -c`], { encoding: 'utf8' })
  const there = MASKED.filter(file => existsSync(`/proc/${file}`))
  for (const file of there) t.equal(await size(file), 0, `/proc/${file}`)
  const full = there.filter(file => Number(onHost(file)) > 0)
  t.ok(full.length > 3, `control: on the host ${full.join(', ')} say something`)
  for (const place of ['firmware', 'devices/virtual/powercap']) {
    t.equal(await sh(container, `ls -A /sys/${place} 2>/dev/null`), '', place)
  }
  t.notMatch(await sh(container, 'ls /sys/kernel/slab /sys/kernel/debug 2>/dev/null'), /caisson/)
})

t.test('E-I15 file systems of the host’s kernel cannot be mounted inside', { skip }, async t => {
  const { container } = await startContainer(t)
  const types = ['debugfs', 'tracefs', 'securityfs', 'configfs', 'pstore', 'efivarfs']
  const mounts = (type: string) =>
    `mkdir -p /tmp/m; mount -t ${type} none /tmp/m 2>/dev/null && umount /tmp/m && echo mounted; true`
  for (const type of types) t.equal(await sh(container, mounts(type)), '', type)
  t.equal(await sh(container, mounts('tmpfs')), 'mounted\n', 'control: one that is harmless can be')
  const host = types.map(type =>
    execFileSync('unshare', ['-m', 'sh', '-c', `mount -t ${type} none /mnt 2>/dev/null && echo mounted; true`], {
      encoding: 'utf8',
    }),
  )
  t.ok(host.includes('mounted\n'), 'control: the host can')
})

t.test('E-I2 no name and no value of a sysctl is another', { skip }, async t => {
  const { container } = await makeContainer(t)
  const before = readFileSync('/proc/sys/kernel/core_pattern', 'utf8')
  for (const name of [
    'kernel.shm_rmid_forced/../core_pattern',
    'kernel/../kernel/core_pattern',
    '../../self/mem',
    'net.ipv4.ip_forward=1\nlxc.cap.keep',
    'net..ip',
  ]) {
    container.config.clear('lxc.sysctl')
    const failure = await Promise.resolve()
      .then(() => container.config.set(`lxc.sysctl.${name}` as 'lxc.sysctl.a', '|/evil'))
      .then(() => container.start())
      .then(
        () => undefined,
        (error: Error & { code?: string }) => error,
      )
    t.match(failure, { code: /^E/ }, JSON.stringify(name))
  }
  container.config.clear('lxc.sysctl')
  for (const value of ['1\nlxc.cap.keep = none', '1\0', '1\r2'])
    t.throws(() => container.config.set('lxc.sysctl.net.ipv4.ip_forward' as 'lxc.sysctl.a', value), {
      code: 'ERR_CONFIG_VALUE',
    })
  container.config.set('lxc.sysctl.kernel.core_pattern' as 'lxc.sysctl.a', '|/evil')
  t.match(await errorOf(container.start()), { code: /^E/ }, 'what belongs to no namespace is refused')
  t.equal(readFileSync('/proc/sys/kernel/core_pattern', 'utf8'), before)
  container.config.clear('lxc.sysctl').set('lxc.sysctl.net.ipv4.ip_forward' as 'lxc.sysctl.a', '1')
  await container.start()
  t.equal(
    await sh(container, 'cat /proc/sys/net/ipv4/ip_forward'),
    '1\n',
    'control: one that is the container’s is set',
  )
})

t.test('E-C2 a sysctl is set in the real /proc/sys, or the start fails', { skip }, async t => {
  const lines = ['lxc.sysctl.net.ipv4.ip_forward = 1', 'lxc.mount.entry = tmpfs proc/sys/net/ipv4 tmpfs create=dir 0 0']
  const { container } = await makeContainer(t, { config: `${lines.join('\n')}\n` })
  const failure = await container.start().then(
    () => undefined,
    (error: Error & { code?: string }) => error,
  )
  if (failure === undefined) {
    // Who reads /proc/sys/net sees their own network namespace, with whichever /proc.
    const enter = ['--target', String(await container.initPid()), '--net', 'cat', '/proc/sys/net/ipv4/ip_forward']
    t.equal(execFileSync('nsenter', enter, { encoding: 'utf8' }), '1\n', 'what covers it later is no matter')
  } else t.match(failure, { code: /^E/ }, failure.message)
  const { container: control } = await startContainer(t, { config: `${lines[0]}\n` })
  t.equal(await sh(control, 'cat /proc/sys/net/ipv4/ip_forward'), '1\n', 'control: uncovered it is set')
})

t.test('E-I3 E-I4 what makes the host act is not writable', { skip }, async t => {
  const { container } = await startContainer(t)
  const triggers = [
    '/proc/sysrq-trigger',
    '/sys/kernel/uevent_helper',
    '/proc/sys/kernel/core_pattern',
    '/proc/sys/kernel/modprobe',
    '/sys/power/state',
    '/sys/kernel/mm/ksm/run',
    '/sys/fs/cgroup/release_agent',
  ]
  for (const path of triggers) t.match((await open(container, path, 'w')).error, /^(EROFS|EACCES|ENOENT|EPERM)$/, path)
  t.equal((await open(container, '/proc/self/comm', 'w')).error, null, 'control: what is its own is')
  t.ok(triggers.filter(path => existsSync(path)).length > 1, 'and the host has such files')
})

t.test('E-I5 no interpreter of the host’s is registered', { skip }, async t => {
  const { container } = await startContainer(t)
  const list = () =>
    execFileSync('unshare', ['-m', 'sh', '-c', 'mount -t binfmt_misc none /mnt 2>/dev/null && ls /mnt; true'], {
      encoding: 'utf8',
    })
  const before = list()
  const line = ':caissonevil:M::CSEV::/bin/true:'
  const inside = await sh(
    container,
    `mkdir -p /m; for at in /proc/sys/fs/binfmt_misc /m; do mount -t binfmt_misc none $at && echo mounted; echo '${line}' > $at/register && ls $at; done 2>/dev/null`,
  )
  t.comment(`inside: ${inside.trim().replaceAll('\n', ' ') || 'nothing goes'}`)
  t.equal(list(), before, 'the host’s list is as it was')
  t.notMatch(list(), /caissonevil/)
})

/** Every file of that name in the host's hierarchies, with what it says. */
function agents(): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(line => line.includes(' - cgroup '))
  return mounts
    .map(line => `${line.split(' ')[4]}/release_agent`)
    .filter(path => existsSync(path))
    .map(path => `${path}: ${readFileSync(path, 'utf8')}`)
}

const ATTACK = `for at in /sys/fs/cgroup/*; do for file in release_agent notify_on_release devices.allow cgroup.procs; do
  [ -e $at/$file ] && (echo 1 > $at/$file) 2>/dev/null && echo "$at/$file"; done; done
mkdir -p /m; for kind in devices pids memory rdma cpu; do mount -t cgroup -o $kind none /m 2>/dev/null || continue
  for file in release_agent devices.allow; do (echo /evil > /m/$file) 2>/dev/null && echo "$kind/$file"; done; umount /m; done
unshare -Urm sh -c 'mount -t cgroup -o devices none /m && echo /evil > /m/release_agent && echo nested' 2>/dev/null; true`

t.test('E-G1 E-G2 E-G7 no release_agent and no devices.allow is written, privileged or not', { skip }, async t => {
  const before = agents()
  for (const idmap of [undefined, false] as const) {
    const { container } = await startContainer(t, idmap === undefined ? {} : { idmap })
    const done = (await sh(container, ATTACK))
      .split('\n')
      .filter(line => /release_agent|devices.allow|nested/.test(line))
    t.strictSame(done, [], idmap === undefined ? 'in a user namespace' : 'privileged')
    t.strictSame(agents(), before)
  }
  for (const line of before)
    t.doesNotThrow(() => accessSync(line.split(': ')[0] as string, constants.W_OK), 'control: the host could')
})

t.test('E-G3 of the cgroups nothing outside its own is there to write', { skip }, async t => {
  const { container } = await startContainer(t)
  const writable = (await sh(container, 'find /sys/fs/cgroup -type f -writable 2>/dev/null'))
    .split('\n')
    .filter(Boolean)
  const owned = `/proc/${await container.initPid()}/cgroup`
  const places = readFileSync(owned, 'utf8')
    .trim()
    .split('\n')
    .map(line => line.split(':')[2] as string)
  t.ok(
    places.every(place => place.includes('caisson')),
    'it has cgroups of its own',
  )
  t.comment(`${writable.length} writable files`)
  const procs = (await sh(container, 'cat $(find /sys/fs/cgroup -name cgroup.procs) 2>/dev/null'))
    .split('\n')
    .filter(Boolean)
  const inside = (await sh(container, 'ls /proc')).split('\n').filter(name => /^\d+$/.test(name))
  t.strictSame(
    procs.filter(pid => pid !== '0' && !inside.includes(pid) && Number(pid) < Math.min(...inside.map(Number))),
    [],
    'no process of others is listed',
  )
  t.ok(readdirSync('/sys/fs/cgroup').length > 0, 'control: the host has more')
})

t.test('E-G9 what fails while it is frozen leaves it frozen, and it thaws', { skip }, async t => {
  const { container } = await startContainer(t)
  await container.freeze()
  t.match(await errorOf(container.attach(['true'], { timeout: 200 })), { code: /^E/ })
  t.match(await errorOf(container.mount({ source: '/nowhere', target: '/x' })), { code: /^E/ })
  t.equal(await container.state(), 'FROZEN')
  await container.unfreeze()
  t.equal(await sh(container, 'echo alive'), 'alive\n', 'control: it answers')
})
