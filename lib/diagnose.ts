/** What this host and this user can do, what is missing, and the command that would mend it: lxc-checkconfig, done by trying. */
import { Config } from './config/config.ts'
import { ContainerError } from './errors.ts'
import { profileFilter } from './filter.ts'
import { listPlaces } from './find.ts'
import { diagnoseCgroups } from './host/cgroups.ts'
import { type Host, readHost } from './host/host.ts'
import { KERNEL, type KernelFiles, type Part, presenceOf } from './host/kernel.ts'
import { native } from './native/binding.ts'
import { hasProgram } from './native/program.ts'

export interface Finding {
  readonly feature: string
  readonly ok: boolean
  /** Without it no container can be started as this user. */
  readonly required: boolean
  readonly detail: string
  /** What mends it. */
  readonly hint?: string
}

/** What the checks look at; a test shows them any other host. */
export interface Looked {
  readonly host: Host
  readonly files: KernelFiles
  /** landlock(7); 0: none. */
  readonly landlock: number
  hasProgram(name: string): boolean
}

/** A row for each feature, or for some that go together. */
const CHECKS: readonly ((looked: Looked) => Finding | Finding[])[] = [
  checkKernel,
  checkAddon,
  checkUserNamespaces,
  checkNamespaces,
  checkSubordinateIds,
  checkIdMapTools,
  checkSeccomp,
  checkNotification,
  ({ host }) => [...diagnoseCgroups(host.cgroups, host.root)],
  checkDevices,
  checkPressure,
  checkAppArmor,
  checkSelinux,
  checkLandlock,
  checkCores,
  checkParts,
  checkPrograms,
]

/** Looks at everything. It changes nothing and needs no rights. */
export async function diagnose(): Promise<readonly Finding[]> {
  const looked = { host: readHost(), files: KERNEL, landlock: landlockAbi(), hasProgram }
  return [...diagnoseHost(looked), await checkPrivileged()]
}

/** 0 also where there is no addon, which is a finding of its own. */
function landlockAbi(): number {
  try {
    return native().addon.landlockAbi()
  } catch (error) {
    if (error instanceof ContainerError && error.code === 'ERR_NATIVE_MISSING') return 0
    throw error
  }
}

/** The same of what was looked at. */
export function diagnoseHost(looked: Looked): Finding[] {
  return CHECKS.flatMap(check => check(looked))
}

function finding(
  feature: string,
  required: boolean,
  problem: string | undefined,
  fine: string,
  hint?: string,
): Finding {
  const ok = problem === undefined
  return { feature, ok, required, detail: problem ?? fine, ...(ok || hint === undefined ? {} : { hint }) }
}

/** mount_setattr(2) is the newest call that every start needs: Linux 5.12. */
function checkKernel({ files: { release } }: Looked): Finding {
  const [major, minor] = release.split('.').map(Number) as [number, number]
  const old = major < 5 || (major === 5 && minor < 12)
  return finding(
    'kernel',
    true,
    old ? `Linux ${release} is older than 5.12` : undefined,
    `Linux ${release}`,
    'boot a newer kernel',
  )
}

function checkAddon(): Finding {
  try {
    native()
    return finding('native addon', true, undefined, 'loaded')
  } catch (error) {
    const { message, hint } = error as ContainerError
    return finding('native addon', true, message.split('\n', 1)[0], '', hint)
  }
}

function checkUserNamespaces({ host, files }: Looked): Finding {
  const text = (path: string) => files.read(path)?.trim()
  const feature = 'user namespaces'
  if (!files.exists('/proc/self/ns/user'))
    return finding(feature, true, 'the kernel has none', '', 'boot a kernel with CONFIG_USER_NS')
  if (text('/proc/sys/user/max_user_namespaces') === '0') {
    return finding(feature, true, 'user.max_user_namespaces is 0', '', 'sysctl -w user.max_user_namespaces=15000')
  }
  const debian = !host.root && text('/proc/sys/kernel/unprivileged_userns_clone') === '0'
  if (debian) return finding(feature, true, 'forbidden to users', '', 'sysctl -w kernel.unprivileged_userns_clone=1')
  const ubuntu = !host.root && text('/proc/sys/kernel/apparmor_restrict_unprivileged_userns') === '1'
  return finding(
    feature,
    true,
    ubuntu ? 'AppArmor gives users no rights in theirs' : undefined,
    'can be created',
    'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
  )
}

