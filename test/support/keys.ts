/**
 * What each key of a config must change that can be seen from inside or outside while a container runs: a row for each. The
 * same must not be seen in a container without the key, so no row can hold by itself.
 *
 * In lines and files `@` is a directory of the test, with the files below and the root file system `@/root`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { hierarchyWith } from '../../lib/host/cgroups.ts'
import type { Container } from '../../lib/index.ts'
import type { Pattern } from '../config/samples.ts'
import { host, without } from './cgroup.ts'
import type { Report } from './probe.ts'

/** A running container, as its rows look at it. */
export interface Seen {
  readonly container: Container
  /** The pid of its init on the host. */
  readonly pid: number
  /** What a program reports that init has started, and so has all that init hands on. */
  readonly init: Report
  /** Runs a program inside: what it printed, or its exit code. */
  run(...command: readonly string[]): Promise<string | number>
}

export interface Row {
  readonly key: Pattern
  readonly lines: string
  readonly see: (seen: Seen) => unknown
  readonly shows: unknown
  /** Rows of one group share a container. */
  readonly group: string
  readonly skip?: string | false
}

export const FILES: Readonly<Record<string, string>> = {
  'included.conf': 'lxc.environment = INCLUDED=yes\n',
  fstab: 'tmpfs fstab tmpfs size=64k,create=dir 0 0\n',
  policy: '2\ndenylist\n[all]\nmkdir errno 7\nmkdirat errno 7\n',
}

const proc = (pid: number | string, file: string): string => readFileSync(`/proc/${pid}/${file}`, 'utf8')
const inside = ({ pid }: Seen, path: string): boolean => existsSync(`/proc/${pid}/root${path}`)

/** How something is mounted there: options of the mount and of the file system, and its type. */
function mounted({ init }: Seen, point: string): string | undefined {
  const mount = init.mounts.findLast(one => one.point === point)
  return mount && `${mount.options} ${mount.super} ${mount.type}`
}
const mounts = (point: string, how: RegExp) => (seen: Seen) => how.test(mounted(seen, point) ?? 'nothing')

/** Where a process is in the hierarchy of a controller. */
function placed(pid: number | string, controller = 'pids'): string {
  const name = hierarchyWith(host, controller)?.version === 1 ? controller : ''
  const lines = proc(pid, 'cgroup').trim().split('\n')
  return lines.map(line => line.split(':')).find(([, names = '']) => names.split(',').includes(name))?.[2] ?? ''
}
const monitorOf = ({ pid }: Seen): string => /^PPid:\t(\d+)$/m.exec(proc(pid, 'status'))?.[1] ?? ''
/** The monitor has a cgroup of its own in the v2 hierarchy, or systemd's. */
const monitorPlaced = (seen: Seen): string => proc(monitorOf(seen), 'cgroup')
const isHosts = (kind: string) => (seen: Seen) =>
  readlinkSync(`/proc/${seen.pid}/ns/${kind}`) === readlinkSync(`/proc/self/ns/${kind}`)
const bounding = ({ init }: Seen): bigint => BigInt(`0x${init.status.CapBnd}`)

const row =
  (group: string) =>
  (key: Pattern, value: string, see: Row['see'], shows: unknown, member = ''): Row => ({
    key,
    lines: `${key.replace('*', member)} = ${value}\n`,
    see,
    shows,
    group,
  })
const many = row('many')
const alone = (key: Pattern, value: string, see: Row['see'], shows: unknown) => row(key)(key, value, see, shows)
const beside = (lines: string, made: Row): Row => ({ ...made, lines: `${lines}\n${made.lines}` })
const unless = (skip: string | false, made: Row): Row => ({ ...made, skip })

const named = async ({ container }: Seen) => (await container.interfaces()).map(({ name }) => name).toSorted()
/** An interface of an own cable, which the machine's other interfaces never see. */
const cable = (index: number, name: string): string => `lxc.net.${index}.type = veth\nlxc.net.${index}.name = ${name}\n`

/** The host's end of the interface of the rows. */
const OUTER = 'cskeyproof'
const net = (key: string, value: string, see: Row['see'], shows: unknown): Row => ({
  key: `lxc.net.[i].${key}` as Pattern,
  lines: `lxc.net.0.${key} = ${value}\n`,
  see,
  shows,
  group: 'net',
})
const proof0 = async ({ container }: Seen) => (await container.interfaces()).find(({ name }) => name === 'proof0')
const says = (command: readonly string[], what: RegExp) => async (seen: Seen) =>
  what.test(String(await seen.run(...command)))
