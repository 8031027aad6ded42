/**
 * The AppArmor profile that is generated for a container. apparmor.d(5)
 *
 * What it defends is not the path layer (a user namespace and masked paths do that, with or without it) but the next one: writes to
 * kernel files through any mount of procfs or sysfs, kernel file systems mounted anew, processes of others traced or signalled, and socket
 * families that a filter cannot see (CVE-2026-31431, by socketcall). A deny rule beats every allow rule, so exceptions are cut out of the
 * patterns themselves.
 *
 * Nothing that a user wrote gets into the text but the profile's name, which is checked, and raw lines, which may not leave its braces.
 */
import { ContainerError } from '../errors.ts'

/** Raised when the text changes, so that a loaded profile tells which rules it holds. */
export const PROFILE_VERSION = 1

/** What the kernel's AppArmor mediates, as far as the text depends on it; below /sys/kernel/security/apparmor/features. */
export interface AppArmorFeatures {
  readonly mount: boolean
  readonly unix: boolean
  /** Several policies at once, and policy namespaces: what a container needs to load profiles of its own. */
  readonly stack: boolean
  readonly mqueue: boolean
  readonly userns: boolean
}

export interface ProfileOptions {
  /** caisson.NAME.HASH */
  readonly name: string
  readonly features: AppArmorFeatures
  /** lxc.apparmor.allow_nesting */
  readonly nesting: boolean
  /** The container has a user namespace of its own. */
  readonly userNamespace: boolean
  /** lxc.apparmor.raw */
  readonly raw: readonly string[]
}

/** The policy namespace in which a nesting container loads its own profiles. */
export const policyNamespace = (name: string): string => `${name}.policy`

/** Writes the profile. Throws ERR_CONFIG_VALUE for a raw line that is more than rules. */
export function generateProfile(options: ProfileOptions): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(options.name)) {
    throw new ContainerError('ERR_INVALID_NAME', `Cannot write the profile ${JSON.stringify(options.name)}: not a name`)
  }
  checkRaw(options.raw)
  const rules = [
    ...base(options),
    ...kernelFiles(options),
    ...mounts(options),
    ...(options.nesting ? nested(options) : []),
    ...options.raw.map(line => line.trim()),
  ]
  return [
    `# generated, version ${PROFILE_VERSION}`,
    `profile "${options.name}" flags=(attach_disconnected,mediate_deleted) {`,
    ...rules.map(rule => `  ${rule}`),
    '}',
    '',
  ].join('\n')
}

/** Families of sockets beyond those of the system profile's filter. */
const FAMILIES = [
  'alg',
  'appletalk',
  'ax25',
  'bluetooth',
  'can',
  'ipx',
  'key',
  'nfc',
  'rds',
  'rxrpc',
  'tipc',
  'vsock',
  'x25',
]

function base({ features }: ProfileOptions): string[] {
  return [
    'capability,',
    'file,',
    'network,',
    ...FAMILIES.map(family => `deny network ${family},`),
    'umount,',
    'dbus,',
    // What is outside may look at and signal the container, never the other way round.
    'signal (receive),',
    'signal (send) peer=@{profile_name},',
    'ptrace (readby, tracedby),',
    'ptrace (read, trace) peer=@{profile_name},',
    ...(features.unix ? ['unix,'] : []),
    ...(features.mqueue ? ['mqueue,'] : []),
    ...(features.userns ? ['userns,'] : []),
  ]
}

/** Files of /proc/sys that belong to the container's own namespaces. */
const OWN_SYSCTLS = [
  'fs/mqueue',
  'kernel/domainname',
  'kernel/hostname',
  'kernel/msgmax',
  'kernel/msgmnb',
  'kernel/msgmni',
  'kernel/sem',
  'kernel/shm',
  'net',
  'user',
]
/** Files of /sys that it may write: its network interfaces, its cgroups. */
const OWN_SYS = ['class/net', 'devices/virtual/net', 'fs/cgroup']

/** Writes and links; reads of what tells of the host are denied where nobody inside needs them. */
function kernelFiles({ nesting }: ProfileOptions): string[] {
  const always = [
    'deny /proc/sysrq-trigger rwklx,',
    'deny /proc/kcore rwklx,',
    'deny /proc/kmem rwklx,',
    'deny /proc/mem rwklx,',
    'deny /proc/kpage* rwklx,',
    'deny /proc/acpi/** wklx,',
    'deny /proc/bus/** wklx,',
    'deny /proc/irq/** wklx,',
    'deny /sys/firmware/** rwklx,',
    'deny /sys/kernel/debug/** rwklx,',
    'deny /sys/kernel/tracing/** rwklx,',
    'deny /sys/kernel/security/** wklx,',
    'deny /sys/kernel/uevent_helper wklx,',
    'deny /sys/fs/bpf/** rwklx,',
    'deny /sys/fs/pstore/** rwklx,',
  ]
  if (nesting) return always
  return [
    ...always,
    ...allBut('/proc/sys', OWN_SYSCTLS).map(pattern => `deny ${pattern} wklx,`),
    ...allBut('/sys', OWN_SYS).map(pattern => `deny ${pattern} wklx,`),
  ]
}