function checkSubordinateIds({ host }: Looked): Finding {
  const enough = (ranges: Host['subuids']) => ranges.some(({ count }) => count >= 65_536)
  const missing = !host.root && !(enough(host.subuids) && enough(host.subgids))
  return finding(
    'subordinate ids',
    false,
    missing
      ? `${host.user} has no range of 65,536 in /etc/subuid and /etc/subgid: containers have one user only`
      : undefined,
    host.root ? 'root takes ranges of its own' : `${host.user} has a range`,
    `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${host.user}`,
  )
}

function checkIdMapTools({ host }: Looked): Finding {
  const missing = !host.root && (host.newuidmap === undefined || host.newgidmap === undefined)
  return finding(
    'newuidmap, newgidmap',
    false,
    missing ? 'not installed: subordinate ids cannot be used' : undefined,
    host.root ? 'not needed by root' : (host.newuidmap ?? ''),
    'apt install uidmap',
  )
}

function checkSeccomp({ files }: Looked): Finding {
  const actions = files.read('/proc/sys/kernel/seccomp/actions_avail')?.trim()
  if (actions === undefined)
    return finding('seccomp', true, 'the kernel has no filters', '', 'boot a kernel with CONFIG_SECCOMP_FILTER')
  try {
    const { program } = profileFilter('system')
    return finding(
      'seccomp',
      true,
      undefined,
      `the default filter has ${program.length / 8} instructions; answers: ${actions}`,
    )
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error
    return finding('seccomp', true, error.message, '')
  }
}

const CONFIGS = {
  mnt: '',
  pid: 'PID_NS',
  net: 'NET_NS',
  ipc: 'IPC_NS',
  uts: 'UTS_NS',
  cgroup: 'CGROUPS',
  time: 'TIME_NS',
}

/** All but the user namespace, which has a check of its own. A time namespace is made only when offsets are asked for. */
function checkNamespaces({ files }: Looked): Finding[] {
  return Object.entries(CONFIGS).map(([kind, config]) => {
    const missing = files.exists(`/proc/self/ns/${kind}`) ? undefined : 'the kernel has none'
    return finding(
      `${kind} namespaces`,
      kind !== 'time',
      missing,
      'can be created',
      `boot a kernel with CONFIG_${config}`,
    )
  })
}

function checkNotification({ files }: Looked): Finding {
  const has = files.read('/proc/sys/kernel/seccomp/actions_avail')?.includes('user_notif')
  const problem = has ? undefined : 'system calls cannot be answered by a handler (onSyscall)'
  return finding('seccomp notification', false, problem, 'onSyscall can answer', 'boot Linux 5.0 or newer')
}

/** v1: files of a hierarchy; v2: an eBPF program. Both take rights outside. */
function checkDevices({ host }: Looked): Finding {
  const { hierarchies } = host.cgroups
  const v1 = hierarchies.some(({ base, controllers }) => base !== undefined && controllers.includes('devices'))
  const can = host.root && (v1 || hierarchies.some(({ version, base }) => version === 2 && base !== undefined))
  const problem = can
    ? undefined
    : 'device rules do not hold: only what is in /dev of a container keeps its programs from devices'
  const how = v1 ? 'devices hierarchy of cgroup v1' : 'eBPF programs of cgroup v2'
  return finding(
    'device rules',
    false,
    problem,
    how,
    host.root ? 'mount -t cgroup2 none /sys/fs/cgroup' : 'run as root',
  )
}

function checkPressure({ host, files }: Looked): Finding {
  const unified = host.cgroups.hierarchies.some(({ version }) => version === 2)
  const problem = !files.exists('/proc/pressure/memory')
    ? 'the kernel does not count waiting (PSI): no pressure events'
    : unified
      ? undefined
      : 'containers have no cgroup v2: no pressure events'
  return finding(
    'pressure events',
    false,
    problem,
    'PSI',
    unified ? 'boot with psi=1' : 'mount -t cgroup2 none /sys/fs/cgroup/unified',
  )
}

function checkAppArmor({ host, files, hasProgram: has }: Looked): Finding {
  const on = files.read('/sys/module/apparmor/parameters/enabled')?.trim() === 'Y'
  if (!on) {
    const hint = 'boot with apparmor=1 security=apparmor'
    return finding('AppArmor', false, 'not active in this kernel: one layer less', '', hint)
  }
  if (!host.root) return finding('AppArmor', false, 'active, but only root can load profiles', '', 'run as root')
  const missing = has('apparmor_parser') ? undefined : 'active, but there is no apparmor_parser to load profiles with'
  return finding('AppArmor', false, missing, 'each container has a profile of its own', 'apt install apparmor')
}

