/**
 * The cgroup hierarchies of this host as this process sees them: which are mounted, what they control, where the process
 * itself lives in each, and below which directories it may make cgroups. cgroups(7), proc(5)
 *
 * The host is read through `CgroupFiles`, so that a test can show it any other host.
 */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'

/** A directory below which containers can be made, relative to the mount; '' is the mount itself. */
export interface CgroupBase {
  readonly path: string
  /** v2: what can be enabled below it; v1: what the hierarchy holds. */
  readonly controllers: readonly string[]
  /** v2: processes live in it, so that it can't enable controllers; what it has enabled already stays usable. */
  readonly crowded: boolean
  /** The directory of a scope that the user's systemd makes at the start, absolute; it is the base itself. */
  readonly scope?: string
}

/** One mounted hierarchy. */
export interface Hierarchy {
  readonly version: 1 | 2
  readonly mount: string
  /** v1: what it holds ('cpu', 'cpuacct', 'name=systemd'); v2: what its top offers. */
  readonly controllers: readonly string[]
  /** This process's own cgroup; undefined when it lies outside what is mounted. */
  readonly own: string | undefined
  /** The highest directory where this user may make cgroups and put processes of its own: for root the top. */
  readonly base: CgroupBase | undefined
  /** The same at the process's own cgroup (lxc.cgroup.relative). */
  readonly relative: CgroupBase | undefined
}

export type CgroupLayout = 'none' | 'v1' | 'hybrid' | 'v2'

export interface CgroupHost {
  readonly layout: CgroupLayout
  readonly hierarchies: readonly Hierarchy[]
  /** Controllers that this kernel has compiled in and not disabled. */
  readonly known: ReadonlySet<string>
}

/** What is read of the host. */
export interface CgroupFiles {
  /** The text of a file; undefined when it can't be read. */
  read(path: string): string | undefined
  exists(path: string): boolean
  /** Whether this user may write the file or make directories in the directory, access(2). */
  writable(path: string): boolean
  readonly root: boolean
}

const HOST: CgroupFiles = {
  read: path => attempt(() => readFileSync(path, 'utf8')),
  exists: existsSync,
  writable: path => attempt(() => accessSync(path, constants.W_OK) ?? true) ?? false,
  get root() {
    return process.geteuid?.() === 0
  },
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}

/** What was found the last time, and the texts that said so. */
interface Seen {
  /** /proc/self/cgroup and what it says. */
  readonly own: string
  readonly membership: ReadonlyMap<string, string>
  readonly mountinfo: string
  readonly root: boolean
  readonly mounts: readonly CgroupMount[]
  readonly v1: Map<CgroupMount, Hierarchy | undefined>
}

const seen = new WeakMap<CgroupFiles, Seen>()

/** Reads the host. */
export function readCgroups(files: CgroupFiles = HOST): CgroupHost {
  const now = lookAgain(files)
  const hierarchies = now.mounts
    .map(mount => (now.root && mount.version === 1 ? rootsOwn(mount, now, files) : hierarchyOf(mount, now, files)))
    .filter(hierarchy => hierarchy !== undefined)
  const versions = new Set(hierarchies.map(({ version }) => version))
  const layout = versions.size === 2 ? 'hybrid' : versions.has(2) ? 'v2' : versions.has(1) ? 'v1' : 'none'
  const offered = hierarchies.filter(({ version }) => version === 2).flatMap(({ controllers }) => controllers)
  return { layout, hierarchies, known: new Set([...parseKnown(files.read('/proc/cgroups') ?? ''), ...offered]) }
}

function lookAgain(files: CgroupFiles): Seen {
  const own = files.read('/proc/self/cgroup') ?? ''
  const mountinfo = files.read('/proc/self/mountinfo') ?? ''
  const last = seen.get(files)
  if (last?.mountinfo === mountinfo && last.own === own && last.root === files.root) return last
  const membership = parseMembership(own)
  const now = { own, membership, mountinfo, root: files.root, mounts: parseMounts(mountinfo), v1: new Map() }
  seen.set(files, now)
  return now
}

/** Where root may make cgroups on v1 is told by those texts alone, and is looked at once: sixty calls in a hybrid layout. */
function rootsOwn(mount: CgroupMount, now: Seen, files: CgroupFiles): Hierarchy | undefined {
  if (!now.v1.has(mount)) now.v1.set(mount, hierarchyOf(mount, now, files))
  return now.v1.get(mount)
}

