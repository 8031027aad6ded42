// Crosswise with Debian's LXC 5.0.2: what one has made the other starts, shows inside as the other does, and stops; and both say the same
// of a config, key by key. All in lxcpaths of the test's own, in network namespaces with nothing but lo.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { Config, type ConfigKey } from '../../lib/config/config.ts'
import { Container } from '../../lib/index.ts'
import { host } from '../support/cgroup.ts'
import { makeContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { watchPivots } from '../support/lxc_pivot.ts'
import { parseReport, type Report } from '../support/probe.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const LXC = '/usr/bin'

function missing(): string | false {
  if (needsRoot) return needsRoot
  if (host.layout === 'none') return 'no cgroups here'
  const { stdout } = spawnSync(`${LXC}/lxc-start`, ['--version'], { encoding: 'utf8' })
  if (!stdout) return "needs lxc-start: apt install lxc (Debian's LXC 5.0.2)"
  return stdout.startsWith('5.0.') ? false : `needs LXC 5.0 (Debian 12), this is ${stdout.trim()}`
}
const skip = missing()

/** A tool of Debian's. */
function lxc(lxcpath: string, tool: string, ...args: string[]) {
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' }
  const { status, stdout, stderr } = spawnSync(`${LXC}/lxc-${tool}`, ['-P', lxcpath, ...args], {
    env,
    encoding: 'utf8',
  })
  return { status, output: stdout + stderr }
}

/** lxc-start, where the ids of the map are granted to root: where newuidmap is installed LXC asks it, and that asks these files. */
function start(lxcpath: string, name: string, ids?: number): void {
  const log = join(lxcpath, 'lxc.log')
  const grants = join(lxcpath, 'grants')
  writeFileSync(grants, ids === undefined ? '' : `root:${ids}:65536\n`)
  const cover = 'for f in /etc/subuid /etc/subgid; do mount --bind "$0" "$f"; done; '
  const script = `${ids === undefined ? '' : cover}exec "$@"`
  const words = [`${LXC}/lxc-start`, '-P', lxcpath, '-n', name, '-o', log, '-l', 'WARN']
  const { status } = spawnSync('unshare', ['--mount', 'sh', '-ec', script, grants, ...words], { stdio: 'ignore' })
  if (status !== 0) throw new Error(`lxc-start: ${readFileSync(log, 'utf8')}`)
}

const isEmpty = (path: string): boolean => existsSync(path) && readdirSync(path).length === 0

/** LXC leaves the cgroup that its monitors end in, and directories of locks. */
function makeLxcpath(t: Test): string {
  const lxcpath = directory(t)
  const removePivots = watchPivots()
  t.teardown(async () => {
    const locks = '/run/lxc/lock'
    rmSync(join(locks, lxcpath), { recursive: true, force: true })
    for (let at = dirname(join(locks, lxcpath)); at.startsWith(`${locks}/`) && isEmpty(at); at = dirname(at))
      rmdirSync(at)
    await removePivots()
  })
  return lxcpath
}

/** A root file system whose init first writes down what it is. */
function reportingRoot(t: Test): string {
  const root = rootfs(t)
  rmSync(join(root, 'sbin/init'))
  const script = '/probe report "$@" > /tmp/new; mv /tmp/new /tmp/report; exec /probe init'
  writeFileSync(join(root, 'sbin/init'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return root
}

/** What a config means inside, and what LXC and caisson must show alike. */
function meaning(report: Report, points: readonly string[]) {
  const { argv, uid, gid, groups, cwd, hostname, personality, noNewPrivs, oomScoreAdj, uidMap, gidMap } = report
  const mounts = points.map(point => {
    const mount = report.mounts.findLast(one => one.point === point)
    // Kernel file systems are mounted with more restrictions here than by LXC; none has fewer.
    const words = /^\/(sys|dev)/.test(point) ? /^ro$/ : /^(ro|nosuid|nodev|noexec)$/
    return [point, mount?.type, mount?.options.split(',').filter(word => words.test(word))]
  })
  const { env, limits, status } = report
  const ids = { uid, gid, groups, uidMap, gidMap }
  return {
    ...ids,
    ...{ argv: argv.slice(2), cwd, hostname, personality, noNewPrivs, oomScoreAdj, mounts },
    environment: [env.KEPT, env.container],
    nofile: limits.nofile,
    capabilities: status.CapBnd,
  }
}

const LINES = (at: string) => `lxc.uts.name = crosswise
lxc.net.0.type = empty
lxc.init.cmd = /sbin/init one two
lxc.init.cwd = /tmp
lxc.environment = KEPT=yes
lxc.cap.drop = sys_time sys_module mac_admin
lxc.cap.drop = net_raw
lxc.prlimit.nofile = 512:1024
lxc.proc.oom_score_adj = 100
lxc.sysctl.net.ipv4.ip_forward = 1
lxc.mount.auto = proc:mixed sys:ro
lxc.mount.entry = tmpfs made/here tmpfs nosuid,nodev,create=dir 0 0
lxc.mount.entry = ${at}/shared shared none bind,ro,create=dir 0 0
lxc.mount.entry = ${at}/nothing nothing none bind,optional,create=dir 0 0
lxc.tty.max = 2
lxc.pty.max = 64
lxc.no_new_privs = 1
lxc.console.logfile = ${at}/console.log
lxc.signal.halt = SIGPWR
lxc.cgroup.pids.max = 100
`
const POINTS = ['/', '/proc', '/sys', '/dev', '/dev/pts', '/made/here', '/shared', '/nothing']

for (const mapped of [false, true]) {
  const first = mapped ? 700_000 : undefined
  t.test(`made here, started by both, with${mapped ? '' : 'out'} a user namespace`, { skip }, async t => {
    const at = directory(t)
    mkdirSync(join(at, 'shared'))
    const root = reportingRoot(t)
    const lxcpath = makeLxcpath(t)
    const idmap = mapped ? [{ type: 'both', container: 0, host: 700_000, range: 65_536 } as const] : false
    const made = { path: lxcpath, rootfs: root, idmap, config: LINES(at), seccomp: false } as const
    const { container } = await makeContainer(t, made)
    const report = async (): Promise<Report> => {
      const file = join(root, 'tmp/report')
      await until(() => existsSync(file), 'init reports')
      const text = readFileSync(file, 'utf8')
      rmSync(file)
      return parseReport(text)
    }
    const inside = (output: string) => output.trim().split('\n')
    const look = 'hostname; cat /proc/sys/net/ipv4/ip_forward; ls /dev/tty1 /dev/tty2; ls /dev/tty3; id -u'

    start(lxcpath, 'c', first)
    const theirs = await report()
    const seenThere = lxc(lxcpath, 'attach', '-n', 'c', '--clear-env', '--', '/bin/sh', '-c', look)
    t.match(lxc(lxcpath, 'info', '-n', 'c', '-s'), { status: 0, output: /RUNNING/ })
    t.equal(lxc(lxcpath, 'stop', '-n', 'c', '-t', '20').status, 0, 'it shuts down when LXC asks')
    t.match(readFileSync(join(at, 'console.log'), 'utf8'), /init/)

    await container.start()
    const ours = await report()
    const { stdout, stderr } = await container.attach(['/bin/sh', '-c', look], { reject: false })
    await container.stop()
    t.strictSame(meaning(ours, POINTS), meaning(theirs, POINTS), 'inside it means the same')
    t.strictSame(inside(stdout + stderr), inside(seenThere.output), 'also to what is attached')
    for (const kind of ['mnt', 'pid', 'net', 'ipc', 'uts', 'user']) {
      const isOwn = ({ namespaces }: Report) => namespaces[kind] !== hostNamespace(kind)
      t.equal(isOwn(ours), isOwn(theirs), `a namespace of its own, or not: ${kind}`)
    }

    start(lxcpath, 'c', first)
    await report()
    t.equal(lxc(lxcpath, 'stop', '-n', 'c', '-k').status, 0, 'and LXC starts it again')
    await keyByKey(t, lxcpath, 'c')
  })
}

const hostNamespace = (kind: string): string =>
  execFileSync('readlink', [`/proc/self/ns/${kind}`], { encoding: 'utf8' }).trim()

/** What lxc-info -c says of each key of a container's config, and what Config says. */
async function keyByKey(t: Test, lxcpath: string, name: string): Promise<void> {
  const config = await Config.read(join(lxcpath, name, 'config'))
  const words = (value: string) =>
    value
      .trim()
      .split(/[\s,]+/)
      .sort()
  for (const key of config.keys('lxc') as ConfigKey[]) {
    const { status, output } = lxc(lxcpath, 'info', '-n', name, '-c', key)
    t.equal(status, 0, key)
    const value = [config.get(key) ?? ''].flat().join('\n')
    // LXC gives the path without the type before it.
    const ours = key === 'lxc.rootfs.path' ? value.replace(/^dir:/, '') : value
    t.strictSame(words(ours), words(output.replace(`${key} =`, '')), `${key}: ${value}`)
  }
}

t.test('made by lxc-create, started by both', { skip }, async t => {
  const lxcpath = makeLxcpath(t)
  const config = join(lxcpath, 'initial.conf')
  writeFileSync(config, 'lxc.net.0.type = empty\n')
  const created = lxc(lxcpath, 'create', '-n', 'c', '-t', 'busybox', '-f', config)
  t.equal(created.status, 0, created.output)
  const container = await Container.open('c', { path: lxcpath })
  t.teardown(() => container.destroy({ force: true }))
  await keyByKey(t, lxcpath, 'c')
  const look = ['/bin/sh', '-c', 'hostname; cat /proc/1/comm; id -u']
  for (const round of [1, 2]) {
    await container.start()
    t.equal((await container.attach(look)).stdout, 'c\ninit\n0\n', `round ${round}: caisson`)
    await container.stop({ timeout: 20_000 })
    start(lxcpath, 'c')
    t.equal(
      lxc(lxcpath, 'attach', '-n', 'c', '--clear-env', '--', ...look).output,
      'c\ninit\n0\n',
      `round ${round}: LXC`,
    )
    t.equal(lxc(lxcpath, 'stop', '-n', 'c', '-t', '20').status, 0)
  }
  await container.snapshots.create()
  t.match(lxc(lxcpath, 'snapshot', '-n', 'c', '-L'), { status: 0, output: /^snap0 / }, 'a snapshot is seen there')
  // LXC copies a directory by rsync.
  if (existsSync('/usr/bin/rsync')) {
    t.equal(lxc(lxcpath, 'snapshot', '-n', 'c').status, 0)
    t.match(await container.snapshots.list(), [{ name: 'snap0' }, { name: 'snap1' }], 'and the other way')
  } else t.pass('and the other way', { skip: 'needs rsync' })
  await container.destroy({ snapshots: true })
  t.strictSame(lxc(lxcpath, 'ls').output.trim(), '')
})
