// Run by an ordinary user (test/support/user.ts): the whole life of a container, with what that user has.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Container, diagnose, recover } from '../../lib/index.ts'
import { attack } from '../support/covers.ts'
import { probe } from '../support/probe.ts'
import { until } from '../support/until.ts'

const home = process.env.HOME as string
const ids = Number(process.env.CAISSON_TEST_IDS)
const delegated = process.env.CAISSON_TEST_DELEGATED !== ''
const path = join(home, 'lxc')
const uid = process.getuid?.() ?? 0

t.test('who runs this', async t => {
  t.not(uid, 0)
  t.equal(statSync(home).mode & 0o777, 0o700, 'a home that nobody else may pass')
})

const container = await Container.create('c', { path })
t.teardown(() => container.destroy({ force: true }).catch(() => undefined))
const run = async (...command: string[]) => (await container.attach(command)).stdout

t.test('created and started', async t => {
  t.match(container.config.get('lxc.idmap'), ids === 0 ? [`u 0 ${uid} 1`, /^g 0 \d+ 1$/] : [/^u 0 17\d+ 65536$/, /^g/])
  await container.start()
  t.equal(await container.state(), 'RUNNING')
  const status = readFileSync(`/proc/${await container.initPid()}/status`, 'utf8')
  t.match(status, ids === 0 ? new RegExp(`^Uid:\t${uid}`, 'm') : /^Uid:\t17/m, 'its root is that id of the host')
})

t.test(
  'files of a stopped container belong to its ids',
  { skip: ids === 0 ? 'they are the user’s own' : false },
  async t => {
    const stopped = await Container.create('s', { path })
    await stopped.files.write('/etc/motd', 'x', { mode: 0o600, uid: 1, gid: 2 })
    const { uid: owner } = statSync(join(path, 's/rootfs/etc/motd'))
    t.equal(owner, Number(stopped.config.value('lxc.idmap')[0]?.host) + 1)
    t.equal((await stopped.files.read('/etc/motd')).toString(), 'x')
    await stopped.destroy()
  },
)

t.test('limits of resources are the defaults as far as the user may', async t => {
  const [, most] = /^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) as string[]
  const hard = Math.min(Number(most), 524_288)
  t.equal(await run('sh', '-c', 'ulimit -Sn; ulimit -Hn'), `${Math.min(1024, hard)}\n${hard}\n`)
})

t.test('inside it is root of all its files', async t => {
  t.equal(await run('id', '-u'), '0\n')
  t.equal(await run('stat', '-c', '%u:%g', '/', '/etc', '/bin/busybox', '/root'), '0:0\n'.repeat(4))
  await run('sh', '-c', 'echo hello >/root/file; mkdir -m 700 /root/private; echo x >/root/private/file')
  const changed = await container.attach(['chown', '1000:1000', '/root/file'], { reject: false })
  t.equal(changed.exitCode === 0, ids > 1, 'with ids of other users where there are any')
  t.match(await run('cat', '/proc/self/status'), /NoNewPrivs:\t0[\s\S]*Seccomp:\t2/)
})

t.test('files of the home are shown, whose parents its root could not pass', async t => {
  mkdirSync(join(home, 'project'), { mode: 0o700 })
  writeFileSync(join(home, 'project/file'), 'mine', { mode: 0o644 })
  const shown = await Container.create('m', {
    path,
    mounts: [{ source: join(home, 'project/file'), target: 'etc/shown', create: 'file' }],
  })
  try {
    await shown.start()
    t.equal((await shown.attach(['cat', '/etc/shown'])).stdout, 'mine')
  } finally {
    await shown.destroy({ force: true })
  }
})

const same = delegated ? 'a cgroup makes no difference' : false
t.test('what covers /proc and /sys stays, whatever its root tries', { skip: same }, async t => {
  const filled = await Container.create('p', {
    path,
    seccomp: false,
    mounts: [{ source: probe, target: 'probe', create: 'file' }],
  })
  try {
    await filled.start()
    t.strictSame(await attack(t, filled), {})
    await filled.stop({ force: true })
    filled.config.set('lxc.sysctl.user.max_user_namespaces', '0')
    t.match(await failure(filled.start()), { code: 'ENOSPC', step: 'path.lock', hint: /max_user_namespaces/ })
  } finally {
    await filled.destroy({ force: true })
  }
})