// ── the kernel's texts ────────────────────────────────────────────────────────────────────────────────────────────────

/** One mount of a hierarchy: `root` is the cgroup that the mount point shows. */
export interface CgroupMount {
  readonly version: 1 | 2
  readonly root: string
  readonly mount: string
  /** v1 only. */
  readonly controllers: readonly string[]
}

/** Words of a v1 mount's options that are no controllers, cgroup-v1/cgroups.rst. */
const NOT_CONTROLLERS = /^(rw|ro|xattr|noprefix|clone_children|cpuset_v2_mode|all|none|release_agent=.*|seclabel)$/

/** The cgroup mounts of /proc/PID/mountinfo, each hierarchy once: its topmost mount that shows most of it. */
export function parseMounts(mountinfo: string): CgroupMount[] {
  const found = new Map<string, CgroupMount>()
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ')
    const [, , , root, mount] = (left as string).split(' ').map(unescaped)
    const [type, , options] = (right ?? '').split(' ')
    if ((type !== 'cgroup' && type !== 'cgroup2') || root === undefined || mount === undefined) continue
    const version = type === 'cgroup' ? 1 : 2
    const controllers = version === 2 ? [] : (options ?? '').split(',').filter(word => !NOT_CONTROLLERS.test(word))
    const key = version === 2 ? '' : controllers.join(',')
    const earlier = found.get(key)
    if (earlier === undefined || root.length < earlier.root.length)
      found.set(key, { version, root, mount, controllers })
  }
  return [...found.values()]
}

/** Octal escapes of mountinfo, proc(5). */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

/** /proc/PID/cgroup: the path in each v1 hierarchy by each of its controllers, and in the v2 one by ''. */
export function parseMembership(text: string): Map<string, string> {
  const paths = new Map<string, string>()
  for (const line of text.split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line)
    if (match !== null)
      for (const controller of (match[1] as string).split(',')) paths.set(controller, match[2] as string)
  }
  return paths
}

/** The enabled controllers of /proc/cgroups; kernels without v1 support list few or none. */
export function parseKnown(text: string): string[] {
  return text
    .split('\n')
    .map(line => line.split('\t'))
    .filter(([name, , , enabled]) => name !== undefined && !name.startsWith('#') && enabled === '1')
    .map(([name]) => name as string)
}

/** What is left of a cgroup's path below the cgroup that a mount shows; undefined when the mount doesn't show it. */
export function pathBelow(root: string, path: string): string | undefined {
  if (path.startsWith('/..')) return undefined // outside this process's cgroup namespace
  if (root === '/') return path.slice(1)
  return path === root ? '' : path.startsWith(`${root}/`) ? path.slice(root.length + 1) : undefined
}

// ── where cgroups may be made ─────────────────────────────────────────────────────────────────────────────────────────

function hierarchyOf(mount: CgroupMount, { membership }: Seen, files: CgroupFiles): Hierarchy | undefined {
  const { version } = mount
  // Hidden below another mount, or of a namespace that this process isn't in.
  if (!files.exists(`${mount.mount}/cgroup.procs`)) return undefined
  const path = membership.get(version === 2 ? '' : (mount.controllers[0] ?? ''))
  const own = path === undefined ? undefined : pathBelow(mount.root, path)
  const controllers = version === 2 ? words(files.read(`${mount.mount}/cgroup.controllers`)) : mount.controllers
  const at = (place: string | undefined) => (place === undefined ? undefined : baseAt(mount, place, files))
  const highest = files.root ? (mayMake(mount, '', files) ? '' : undefined) : highestDelegated(mount, own, files)
  const relative = own !== undefined && mayMake(mount, own, files) ? own : undefined
  return { version, mount: mount.mount, controllers, own, base: at(highest), relative: at(relative) }
}

function baseAt(mount: CgroupMount, path: string, files: CgroupFiles): CgroupBase {
  if (mount.version === 1) return { path, controllers: mount.controllers, crowded: false }
  const directory = directoryOf(mount.mount, path)
  const offered = words(files.read(`${directory}/cgroup.controllers`))
  const enabled = words(files.read(`${directory}/cgroup.subtree_control`))
  // Only the kernel's own root has no cgroup.type, and only it may hold processes beside controllers; its list of them is long.
  const lives = () => (files.read(`${directory}/cgroup.procs`) ?? '') !== ''
  const crowded = files.exists(`${directory}/cgroup.type`) && offered.some(name => !enabled.includes(name)) && lives()
  return { path, controllers: crowded ? enabled : offered, crowded }
}

