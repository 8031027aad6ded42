/**
 * A container's cgroups: its directory in each hierarchy of the host, its limits, its devices. Pure: Config and CgroupHost in,
 * CgroupSpec out. A limit that was asked for and can't be held is an error (ERR_NO_CGROUP); a default that can't is a note.
 */
import type { CgroupSetting } from '../config/cgroup_keys.ts'
import type { Config, Entry } from '../config/config.ts'
import { ContainerError } from '../errors.ts'
import { type CgroupBase, type CgroupHost, cureFor, directoryOf, type Hierarchy } from '../host/cgroups.ts'
import type { CgroupHierarchy, CgroupSpec } from '../native/spec.ts'
import { controllerOf, defaultFile, fileOf, placeFiles, wantedFiles } from './controls.ts'
import { deviceFiles, deviceRules } from './devices.ts'

/** Whose cgroups, and how they are used. */
export interface CgroupOptions {
  /** `caisson.<name>.<hash8 of lxcpath>`: the container's directory unless the config names another. */
  readonly directory: string
  /** The host ids of the container's root; absent without a user namespace. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined
  /** Whether device rules can be attached: the caller is root on the host. */
  readonly root: boolean
  /** pids.max when the config sets none; the system profile's 4096 unless given, 0 for none. */
  readonly pids?: number | undefined
  /** Whether a directory exists already; then it is the host's and not made nor removed with the container. */
  exists(path: string): boolean
  /** Whether something else than the default `caisson.*` names is wanted: lxc.cgroup.pattern and lxc.cgroup.use of lxc.conf. */
  readonly pattern?: string | undefined
  readonly use?: readonly string[] | undefined
}

export interface ResolvedCgroup {
  readonly spec: CgroupSpec
  /** Defaults that this host can't hold, one sentence each. */
  readonly notes: readonly string[]
}

/** The cgroups of a container. Throws ERR_NO_CGROUP, ERR_CONFIG_VALUE or ERR_CONFIG_UNSUPPORTED with the place in the config. */
export function resolveCgroup(config: Config, host: CgroupHost, options: CgroupOptions): ResolvedCgroup {
  const chosen = chooseBases(host, config.value('lxc.cgroup.relative'), options.use)
  const paths = choosePaths(config, options)
  const hierarchies = chosen.map(([hierarchy, base]) => placeIn(hierarchy, base, paths, options))
  const entries = [...config.entries('lxc.cgroup2'), ...config.entries('lxc.cgroup')].filter(
    entry => fileOf(entry) !== undefined,
  )
  const files = placeFiles(wantedFiles(entries, host, hierarchies), host, hierarchies, options.root)
  const notes: string[] = []
  for (const extra of defaults(entries, options)) {
    const file = defaultFile(extra, hierarchies)
    if (file !== undefined) files.push(file)
    else if (extra.file === 'pids.max') {
      notes.push(`pids.max = ${extra.value} does not hold: ${cureFor(host, controllerOf(extra.file), options.root)}`)
    }
  }
  const devices = deviceFiles(deviceRules(entries), hierarchies, options.root)
  if (devices.note !== undefined) notes.push(devices.note)
  const owner = options.owner && { ownerUid: options.owner.uid, ownerGid: options.owner.gid }
  const scope = chosen.find(([, base]) => base.scope !== undefined)?.[1].scope
  return {
    spec: {
      hierarchies,
      files: [...files, ...devices.files],
      devices: [...devices.rules],
      ...owner,
      ...(scope && { scope }),
    },
    notes,
  }
}

/**
 * What holds when the config says nothing: security.md §2.2. A container may nest cgroups, but not without end; v1 can't
 * count them, and its controllers are not delegated.
 */
function defaults(entries: readonly Entry[], options: CgroupOptions): CgroupSetting[] {
  const set = new Set(entries.map(fileOf))
  const all = [
    { file: 'pids.max', value: String(options.pids ?? 4096) },
    { file: 'cgroup.max.descendants', value: '4096' },
    { file: 'cgroup.max.depth', value: '64' },
  ]
  return all.filter(({ file, value }) => !set.has(file) && value !== '0')
}

