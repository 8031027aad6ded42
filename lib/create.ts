/** Making a container: aside, in a directory that nobody takes for a container, and then put in its place by one rename. */
import { mkdir, statfs, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { throwIfAborted } from './abort.ts'
import { publish, refuseTaken, withAside } from './aside.ts'
import type { Callbacks, Hooks } from './callbacks.ts'
import { Config } from './config/config.ts'
import { applyOptions, CONFIG_OPTIONS, type ConfigOptions, type IdMapEntry, type OptionFile } from './config/options.ts'
import { type Device, onProfiles } from './config/profile.ts'
import type { FileSystem } from './config/rootfs.ts'
import { refuseUnknown } from './errors.ts'
import { type Host, readHost } from './host/host.ts'
import { allocateIds } from './ids.ts'
import { fillVolume } from './image/fill.ts'
import type { Progress } from './image/template.ts'
import { findTemplate } from './image/templates.ts'
import type { Waiting } from './lock.ts'
import { findProfiles } from './profiles.ts'
import { explainRights } from './rights.ts'
import { setVolume } from './rootfs.ts'
import { chooseBackend } from './storage/backends.ts'
import type { BackendName, Pool, Volume } from './storage/storage.ts'
import { type Place, placeOf, resolveLxcpath, validateName } from './store.ts'

/** What a container is made of. */
export interface CreateOptions extends Omit<ConfigOptions, 'hooks'>, Waiting {
  /** By the point: command lines, which the config keeps, and functions of this process, which only the Container made here has. */
  hooks?: Hooks
  /** A template by name, with its options; 'busybox' unless `rootfs` is given. */
  template?: string | { name: string; [option: string]: unknown }
  /** Where the root file system is kept; default 'dir'. Of several, the first that works there; 'best' stands for btrfs, zfs, lvm, dir. */
  backend?: BackendName | 'best' | readonly (BackendName | 'best')[]
  /** The most it may hold, in bytes, where the backend can hold a limit. */
  size?: number
  /** The file system of `loop` and `lvm`; default ext4. */
  fstype?: FileSystem
  /** The volume group and the like of `lvm`, the parent dataset of `zfs`; default: those of lxc.conf. */
  pool?: Pool
  /** The lxcpath; default lxc.lxcpath of lxc.conf. */
  path?: string
  onProgress?(progress: Progress): void
  /** Mounts and interfaces by name; 'none' takes away one that a profile has given. */
  devices?: Readonly<Record<string, Device>>
}

/** The same without functions. */
type MakeOptions = Omit<CreateOptions, 'hooks'> & ConfigOptions

/** Makes a container; functions among its hooks go to `callbacks`. Throws ERR_CONTAINER_EXISTS, ERR_INVALID_NAME, ERR_INVALID_OPTION, ERR_NO_SUBORDINATE_IDS, ERR_TEMPLATE … */
export async function create(name: string, given: CreateOptions, callbacks: Callbacks): Promise<Place> {
  validateName(name)
  const { hooks, ...rest } = given
  const options: MakeOptions = { ...rest, ...(hooks && { hooks: callbacks.take(hooks) }) }
  refuseUnknown(
    options,
    [
      ...CONFIG_OPTIONS,
      'devices',
      'template',
      'backend',
      'size',
      'fstype',
      'pool',
      'path',
      'onProgress',
      'timeout',
      'signal',
    ],
    'Container.create',
  )
  const place = placeOf(name, resolveLxcpath(options.path))
  refuseTaken(place)
  const host = readHost()
  await mkdir(place.lxcpath, { recursive: true, mode: 0o711 }).catch(error => {
    throw explainRights(error, `Cannot create container "${name}"`, place.lxcpath, name)
  })
  await withAside(place, async aside => {
    const idmap = await chooseIds(place, aside, host, options)
    const config = await fill(place, aside, host, idmap, options)
    await config.save(path.join(aside, 'config'))
    throwIfAborted(options.signal, `create container "${name}"`)
    await publish(place, aside)
  })
  return place
}

/** The ids of the container: those given, or a range of its own; for a user without subordinate ids the one that there is. */
async function chooseIds(
  place: Place,
  aside: string,
  host: Host,
  options: MakeOptions,
): Promise<readonly IdMapEntry[]> {
  const { idmap = 'auto' } = options
  if (idmap === false) return []
  if (idmap !== 'auto') return idmap
  if (!host.root && (host.subuids.length === 0 || host.subgids.length === 0)) {
    return [
      { type: 'uid', container: 0, host: host.uid, range: 1 },
      { type: 'gid', container: 0, host: host.gid, range: 1 },
    ]
  }
  const { first, count } = await allocateIds(host, place.directory, aside, options)
  return [{ type: 'both', container: 0, host: first, range: count }]
}

/** Root file system and config. */
async function fill(
  place: Place,
  aside: string,
  host: Host,
  idmap: readonly IdMapEntry[],
  options: MakeOptions,
): Promise<Config> {
  const config = new Config()
  const shifted = idmap.length > 0
  const volume = options.rootfs === undefined ? await runTemplate(place, aside, idmap, options, config) : undefined
  if (volume !== undefined) setVolume(config, volume)
  const context = { directory: place.directory, idmap }
  const { profiles, includes } = await findProfiles(options.profiles ?? [])
  const own = onProfiles({ hostname: place.name, ...options, profiles: includes }, profiles)
  const files = applyOptions(config, { ...own, idmap: shifted ? idmap : false }, context)
  if (shifted && host.root && (await canShift(rootfsOf(config) ?? aside, aside, place)))
    config.set('lxc.rootfs.options', withIdmap(config))
  await writeFiles(place, aside, files)
  return config
}

function withIdmap(config: Config): string {
  const words = config.get('lxc.rootfs.options')
  return words === undefined || words === '' ? 'idmap=container' : `${words},idmap=container`
}

function rootfsOf(config: Config): string | undefined {
  const rootfs = config.value('lxc.rootfs.path')
  return rootfs !== undefined && 'path' in rootfs ? rootfs.path : undefined
}

async function runTemplate(
  place: Place,
  aside: string,
  idmap: readonly IdMapEntry[],
  options: MakeOptions,
  config: Config,
): Promise<Volume> {
  const given = options.template ?? 'busybox'
  const { name, ...rest } = typeof given === 'string' ? { name: given } : given
  const backend = await chooseBackend(options.backend ?? 'dir', aside, options.pool)
  const shift = idmap.length > 0 && !(await canShift(aside, aside, place)) ? idmap : undefined
  const { size, fstype, pool, signal, onProgress } = options
  const sites = { from: { directory: aside, name: place.name }, to: { directory: place.directory, name: place.name } }
  const request = { name: place.name, shift, unprivileged: idmap.length > 0, options: rest, signal, onProgress }
  const made = await fillVolume(findTemplate(name), request, backend, sites.from, {
    size,
    fstype,
    pool,
    signal,
    holder: place.directory,
    idmap,
  })
  for (const [key, value] of made.config) config.set(key as 'lxc.uts.name', value)
  if (made.fstab !== undefined) {
    await writeFile(path.join(aside, 'fstab'), made.fstab, { mode: 0o600 })
    config.set('lxc.mount.fstab', path.join(place.directory, 'fstab'))
  }
  return backend.moved(made.volume, sites.from, sites.to)
}

async function writeFiles(place: Place, aside: string, files: readonly OptionFile[]): Promise<void> {
  for (const { path: file, content } of files) {
    await writeFile(path.join(aside, path.relative(place.directory, file)), content, { mode: 0o600 })
  }
}

/** File systems that can be shown through an id map, and since which Linux: mount_setattr(2). By the magic of statfs(2). */
const SHIFTABLE: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994, 0xf2f52010, 0x73717368])

async function canShift(rootfs: string, aside: string, place: Place): Promise<boolean> {
  const there = rootfs.startsWith(`${place.directory}/`)
    ? path.join(aside, path.relative(place.directory, rootfs))
    : rootfs
  if (process.geteuid?.() !== 0) return false
  return SHIFTABLE.has((await statfs(there)).type)
}
