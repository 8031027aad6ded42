// The rows of the escape corpus that are about what confines a process. Each has a canary on the host, an oracle that looks from the host,
// and a control: the same try where the protection is off, which must succeed, or the row proves nothing.
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import t from 'tap'
import type { AttachOptions, Container } from '../../lib/index.ts'
import { DEVICES, errorOf, look, makeContainer, startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'
import { capabilitiesIn } from '../support/surface.ts'
import { until } from '../support/until.ts'

const skip = needsRoot
const sh = async (container: Container, script: string, options: AttachOptions = {}) =>
  container.attach(['sh', '-c', script], { reject: false, ...options })

/** What the kernel says of a process, read on the host. */
function confinement(pid: number): Record<string, string> {
  const fields = readFileSync(`/proc/${pid}/status`, 'utf8')
    .split('\n')
    .map(line => line.split(':\t'))
  const wanted = ['NoNewPrivs', 'Seccomp', 'Seccomp_filters', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']
  const status = Object.fromEntries(fields.filter(([name]) => wanted.includes(name as string))) as Record<
    string,
    string
  >
  const kinds = readdirSync(`/proc/${pid}/ns`).filter(kind => !kind.endsWith('_for_children'))
  const namespaces = kinds.map(kind => [kind, readlinkSync(`/proc/${pid}/ns/${kind}`)])
  return {
    ...status,
    ...Object.fromEntries(namespaces),
    cgroup: readFileSync(`/proc/${pid}/cgroup`, 'utf8').replaceAll('/init.scope', ''),
    limits: readFileSync(`/proc/${pid}/limits`, 'utf8'),
    oom: readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'),
  }
}

/** A program that stays, for the host to look at. */
async function attached(
  container: Container,
  options: AttachOptions = {},
): Promise<{ pid: number; end(): Promise<void> }> {
  const running = container.attach(['/probe', 'sleep'], options)
  await once(running.stdout as Readable, 'data')
  await until(() => running.pid, 'it runs') // its output may come before the report of its start
  return {
    pid: running.pid,
    end: async () => {
      running.kill('SIGKILL')
      await running.then(
        () => undefined,
        () => undefined,
      )
    },
  }
}

t.test('E-D6 E-D7 what is attached has all that init has', { skip }, async t => {
  const { container } = await makeContainer(t, { config: 'lxc.prlimit.nofile = 100:200\nlxc.no_new_privs = 1' })
  await container.start()
  const init = confinement((await container.initPid()) as number)
  const joined = await attached(container)
  t.strictSame(confinement(joined.pid), init)
  await joined.end()
  const control = await attached(container, { elevated: ['caps', 'seccomp'] })
  t.not(confinement(control.pid).Seccomp_filters, init.Seccomp_filters, 'control: left off by name, it is seen')
  t.not(confinement(control.pid).CapBnd, init.CapBnd)
  await control.end()
})

t.test('limits of resources, unless a config names them', { skip }, async t => {
  const own = readFileSync('/proc/self/limits', 'utf8')
  const [, most] = /^Max open files +\d+ +(\d+)/m.exec(own) as unknown as string[]
  const raises = capabilitiesIn(confinement(process.pid).CapEff as string).includes('sys_resource')
  const hard = raises ? 524_288 : Math.min(Number(most), 524_288)
  const { container } = await startContainer(t)
  t.match((await look(container)).limits, { nofile: [1024, hard], core: [1, 1] })
  t.not((await sh(container, `ulimit -Hn ${hard + 1}`)).exitCode, 0, 'nobody inside raises them')
  const { container: other } = await startContainer(t, { config: 'lxc.prlimit.4 = 5:6\nlxc.prlimit.nofile = 70:80' })
  t.match((await look(other)).limits, { nofile: [70, 80], core: [5, 6] }, 'control: what is named holds')
})

t.test('E-C3 E-C6 what the container mounts over /proc changes nothing', { skip }, async t => {
  const { container } = await startContainer(t)
  const init = confinement((await container.initPid()) as number)
  const fake =
    'mount -t tmpfs none /proc && mkdir -p /proc/self/attr /proc/1 && echo x > /proc/self/attr/exec && ls /proc'
  t.equal((await sh(container, fake)).stdout, '1\nself\n', 'control: /proc is a fake now')
  const joined = await attached(container)
  const { limits: _, ...seen } = confinement(joined.pid)
  t.match(init, seen)
  await joined.end()
})

t.test('E-C4 a protection that is asked for and not there is an error', { skip }, async t => {
  const { container } = await makeContainer(t)
  const apparmor = existsSync('/sys/module/apparmor/parameters/enabled')
  for (const name of ['lxc-container-default', 'unconfined_foo', 'not-loaded']) {
    container.config.clear('lxc.apparmor.profile').set('lxc.apparmor.profile', name)
    t.match(
      await errorOf(container.start()),
      { code: 'ERR_FEATURE_MISSING', hint: apparmor ? /load/ : /apparmor=1/ },
      name,
    )
  }
  container.config.clear('lxc.apparmor.profile').set('lxc.selinux.context', 'system_u:system_r:lxc_t:s0')
  if (!existsSync('/sys/fs/selinux/enforce')) t.match(await errorOf(container.start()), { code: 'ERR_FEATURE_MISSING' })
  container.config.clear('lxc.selinux.context').set('lxc.apparmor.profile', 'unconfined')
  await container.start()
  t.equal(await container.state(), 'RUNNING', 'control: without the demand it starts')
})

t.test('E-B2 what is shown read-only stays so against root inside', { skip }, async t => {
  const host = directory(t)
  const canary = randomUUID()
  for (const name of ['ro', 'rw']) {
    mkdirSync(join(host, name))
    writeFileSync(join(host, name, 'canary'), canary)
    for (const path of [join(host, name), join(host, name, 'canary')]) chmodSync(path, 0o777)
  }
  const mounts = [
    { source: join(host, 'ro'), target: '/ro', create: 'dir' as const, options: ['ro', 'nosuid', 'nodev'] },
    { source: join(host, 'rw'), target: '/rw', create: 'dir' as const },
  ]
  const { container } = await startContainer(t, { mounts, seccomp: false })
  await container.mount({ source: join(host, 'ro'), target: '/later', create: 'dir', options: ['ro'] })
  for (const path of ['/ro', '/later', '/rw']) {
    await sh(
      container,
      `mount -o remount,bind,rw ${path}; echo gone > ${path}/canary; mkdir -p /t; mount --bind ${path} /t; mount -o remount,bind,rw /t; echo gone > /t/canary; umount -l /t ${path}; echo gone > ${path}/canary`,
    )
  }
  t.equal(readFileSync(join(host, 'ro/canary'), 'utf8'), canary)
  t.equal(readFileSync(join(host, 'rw/canary'), 'utf8'), 'gone\n', 'control: what may be written is written')
})

t.test('E-D1 E-D2 no inheritable or ambient capability, for root or another', { skip }, async t => {
  const { container } = await startContainer(t)
  for (const user of [0, 1000]) {
    const { status } = await look(container, { user })
    t.match(
      status,
      { CapInh: /^0+$/, CapAmb: /^0+$/, ...(user === 0 ? {} : { CapEff: /^0+$/, CapPrm: /^0+$/ }) },
      `uid ${user}`,
    )
  }
  t.notMatch((await look(container)).status.CapEff, /^0+$/, 'control: root has some')
})

t.test('E-D10 a command that looks like an option is a command', { skip }, async t => {
  const { container, rootfs } = await startContainer(t)
  for (const name of ['--bind', '-P', '--']) {
    t.match(await errorOf(container.attach([name, '/etc', '/x'])), { code: 'ERR_INIT_MISSING' }, name)
    writeFileSync(join(rootfs, 'bin', name), `#!/bin/sh\necho "$0" "$@"\n`, { mode: 0o755 })
    t.match((await container.attach([name, 'a'])).stdout, `${name} a`, 'control: where it exists it runs')
  }
})

t.test('E-H5 the nodes of /dev are these', { skip }, async t => {
  const { container } = await startContainer(t)
  t.strictSame((await container.attach(['ls', '/dev'])).stdout.trim().split('\n').sort(), DEVICES)
  const { container: more } = await startContainer(t, {
    mounts: [{ source: '/dev/full', target: '/dev/another', create: 'file' }],
  })
  t.match((await more.attach(['ls', '/dev'])).stdout, /^another$/m, 'control: one more is seen')
})

t.test('E-F8 device nodes cannot be made, and those of an image not be opened', { skip }, async t => {
  const { container, rootfs } = await makeContainer(t)
  execFileSync('mknod', ['-m', '666', join(rootfs, 'seeded'), 'c', '1', '11'])
  await container.start()
  const opened = async (path: string) =>
    (JSON.parse((await container.attach(['/probe', 'open', path, 'r'])).stdout) as { error: string | null }).error
  t.match(await opened('/seeded'), /EPERM|EACCES|ENXIO/)
  t.not((await sh(container, 'mknod /made c 1 3')).exitCode, 0)
  t.equal(await opened('/dev/null'), null, 'control: a node that was given can be opened')
})

t.test('E-I16 nobody inside makes himself safer from the OOM killer than he was', { skip }, async t => {
  const { container } = await startContainer(t)
  const before = Number((await sh(container, 'cat /proc/self/oom_score_adj')).stdout)
  t.not((await sh(container, `echo ${before - 1} > /proc/self/oom_score_adj`)).exitCode, 0)
  t.equal(
    (await sh(container, `echo ${before + 1} > /proc/self/oom_score_adj`)).exitCode,
    0,
    'control: the other way goes',
  )
})

t.test('E-B14 no mount of the host is left to see', { skip }, async t => {
  const canary = join(directory(t), randomUUID())
  writeFileSync(canary, 'canary')
  const { container } = await startContainer(t)
  const { mounts } = await look(container)
  t.strictSame(
    mounts.filter(({ point }) => point === '' || point.startsWith('/..')),
    [],
  )
  t.not((await sh(container, `cat ${canary} /proc/1/root${canary} /proc/1/cwd/..${canary}`)).exitCode, 0)
  await sh(container, 'umount -l /')
  t.not((await sh(container, `cat /..${canary}`)).exitCode, 0)
  t.equal(readFileSync(canary, 'utf8'), 'canary')
  const { container: shown } = await startContainer(t, { mounts: [{ source: canary, target: canary, create: 'file' }] })
  t.equal(
    (await sh(shown, `cat /proc/1/root${canary}`)).stdout,
    'canary',
    'control: one that is bound there is seen so',
  )
})