function checkSelinux({ files }: Looked): Finding {
  const enforcing = files.read('/sys/fs/selinux/enforce')?.trim()
  const problem =
    enforcing === undefined
      ? 'not active in this kernel: lxc.selinux.context cannot be applied'
      : enforcing === '0'
        ? 'permissive: contexts are applied, and nothing is denied'
        : undefined
  const hint =
    enforcing === '0' ? 'setenforce 1' : 'boot with security=selinux and a policy, where AppArmor is not used'
  return finding('SELinux', false, problem, 'enforcing', hint)
}

function checkLandlock({ landlock }: Looked): Finding {
  const problem = landlock > 0 ? undefined : 'not active in this kernel: sandboxes have one layer less'
  return finding(
    'Landlock',
    false,
    problem,
    `ABI ${landlock}`,
    'boot with lsm=landlock,… (CONFIG_SECURITY_LANDLOCK, Linux 5.13)',
  )
}

function checkCores({ files }: Looked): Finding {
  const smt = files.read('/sys/devices/system/cpu/smt/active')?.trim()
  const problem =
    smt === '1'
      ? undefined
      : 'no processor shares a core with another, or the kernel does not say: lxc.sched.core is refused'
  return finding(
    'core scheduling',
    false,
    problem,
    'cores can be kept apart',
    'none is needed where simultaneous multithreading is off',
  )
}

const PARTS: readonly (Part & { readonly purpose: string })[] = [
  { module: 'veth', symbol: 'veth_newlink', purpose: 'lxc.net.N.type = veth' },
  { module: 'bridge', symbol: 'br_dev_newlink', purpose: 'managed networks' },
  { module: 'macvlan', symbol: 'macvlan_common_newlink', purpose: 'lxc.net.N.type = macvlan' },
  { module: 'ipvlan', symbol: 'ipvlan_link_new', purpose: 'lxc.net.N.type = ipvlan' },
  { module: '8021q', symbol: 'vlan_dev_init', purpose: 'lxc.net.N.type = vlan' },
  { module: 'nf_tables', symbol: 'nf_tables_newtable', purpose: 'NAT and filters of managed networks' },
  { module: 'overlay', symbol: 'ovl_fill_super', purpose: 'overlay roots, snapshots' },
  { module: 'tun', symbol: 'tun_chr_open', purpose: 'VPN programs inside, networks of users' },
  { module: 'fuse', symbol: 'fuse_dev_open', purpose: 'file systems of programs inside' },
  { module: 'loop', symbol: 'loop_configure', purpose: 'storage "loop"' },
]

function checkParts({ host, files }: Looked): Finding[] {
  const presence = presenceOf(files, PARTS)
  return PARTS.map(({ module, purpose }) => {
    const state = presence.get(module)
    const problem =
      state === 'missing'
        ? `the kernel has none: no ${purpose}`
        : state === 'loadable' && !host.root
          ? `not loaded, which only root can do: no ${purpose}`
          : undefined
    const hint = state === 'loadable' ? `modprobe ${module}` : `boot a kernel with ${module}, or install its modules`
    return finding(module, false, problem, state === 'loadable' ? `loaded when needed: ${purpose}` : purpose, hint)
  })
}

const PROGRAMS: readonly { name: string; package: string; purpose: string; who?: 'root' | 'user' }[] = [
  { name: 'nft', package: 'nftables', purpose: 'NAT of managed networks', who: 'root' },
  { name: 'dnsmasq', package: 'dnsmasq-base', purpose: 'names and DHCP of managed networks', who: 'root' },
  { name: 'pasta', package: 'passt', purpose: 'networks of users', who: 'user' },
  { name: 'xz', package: 'xz-utils', purpose: 'images' },
  { name: 'tar', package: 'tar', purpose: 'images, copies' },
  { name: 'unshare', package: 'util-linux', purpose: 'unpacking of images' },
]

function checkPrograms({ host, hasProgram: has }: Looked): Finding[] {
  const wanted = PROGRAMS.filter(({ who }) => who === undefined || (who === 'root') === host.root)
  return wanted.map(({ name, package: from, purpose }) =>
    finding(name, false, has(name) ? undefined : `not installed: no ${purpose}`, purpose, `apt install ${from}`),
  )
}

/** Containers of the default lxcpath without a user namespace: their root is the host's. */
async function checkPrivileged(): Promise<Finding> {
  const places = await listPlaces(undefined)
  const configs = await Promise.all(places.map(({ configFile }) => Config.read(configFile, { lenient: true })))
  const names = places.filter((_, index) => !configs[index]?.has('lxc.idmap')).map(({ name }) => name)
  const problem = names.length === 0 ? undefined : `root inside is root of the host in ${names.join(', ')}`
  return finding(
    'user namespaces of containers',
    false,
    problem,
    'every container has one',
    'give them lines lxc.idmap, or make them anew with idmap: "auto"',
  )
}