t.test('freezing and limits, where a cgroup is delegated', async t => {
  if (!delegated) {
    t.match(await failure(container.freeze()), { code: 'ERR_NO_CGROUP', hint: /Delegate=yes|delegate/ })
    t.match(await failure(container.limit({ pids: 20 })), { code: 'ERR_NO_CGROUP', hint: /./ })
    return
  }
  await container.freeze()
  t.equal(await container.state(), 'FROZEN')
  await container.unfreeze()
  const findings = new Map((await diagnose()).map(one => [one.feature, one]))
  if (findings.get('cgroup.pids')?.ok) {
    await container.limit({ pids: 20 })
    const bomb = await container.attach(['sh', '-c', 'for i in $(seq 40); do sleep 5 >/dev/null 2>&1 & done'], {
      reject: false,
    })
    t.match(bomb.stderr, /fork/, 'the limit holds')
    t.match((await container.stats()).pids, { max: 20 })
  }
})

/** As a systemd inside would. */
async function nest(): Promise<void> {
  if (delegated) await run('mkdir', '-p', '/sys/fs/cgroup/nested/deeper')
}

t.test('what cannot be enforced is said, or refused when it was demanded', async t => {
  const notes: string[] = []
  await container.stop({ force: true })
  await container.start({ onNote: note => notes.push(note) })
  t.match(notes.join('\n'), /device rules do not hold/)
  t.equal(/pids.max = 4096 does not hold: ./.test(notes.join('\n')), !delegated)
  if (delegated) return
  const cgroup = (await diagnose()).find(({ feature }) => feature === 'cgroup')
  t.match(cgroup, { ok: false, hint: /./ })
  const limited = await Container.create('l', { path, limits: { memory: '64M' } })
  try {
    t.match(await failure(limited.start()), { code: 'ERR_NO_CGROUP', message: /memory/, hint: /./ })
    t.equal(await limited.state(), 'STOPPED')
  } finally {
    await limited.destroy()
  }
})

t.test('attached where / is for its root alone', { skip: ids === 0 ? 'one id only' : false }, async t => {
  await run('chmod', '0700', '/')
  t.teardown(() => run('chmod', '0755', '/'))
  t.equal(await run('id', '-u'), '0\n')
  t.equal((await container.attach(['id', '-u'], { user: 0 })).stdout, '0\n')
  await t.rejects(container.attach(['id'], { user: 'root' }), { code: 'ERR_INVALID_OPTION', hint: /number/ })
})

t.test('attached as another user, as confined as init', { skip: ids === 0 ? 'one id only' : false }, async t => {
  t.equal((await container.attach(['id', '-u'], { user: 65534 })).stdout, '65534\n')
  const caps = async (who: number) =>
    /CapEff:\t(\w+)/.exec((await container.attach(['cat', '/proc/self/status'], { user: who })).stdout)?.[1]
  t.equal(await caps(65534), '0000000000000000')
})

t.test('rebooted, stopped, started again', async t => {
  const before = await container.initPid()
  await container.reboot({ timeout: 20_000 })
  t.not(await container.initPid(), before)
  await nest()
  await container.stop({ timeout: 20_000 })
  t.equal(await container.state(), 'STOPPED')
  await container.start()
  t.equal(await run('cat', '/root/private/file'), 'x\n')
})

t.test('a killed monitor is recovered from', async t => {
  await nest()
  const init = await container.initPid()
  const monitor = Number(/PPid:\t(\d+)/.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1])
  process.kill(monitor, 'SIGKILL')
  await until(() => !existsSync(`/proc/${init}`), 'init ends with it')
  const what = (await recover({ path })).map(one => one.what)
  t.equal(what.includes('cgroup'), delegated, 'what it had made is removed')
  t.equal(await container.state(), 'STOPPED')
  await container.start()
})

t.test('destroyed, with files that belong to its ids', async t => {
  await container.destroy({ force: true })
  t.strictSame(readdirSync(path), [])
  t.strictSame(await recover({ path }), [])
})

async function failure(promise: PromiseLike<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}