function mayMake(mount: CgroupMount, path: string, files: CgroupFiles): boolean {
  const directory = directoryOf(mount.mount, path)
  return files.writable(directory) && files.writable(`${directory}/${mount.version === 1 ? 'tasks' : 'cgroup.procs'}`)
}

/**
 * The highest of the own cgroup and the directories above it that is delegated to this user. A process can only be moved
 * where the user may write the common ancestor of its old and its new place (cgroups(7)), so what lies aside is no use.
 */
function highestDelegated(mount: CgroupMount, own: string | undefined, files: CgroupFiles): string | undefined {
  let highest: string | undefined
  for (let path = own; path !== undefined && mayMake(mount, path, files); path = parentOf(path)) highest = path
  return highest
}

function parentOf(path: string): string | undefined {
  return path === '' ? undefined : path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''
}

/** The absolute directory of a cgroup. */
export function directoryOf(mount: string, ...path: readonly string[]): string {
  return [mount, ...path].filter(part => part !== '').join('/')
}

function words(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter(word => word !== '')
}

// ── what is missing, and its cure ─────────────────────────────────────────────────────────────────────────────────────

/** The hierarchy in which containers can have a controller; `name` as v2 calls it ('io' is blkio on v1). */
export function hierarchyWith(host: CgroupHost, name: string): Hierarchy | undefined {
  const names = name === 'io' ? ['io', 'blkio'] : name === 'blkio' ? ['blkio', 'io'] : [name]
  return host.hierarchies.find(({ base }) => base?.controllers.some(controller => names.includes(controller)))
}

/** One sentence: what to change so that containers can have a controller that `hierarchyWith` doesn't find. */
export function cureFor(host: CgroupHost, controller: string, root = HOST.root): string {
  const v1 = controller === 'io' ? 'blkio' : controller
  if (!host.known.has(controller) && !host.known.has(v1)) {
    return `the kernel has no controller "${controller}": boot without cgroup_disable=${v1}, or another kernel`
  }
  const mounted = host.hierarchies.find(
    ({ controllers }) => controllers.includes(controller) || controllers.includes(v1),
  )
  if (mounted === undefined) return `mount the controller: mount -t cgroup -o ${v1} ${v1} /sys/fs/cgroup/${v1}`
  if (mounted.base?.crowded) {
    const directory = directoryOf(mounted.mount, mounted.base.path)
    return `processes live in ${directory}, so that it can't share out its controllers: move them to a directory below it`
  }
  if (root) return `make ${mounted.mount} writable: mount -o remount,rw ${mounted.mount}`
  return mounted.version === 2
    ? 'start the program in a delegated cgroup: systemd-run --user --scope -p Delegate=yes -- …'
    : `have root give this user a cgroup: mkdir ${mounted.mount}/$USER && chown -R $USER ${mounted.mount}/$USER, and join it`
}

/** One line of diagnose(). */
export interface CgroupFinding {
  readonly feature: string
  readonly ok: boolean
  readonly required: boolean
  readonly detail: string
  readonly hint?: string
}

const DIAGNOSED = ['memory', 'cpu', 'pids', 'io', 'cpuset', 'hugetlb'] as const

/** What containers of this user can and can't have of cgroups. */
export function diagnoseCgroups(host: CgroupHost, root = HOST.root): CgroupFinding[] {
  const usable = host.hierarchies.filter(({ base }) => base !== undefined)
  const findings: CgroupFinding[] = [
    {
      feature: 'cgroup',
      ok: usable.length > 0,
      required: root,
      detail: `layout ${host.layout}; containers can be placed in ${usable.length} of ${host.hierarchies.length} hierarchies`,
      ...(usable.length > 0
        ? {}
        : { hint: host.layout === 'none' ? 'mount -t cgroup2 none /sys/fs/cgroup' : cureFor(host, 'pids', root) }),
    },
  ]
  for (const controller of DIAGNOSED) {
    const place = hierarchyWith(host, controller)
    findings.push({
      feature: `cgroup.${controller}`,
      ok: place !== undefined,
      required: false,
      detail:
        place === undefined
          ? 'limits of this kind cannot be held'
          : `v${place.version}, ${directoryOf(place.mount, place.base?.path ?? '')}`,
      ...(place === undefined ? { hint: cureFor(host, controller, root) } : {}),
    })
  }
  return findings
}