/** File systems that are ways into the kernel: never inside. */
const KERNEL_FILE_SYSTEMS = ['binfmt_misc', 'bpf', 'configfs', 'debugfs', 'efivarfs', 'pstore', 'securityfs', 'tracefs']
/** What a container mounts by itself; the kernel still asks whether its user namespace may. */
const FILE_SYSTEMS = ['devpts', 'fuse', 'fuse.*', 'fuseblk', 'hugetlbfs', 'mqueue', 'overlay', 'ramfs', 'tmpfs']

function mounts({ features, nesting, userNamespace }: ProfileOptions): string[] {
  if (!features.mount) return []
  const denied = KERNEL_FILE_SYSTEMS.map(type => `deny mount fstype=${type},`)
  if (nesting) return [...denied, 'mount,', 'remount,', 'pivot_root,']
  const ordinary = allBut('', ['proc', 'sys'])
  return [
    ...denied,
    `mount fstype=(${FILE_SYSTEMS.join(', ')}),`,
    'mount fstype=proc -> /proc/,',
    'mount fstype=sysfs -> /sys/,',
    'mount fstype=cgroup2 -> /sys/fs/cgroup/**,',
    'mount fstype=cgroup2 -> /sys/fs/cgroup/,',
    // Another flag of propagation moves nothing.
    ...['private', 'slave', 'shared', 'unbindable'].flatMap(how => [
      `mount options=(rw, ${how}) -> **,`,
      `mount options=(rw, r${how}) -> **,`,
    ]),
    // procfs and sysfs stay where they are: bound elsewhere, the rules about their paths would not be about them.
    ...ordinary.flatMap(pattern => [
      `mount options in (rw, ro, bind, rbind, nosuid, nodev, noexec, noatime) ${pattern} -> **,`,
    ]),
    ...ordinary.flatMap(pattern => [`mount options=(rw, move) ${pattern} -> **,`]),
    ...ordinary.map(pattern => `remount ${pattern},`),
    // A bind may be made stricter. Parsers before 3.1.4 take such a rule for one about new binds too (CVE-2016-1585), so that neither
    // `-> **` nor `options in` may stand here.
    ...subsets(['nosuid', 'nodev', 'noexec']).flatMap(flags =>
      ordinary.map(pattern => `mount options=(${['ro', 'remount', 'bind', ...flags].join(', ')}) ${pattern},`),
    ),
    ...(userNamespace ? ['pivot_root,'] : []),
  ]
}

/** All subsets, the empty one first. */
function subsets(words: readonly string[]): string[][] {
  return words.reduce<string[][]>((all, word) => all.concat(all.map(one => one.concat(word))), [[]])
}

/** A container that runs containers: its own profiles live in a policy namespace of theirs. */
function nested({ name, features }: ProfileOptions): string[] {
  const inner = policyNamespace(name)
  const stacked = features.stack ? [`change_profile -> ":${inner}:*",`, `change_profile -> ":${inner}://*",`] : []
  // Its unmasked /proc and /sys are there to be seen by the kernel (lib/config/profile.ts), not to be read.
  const visible = ['deny /dev/.lxc/proc/** rwklx,', 'deny /dev/.lxc/sys/** rwklx,']
  return [...stacked, ...visible, 'ptrace,', 'signal,']
}

/**
 * Patterns for all paths below `root` but those of `kept` and what lies below them: where names part, the letter is excluded.
 * With `['proc', 'sys']`: `/[^ps]{**,}`, `/p[^r]{**,}`, `/pr[^o]{**,}` …
 */
export function allBut(root: string, kept: readonly string[]): string[] {
  const heads = new Map<string, Set<string>>()
  for (const path of kept) {
    for (let size = 0; size < path.length; size++) {
      const head = path.slice(0, size)
      heads.set(head, (heads.get(head) ?? new Set()).add(path[size] as string))
    }
  }
  return [...heads].flatMap(([head, letters]) => {
    const others = [...letters].sort().join('')
    const pattern = `${root}/${head}[^${others.replace(/[\\\]^-]/g, '\\$&')}]{,**}`
    // "kernel/sem" is kept and "kernel/semaphore" with it, as in "shm*"; a head that ends a name is that directory or file itself.
    return head.endsWith('/') || head === ''
      ? [pattern]
      : [pattern, ...(kept.includes(head) ? [] : [`${root}/${head}`])]
  })
}

/** A raw line is rules and nothing else: one line, its braces closed, no quote open, no way out of the profile. */
function checkRaw(lines: readonly string[]): void {
  for (const line of lines) {
    const problem = problemOf(line)
    if (problem === undefined) continue
    throw new ContainerError('ERR_CONFIG_VALUE', `Cannot use lxc.apparmor.raw ${JSON.stringify(line)}: ${problem}`, {
      hint: 'one line holds whole rules; blocks are written { … } in one line',
    })
  }
}

function problemOf(line: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that they are refused is the point
  if (/[\u0000-\u0008\u000a-\u001f\u007f\u2028\u2029]/.test(line)) return 'it holds a control character'
  let depth = 0
  let quoted = false
  for (let i = 0; i < line.length; i++) {
    const letter = line[i]
    if (letter === '\\') i++
    else if (letter === '"') quoted = !quoted
    else if (quoted) continue
    else if (letter === '#' && !/^\s*#/.test(line)) return 'a comment begins in it'
    else if (letter === '{') depth++
    else if (letter === '}' && --depth < 0) return 'it closes a brace that it did not open'
  }
  if (quoted) return 'a quote is not closed'
  return depth > 0 ? 'a brace is not closed' : undefined
}
