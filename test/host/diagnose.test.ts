// diagnose(): what is missing on a host is said, with what mends it; a host is shown that lacks one thing at a time.
import t from 'tap'
import { diagnoseHost, type Looked } from '../../lib/diagnose.ts'
import { readCgroups } from '../../lib/host/cgroups.ts'
import { readHost } from '../../lib/host/host.ts'
import { diagnose } from '../../lib/index.ts'

const MODULES = ['veth', 'bridge', 'macvlan', 'ipvlan', '8021q', 'nf_tables', 'overlay', 'tun', 'fuse', 'loop']
const NAMESPACES = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup', 'time', 'user']

/** A host that has everything. */
const WHOLE: Record<string, string> = {
  ...Object.fromEntries(NAMESPACES.map(kind => [`/proc/self/ns/${kind}`, ''])),
  ...Object.fromEntries(MODULES.map(module => [`/sys/module/${module}`, ''])),
  '/proc/sys/kernel/seccomp/actions_avail': 'kill_process kill_thread trap errno user_notif trace log allow\n',
  '/proc/sys/user/max_user_namespaces': '15000\n',
  '/proc/pressure/memory': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n',
  '/sys/module/apparmor/parameters/enabled': 'Y\n',
  '/sys/fs/selinux/enforce': '1\n',
  '/sys/devices/system/cpu/smt/active': '1\n',
}
const CGROUP: Record<string, string> = {
  '/proc/self/cgroup': '0::/\n',
  '/proc/self/mountinfo': '30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
  '/proc/cgroups': '',
  '/sys/fs/cgroup/cgroup.procs': '',
  '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory hugetlb pids\n',
  '/sys/fs/cgroup/cgroup.subtree_control': 'cpuset cpu io memory hugetlb pids\n',
}

interface Changes {
  readonly root?: boolean
  /** undefined: the file is not there. */
  readonly files?: Readonly<Record<string, string | undefined>>
  readonly landlock?: number
  readonly without?: readonly string[]
  readonly release?: string
  readonly host?: Partial<Looked['host']>
}

function look({ root = true, files = {}, landlock = 6, without = [], release = '6.1.0', host }: Changes = {}) {
  const all: Record<string, string | undefined> = { ...WHOLE, ...CGROUP, ...files }
  const shown = { read: (path: string) => all[path], exists: (path: string) => all[path] !== undefined }
  const cgroups = readCgroups({ ...shown, writable: () => root, root })
  const found = diagnoseHost({
    host: {
      ...readHost(),
      user: 'ann',
      root,
      cgroups,
      newuidmap: '/n',
      newgidmap: '/n',
      subuids: [{ first: 1e5, count: 65_536 }],
      subgids: [{ first: 1e5, count: 65_536 }],
      ...host,
    },
    files: { ...shown, release },
    landlock,
    hasProgram: name => !without.includes(name),
  })
  return new Map(found.map(finding => [finding.feature, finding]))
}

t.test('a host that has everything', async t => {
  for (const [feature, finding] of look()) t.match(finding, { ok: true, hint: undefined }, feature)
})

const MISSING: readonly [feature: string, changes: Changes, hint: RegExp, required?: boolean][] = [
  ['kernel', { release: '5.10.0' }, /newer kernel/, true],
  ['user namespaces', { files: { '/proc/self/ns/user': undefined } }, /CONFIG_USER_NS/, true],
  ['user namespaces', { files: { '/proc/sys/user/max_user_namespaces': '0\n' } }, /sysctl -w user\.max_user/, true],
  [
    'user namespaces',
    { root: false, files: { '/proc/sys/kernel/unprivileged_userns_clone': '0' } },
    /userns_clone=1/,
    true,
  ],
  [
    'user namespaces',
    { root: false, files: { '/proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1' } },
    /restrict_unprivileged_userns=0/,
    true,
  ],
  ['net namespaces', { files: { '/proc/self/ns/net': undefined } }, /CONFIG_NET_NS/, true],
  ['time namespaces', { files: { '/proc/self/ns/time': undefined } }, /CONFIG_TIME_NS/],
  ['subordinate ids', { root: false, host: { subuids: [] } }, /usermod --add-subuids .* ann/],
  ['newuidmap, newgidmap', { root: false, host: { newuidmap: undefined } }, /apt install uidmap/],
  ['seccomp', { files: { '/proc/sys/kernel/seccomp/actions_avail': undefined } }, /CONFIG_SECCOMP_FILTER/, true],
  ['seccomp notification', { files: { '/proc/sys/kernel/seccomp/actions_avail': 'kill errno allow' } }, /Linux 5\.0/],
  ['cgroup', { root: false }, /Delegate=yes/],
  ['cgroup.memory', { files: { '/sys/fs/cgroup/cgroup.controllers': 'cpu pids' } }, /cgroup_disable=memory/],
  ['device rules', { root: false }, /root/],
  ['pressure events', { files: { '/proc/pressure/memory': undefined } }, /psi=1/],
  ['AppArmor', { files: { '/sys/module/apparmor/parameters/enabled': undefined } }, /apparmor=1/],
  ['AppArmor', { without: ['apparmor_parser'] }, /apt install apparmor/],
  ['AppArmor', { root: false }, /root/],
  ['SELinux', { files: { '/sys/fs/selinux/enforce': undefined } }, /security=selinux/],
  ['SELinux', { files: { '/sys/fs/selinux/enforce': '0' } }, /setenforce 1/],
  ['Landlock', { landlock: 0 }, /lsm=landlock/],
  ['core scheduling', { files: { '/sys/devices/system/cpu/smt/active': '0' } }, /./],
  ['nft', { without: ['nft'] }, /apt install nftables/],
  ['pasta', { root: false, without: ['pasta'] }, /apt install passt/],
  ...MODULES.map((module): [string, Changes, RegExp] => [
    module,
    { files: { [`/sys/module/${module}`]: undefined } },
    new RegExp(`kernel with ${module}`),
  ]),
]

for (const [feature, changes, hint, required = false] of MISSING) {
  t.test(`without ${feature}: ${JSON.stringify(changes)}`, async t => {
    t.match(look(changes).get(feature), { ok: false, required, detail: /./, hint })
  })
}

t.test('a module may be built in, loadable or seen by its functions', async t => {
  const veth = (root: boolean, files: Record<string, string>) =>
    look({ root, files: { '/sys/module/veth': undefined, ...files } }).get('veth')
  t.match(veth(false, { '/lib/modules/6.1.0/modules.builtin': 'kernel/drivers/net/veth.ko\n' }), { ok: true })
  t.match(veth(false, { '/proc/kallsyms': '0000000000000000 t veth_newlink\n' }), { ok: true })
  const loadable = { '/lib/modules/6.1.0/modules.dep': 'kernel/drivers/net/veth.ko.xz:\n' }
  t.match(veth(true, loadable), { ok: true, detail: /when needed/ })
  t.match(veth(false, loadable), { ok: false, hint: 'modprobe veth' })
})

t.test('this host', async t => {
  const findings = await diagnose()
  t.equal(new Set(findings.map(({ feature }) => feature)).size, findings.length, 'each feature once')
  for (const { feature, ok, detail, hint } of findings) {
    t.not(detail, '', feature)
    t.equal(hint === undefined, ok, `${feature}: a hint where something is missing, and only there`)
  }
})