const routes = (family: string, what: RegExp) => () =>
  what.test(spawnSync('ip', [family, 'route', 'show', 'dev', OUTER], { encoding: 'utf8' }).stdout)
const link = ({ pid }: Seen, path: string): string => readlinkSync(`/proc/${pid}/root${path}`)
const namespaceOf = (pid: string): string => readlinkSync(`/proc/${pid}/ns/mnt`)

/** Of kernels without time namespaces, as user-mode Linux is. */
const timeless = existsSync('/proc/self/ns/time') ? false : 'this kernel has no time namespaces'

export const ROWS: readonly Row[] = [
  many('lxc.include', '@/included.conf', ({ init }) => init.env.INCLUDED, 'yes'),
  many('lxc.uts.name', 'proof', ({ init }) => init.hostname, 'proof'),
  many('lxc.arch', 'i686', ({ init }) => init.personality & 0xff, 8), // PER_LINUX32
  many('lxc.init.cmd', '/sbin/init one "and two"', ({ init }) => init.argv.slice(2), ['one', 'and two']),
  many('lxc.init.uid', '1000', ({ init }) => init.uid, [1000, 1000, 1000]),
  many('lxc.init.gid', '1001', ({ init }) => init.gid, [1001, 1001, 1001]),
  many('lxc.init.groups', '29,44', ({ init }) => init.groups.toSorted(), [29, 44]),
  many('lxc.init.cwd', '/tmp', ({ init }) => init.cwd, '/tmp'),
  many('lxc.environment', 'KEPT=yes', ({ init }) => init.env.KEPT, 'yes'),
  many('lxc.environment.runtime', 'RUNTIME=yes', ({ init }) => init.env.RUNTIME, 'yes'),
  many('lxc.rootfs.path', 'dir:@/root', seen => inside(seen, '/etc/proof'), true),
  beside(
    'lxc.mount.entry = tmpfs /proof/at tmpfs create=dir',
    many('lxc.rootfs.mount', '/proof', mounts('/at', /tmpfs$/), true),
  ),
  many('lxc.rootfs.options', 'idmap=container,nosuid', mounts('/', /nosuid/), true),
  many('lxc.autodev.tmpfs.size', '1048576', mounts('/dev', /size=1024k/), true),
  many('lxc.mount.fstab', '@/fstab', mounts('/fstab', /size=64k/), true),
  many('lxc.mount.entry', 'tmpfs entry tmpfs size=128k,create=dir', mounts('/entry', /size=128k/), true),
  many('lxc.mount.auto', 'proc:rw sys:ro cgroup:ro', mounts('/sys/fs/cgroup', /^ro.* cgroup2$/), true),
  many('lxc.tty.max', '2', seen => inside(seen, '/dev/tty2') && !inside(seen, '/dev/tty3'), true),
  many('lxc.pty.max', '7', mounts('/dev/pts', /\bmax=10\b/), true),
  beside(
    'lxc.idmap =\nlxc.idmap = g 0 700000 65536',
    many('lxc.idmap', 'u 0 600000 65536', ({ init }) => [init.uidMap, init.gidMap], [
      [[0, 600_000, 65_536]],
      [[0, 700_000, 65_536]],
    ]),
  ),
  unless(
    timeless,
    many('lxc.time.offset.boot', '1h', ({ pid }) => /^boottime +3600 /m.test(proc(pid, 'timens_offsets')), true),
  ),
  unless(
    timeless,
    many('lxc.time.offset.monotonic', '2h', ({ pid }) => /^monotonic +7200 /m.test(proc(pid, 'timens_offsets')), true),
  ),
  many('lxc.prlimit.*', '512:1024', ({ init }) => init.limits.nofile, [512, 1024], 'nofile'),
  many('lxc.sysctl.*', '1', ({ run }) => run('cat', '/proc/sys/net/ipv4/ip_forward'), '1', 'net.ipv4.ip_forward'),
  many('lxc.proc.*', '100', ({ init }) => init.oomScoreAdj, '100', 'oom_score_adj'),
  many('lxc.no_new_privs', '1', ({ init }) => init.noNewPrivs, 1),
  many('lxc.cap.drop', 'net_raw', seen => bounding(seen) & (1n << 13n), 0n),
  many('lxc.seccomp.profile', '@/policy', ({ run }) => run('mkdir', '/tmp/made'), 1),
  unless(
    without('pids'),
    many('lxc.cgroup2.*', '33', ({ container }) => container.cgroup.get('pids.max'), '33', 'pids.max'),
  ),
  unless(
    without('memory'),
    many(
      'lxc.cgroup.*',
      '64M',
      async ({ container }) => (await container.stats()).memory.max,
      64 << 20,
      'memory.limit_in_bytes',
    ),
  ),
  many('lxc.cgroup.dir', 'caisson-proof', ({ pid }) => placed(pid).includes('/caisson-proof/'), true),

  beside(
    'lxc.mount.entry = /dev/null dev/null none bind,create=file',
    alone('lxc.autodev', '0', mounts('/dev', /tmpfs$/), false),
  ),
  alone('lxc.namespace.clone', 'mnt pid uts ipc cgroup', isHosts('net'), true),
  alone('lxc.namespace.keep', 'ipc', isHosts('ipc'), true),
  alone('lxc.cap.keep', 'kill net_raw', bounding, (1n << 5n) | (1n << 13n)),
  alone('caisson.seccomp', 'none', ({ init }) => init.status.Seccomp, '0'),
  beside(
    'lxc.cgroup.dir.monitor = caisson-proof.m\nlxc.cgroup.dir.container.inner = deep',
    row('places')(
      'lxc.cgroup.dir.container',
      'caisson-proof.c',
      ({ pid }) => placed(pid).includes('caisson-proof.c'),
      true,
    ),
  ),
  row('places')(
    'lxc.cgroup.dir.monitor',
    'caisson-proof.m',
    seen => monitorPlaced(seen).includes('caisson-proof.m'),
    true,
  ),
  row('places')('lxc.cgroup.dir.container.inner', 'deep', ({ pid }) => placed(pid).endsWith('/deep'), true),

  many('lxc.tty.dir', 'proofs', seen => link(seen, '/dev/tty1'), 'proofs/tty1'),
  many('lxc.monitor.unshare', '1', seen => namespaceOf(monitorOf(seen)) === namespaceOf('self'), false),

  {
    key: 'lxc.net',
    lines: `${cable(0, 'gone0')}${cable(1, 'gone1')}lxc.net =\n${cable(1, 'kept1')}`,
    see: named,
    shows: ['kept1', 'lo'],
    group: 'cleared',
  },
  {
    key: 'lxc.net.[i]',
    lines: `${cable(0, 'gone0')}${cable(1, 'kept1')}lxc.net.0 =\n`,
    see: named,
    shows: ['kept1', 'lo'],
    group: 'one cleared',
  },
  net('type', 'veth', async ({ container }) => (await container.interfaces()).length, 2),
  net('name', 'proof0', async seen => (await proof0(seen))?.name, 'proof0'),
  net('hwaddr', '02:00:00:00:00:55', async seen => (await proof0(seen))?.hwaddr, '02:00:00:00:00:55'),
  net('mtu', '1400', async seen => (await proof0(seen))?.mtu, 1400),
  net('flags', 'up', says(['cat', '/sys/class/net/proof0/flags'], /^0x.*[13579bdf]$/), true),
  net('ipv4.address', '203.0.113.2/24', says(['ip', 'address'], /inet 203\.0\.113\.2\/24/), true),
  net('ipv6.address', 'fd98::2/64', says(['ip', 'address'], /inet6 fd98::2\/64/), true),
  net('ipv4.gateway', '203.0.113.1', says(['ip', 'route'], /default via 203\.0\.113\.1/), true),
  net('ipv6.gateway', 'fd98::1', says(['ip', '-6', 'route'], /default via fd98::1/), true),
  net('veth.pair', OUTER, () => spawnSync('ip', ['link', 'show', OUTER]).status, 0),
  net('veth.ipv4.route', '198.18.7.0/24', routes('-4', /198\.18\.7\.0\/24/), true),
  net('veth.ipv6.route', 'fd97::/64', routes('-6', /fd97::\/64/), true),
  net('veth.n_rxqueues', '2', says(['ls', '/sys/class/net/proof0/queues'], /rx-1/), true),
  net('veth.n_txqueues', '3', says(['ls', '/sys/class/net/proof0/queues'], /tx-2/), true),
]