// ── where ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

function chooseBases(
  host: CgroupHost,
  relative: boolean,
  use: readonly string[] | undefined,
): [Hierarchy, CgroupBase][] {
  return host.hierarchies.flatMap(hierarchy => {
    const base = relative ? hierarchy.relative : hierarchy.base
    const used =
      hierarchy.version === 2 ||
      use === undefined ||
      use.length === 0 ||
      hierarchy.controllers.some(name => use.includes(name))
    return base !== undefined && used ? [[hierarchy, base] as [Hierarchy, CgroupBase]] : []
  })
}

interface Paths {
  readonly container: string
  readonly monitor: string
  readonly inner: string
  /** Where the monitor goes at its end. */
  readonly pivot: string
}

function conflict(
  state: string,
  hint: string,
  config: Config,
  key: 'lxc.cgroup.dir' | 'lxc.cgroup.dir.container',
): ContainerError {
  return new ContainerError('ERR_CONFIG_CONFLICT', `Cannot place the cgroups: ${state}`, { hint, ...config.where(key) })
}

/** lxc.container.conf(5): `dir` holds both directories, `dir.container` and `dir.monitor` are each the directory itself. */
function choosePaths(config: Config, options: CgroupOptions): Paths {
  const own = options.directory
  const container = config.value('lxc.cgroup.dir.container')
  const monitor = config.value('lxc.cgroup.dir.monitor')
  const dir = config.value('lxc.cgroup.dir')
  const inner = config.value('lxc.cgroup.dir.container.inner') ?? ''
  const pivot = config.value('lxc.cgroup.dir.monitor.pivot') ?? ''
  if (dir !== undefined && (container !== undefined || monitor !== undefined)) {
    const state = '"lxc.cgroup.dir" and "lxc.cgroup.dir.container" are both set'
    throw conflict(state, 'keep one of them', config, 'lxc.cgroup.dir')
  }
  if ((container === undefined) !== (monitor === undefined)) {
    const state = '"lxc.cgroup.dir.container" and "lxc.cgroup.dir.monitor" go together'
    const absent = container === undefined ? 'container' : 'monitor'
    throw conflict(state, `set "lxc.cgroup.dir.${absent}" too`, config, 'lxc.cgroup.dir.container')
  }
  if (container !== undefined && monitor !== undefined) return { container, monitor, inner, pivot }
  if (dir !== undefined) return { container: `${dir}/${own}`, monitor: `${dir}/${own}.monitor`, inner, pivot }
  const path = options.pattern ?? own
  return { container: path, monitor: `${path}.monitor`, inner, pivot }
}

function placeIn(hierarchy: Hierarchy, base: CgroupBase, paths: Paths, options: CgroupOptions): CgroupHierarchy {
  const { version, mount } = hierarchy
  const named = base.controllers[0]?.startsWith('name=') === true
  // A privileged root owns the files of its cgroup; one level below them it can't raise its own limits.
  const inner = paths.inner === '' && version === 2 && options.owner === undefined ? 'inner' : paths.inner
  const container = standing(mount, base.path, paths.container, options)
  const watched = version === 2 || base.controllers.includes('name=systemd')
  const monitor = watched ? standing(mount, base.path, paths.monitor, options) : { base: '', path: '' }
  return {
    version,
    mount,
    base: container.base,
    path: container.path,
    monitorBase: monitor.base,
    monitor: monitor.path,
    inner,
    pivot: paths.pivot === '' && base.scope !== undefined ? 'session' : watched ? paths.pivot : '',
    controllers: [...base.controllers],
    delegated: options.owner !== undefined && (version === 2 || named),
  }
}

/** Directories that stand already are the host's (a slice with limits of its own): they become part of the base. */
function standing(mount: string, base: string, path: string, options: CgroupOptions): { base: string; path: string } {
  const parts = path.split('/')
  let found = base
  while (parts.length > 1 && options.exists(directoryOf(mount, found, parts[0] as string))) {
    found = [found, parts.shift()].filter(Boolean).join('/')
  }
  return { base: found, path: parts.join('/') }
}
