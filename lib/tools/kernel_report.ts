/**
 * What lxc-checkconfig says of a kernel: the lines of LXC's own, word for word and in its order, since scripts look for them. They tell
 * what the kernel's configuration says; where a host shows none, which LXC takes for a failure, what the running kernel shows.
 */
import { statSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { type KernelFiles, type Part, presenceOf } from '../host/kernel.ts'

/** What the report is made of; a test shows any other host. */
export interface KernelSight {
  readonly files: KernelFiles
  /** The text of the configuration; undefined: there is none to read. */
  readonly config: string | undefined
  /** Where a program is; undefined: nowhere. */
  find(name: string): string | undefined
  isSetuid(path: string): boolean
}

export type Verdict = 'enabled' | 'missing' | 'required'
export type Paint = (verdict: Verdict, text: string) => string

/** By what a running kernel shows that it has something: a file, a line of /proc/cgroups, or a part of the kernel. */
type Sign = string | { readonly controller: string } | Part

interface Row {
  readonly label: string
  readonly symbol: string
  readonly sign: Sign
  readonly required?: true
  /** The module whose presence is told where the kernel has modules. */
  readonly module?: string
}

const part = (module: string, symbol: string): Part => ({ module, symbol })
const namespace = (label: string, symbol: string, kind: string): Row => ({
  label,
  symbol,
  sign: `/proc/self/ns/${kind}`,
})

const NAMESPACES: readonly Row[] = [
  { label: 'Namespaces', symbol: 'NAMESPACES', sign: '/proc/self/ns', required: true },
  namespace('Utsname namespace', 'UTS_NS', 'uts'),
  { ...namespace('Ipc namespace', 'IPC_NS', 'ipc'), required: true },
  { ...namespace('Pid namespace', 'PID_NS', 'pid'), required: true },
  namespace('User namespace', 'USER_NS', 'user'),
]
const NETWORK = namespace('Network namespace', 'NET_NS', 'net')
const CGROUPS: Row = { label: 'Cgroups', symbol: 'CGROUPS', sign: '/proc/cgroups' }
const CONTROLLERS: readonly Row[] = [
  { label: 'Cgroup device', symbol: 'CGROUP_DEVICE', sign: { controller: 'devices' } },
  { label: 'Cgroup sched', symbol: 'CGROUP_SCHED', sign: { controller: 'cpu' } },
  { label: 'Cgroup cpu account', symbol: 'CGROUP_CPUACCT', sign: { controller: 'cpuacct' } },
  { label: 'Cgroup memory controller', symbol: 'MEMCG', sign: { controller: 'memory' } },
]
const CPUSET: Row = { label: 'Cgroup cpuset', symbol: 'CPUSETS', sign: { controller: 'cpuset' } }

/** A row named as its option is. */
const option = (symbol: string, sign: Sign, module?: string): Row => ({
  label: `CONFIG_${symbol}`,
  symbol,
  sign,
  ...(module === undefined ? {} : { module }),
})

const MISC: readonly Row[] = [
  { label: 'Veth pair device', symbol: 'VETH', sign: part('veth', 'veth_newlink'), module: 'veth' },
  { label: 'Macvlan', symbol: 'MACVLAN', sign: part('macvlan', 'macvlan_common_newlink'), module: 'macvlan' },
  { label: 'Vlan', symbol: 'VLAN_8021Q', sign: part('8021q', 'vlan_dev_init'), module: '8021q' },
  { label: 'Bridges', symbol: 'BRIDGE', sign: part('bridge', 'br_dev_newlink'), module: 'bridge' },
  {
    label: 'Advanced netfilter',
    symbol: 'NETFILTER_ADVANCED',
    sign: part('nf_tables', 'nf_tables_newtable'),
    module: 'nf_tables',
  },
  option('IP_NF_TARGET_MASQUERADE', part('xt_MASQUERADE', 'masquerade_tg'), 'nf_nat_masquerade_ipv4'),
  option('IP6_NF_TARGET_MASQUERADE', part('xt_MASQUERADE', 'masquerade_tg6'), 'nf_nat_masquerade_ipv6'),
  option('NETFILTER_XT_TARGET_CHECKSUM', part('xt_CHECKSUM', 'checksum_tg'), 'xt_CHECKSUM'),
  option('NETFILTER_XT_MATCH_COMMENT', part('xt_comment', 'comment_mt'), 'xt_comment'),
  { label: 'FUSE (for use with lxcfs)', symbol: 'FUSE_FS', sign: part('fuse', 'fuse_dev_open'), module: 'fuse' },
]

const CHECKPOINT: readonly Row[] = [
  { label: 'checkpoint restore', symbol: 'CHECKPOINT_RESTORE', sign: '/proc/sys/kernel/ns_last_pid' },
  option('FHANDLE', part('fhandle', 'do_sys_name_to_handle')),
  option('EVENTFD', part('eventfd', 'eventfd_fget')),
  option('EPOLL', '/proc/sys/fs/epoll'),
  option('UNIX_DIAG', part('unix_diag', 'unix_diag_dump')),
  option('INET_DIAG', part('inet_diag', 'inet_diag_dump')),
  option('PACKET_DIAG', part('af_packet_diag', 'packet_diag_dump')),
  option('NETLINK_DIAG', part('netlink_diag', 'netlink_diag_dump')),
]

/** The report's lines. */
export function reportKernel(sight: KernelSight, paint: Paint): string[] {
  const report = new Report(sight, paint)
  const namespaces = NAMESPACES.map(row => report.row(row))
  return [
    '',
    '--- Namespaces ---',
    ...namespaces,
    ...report.idMapTools(),
    report.row(NETWORK),
    '',
    '--- Control groups ---',
    report.row(CGROUPS),
    `Cgroup namespace: ${report.paint(sight.files.exists('/proc/self/ns/cgroup') ? 'enabled' : 'missing')}`,
    ...report.mountPoints(),
    ...CONTROLLERS.map(row => report.row(row)),
    ...(report.has('SMP', '/sys/devices/system/cpu/cpu1') ? [report.row(CPUSET)] : []),
    '',
    '--- Misc ---',
    ...MISC.map(row => report.row(row)),
    '',
    '--- Checkpoint/Restore ---',
    ...CHECKPOINT.map(row => report.row(row)),
    `File capabilities: ${report.paint('enabled')}`,
  ]
}

class Report {
  readonly #sight: KernelSight
  readonly #paint: Paint

  constructor(sight: KernelSight, paint: Paint) {
    this.#sight = sight
    this.#paint = paint
  }

  paint(verdict: Verdict): string {
    return this.#paint(verdict, verdict)
  }

  has(symbol: string, sign: Sign): boolean {
    const { config, files } = this.#sight
    if (config !== undefined) return new RegExp(`CONFIG_${symbol}=[ym]`).test(config)
    if (typeof sign === 'string') return files.exists(sign)
    if ('controller' in sign) return new RegExp(`^${sign.controller}\\s`, 'm').test(files.read('/proc/cgroups') ?? '')
    return presenceOf(files, [sign]).get(sign.module) !== 'missing'
  }

  row({ label, symbol, sign, required, module }: Row): string {
    if (!this.has(symbol, sign)) return `${label}: ${this.paint(required ? 'required' : 'missing')}`
    return `${label}: ${this.paint('enabled')}${module === undefined ? '' : this.#loaded(module)}`
  }

  #loaded(module: string): string {
    const modules = this.#sight.files.read('/proc/modules')
    if (modules === undefined) return ''
    return modules.includes(module) ? ', loaded' : ', not loaded'
  }

  /** Whether users can have ranges of ids. */
  idMapTools(): string[] {
    if (!this.has('USER_NS', '/proc/self/ns/user')) return []
    return ['newuidmap', 'newgidmap'].flatMap(name => {
      const file = this.#sight.find(name)
      if (file === undefined) return [`${name} is not installed`]
      return this.#sight.isSetuid(file) ? [] : [`Warning: ${name} is not setuid-root`]
    })
  }

  mountPoints(): string[] {
    const mounts = (this.#sight.files.read('/proc/self/mounts') ?? '').split('\n').map(line => line.split(' '))
    const of = (type: string) => mounts.flatMap(([, point = '', kind]) => (kind === type ? [point] : []))
    const [v1, v2] = [of('cgroup'), of('cgroup2')]
    const list = (points: readonly string[]) => points.map(point => ` - ${point}`)
    const lines = ['Cgroup v1 mount points: ', ...list(v1), 'Cgroup v2 mount points: ', ...list(v2)]
    if (v2.join('\n') === '/sys/fs/cgroup') return lines
    for (const name of ['systemd', 'freezer']) {
      // LXC paints it as what is required, and writes the other word.
      if (!v1.some(point => point.includes(`/${name}`)))
        lines.push(`Cgroup v1 ${name} controller: ${this.#paint('required', 'missing')}`)
    }
    if (this.#sight.files.exists(`${v1[0] ?? ''}/cgroup.clone_children`))
      lines.push(`Cgroup v1 clone_children flag: ${this.paint('enabled')}`)
    return lines
  }
}

/** A configuration of the kernel, and the lines about where it was looked for. `given`: what CONFIG says. */
export function findConfig(
  files: KernelFiles,
  read: (path: string) => Buffer | undefined,
  given = '/proc/config.gz',
): { text: string | undefined; lines: string[] } {
  const bytes = read(given)
  if (bytes !== undefined) return { text: textOf(bytes), lines: [] }
  const lines = [`Kernel configuration not found at ${given}; searching...`]
  for (const path of [`/boot/config-${files.release}`, `/lib/modules/${files.release}/build/.config`]) {
    const bytes = read(path)
    if (bytes !== undefined) return { text: textOf(bytes), lines: [...lines, `Kernel configuration found at ${path}`] }
  }
  return { text: undefined, lines: [...lines, 'Kernel configuration not found; asking the running kernel'] }
}

/** It may be packed. */
function textOf(bytes: Buffer): string {
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b
  return (isPacked ? gunzipSync(bytes) : bytes).toString('latin1')
}

/** Whether a program runs as its owner, root. */
export function isSetuid(path: string): boolean {
  return (statSync(path).mode & 0o4000) !== 0
}
