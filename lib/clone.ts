/** Copies of containers: clones, snapshots and what is restored from them are one thing, a new directory made aside. */
import { randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { throwIfAborted } from './abort.ts'
import { publish, refuseTaken, withAside } from './aside.ts'
import { idsOfCopy, isWholeRange, refuseForUser, renewIds, runOnRoot } from './clone_user.ts'
import { Config } from './config/config.ts'
import { copyDependencies, dependOnLayers } from './dependents.ts'
import { ContainerError, refuseUnknown } from './errors.ts'
import { runHooks } from './hooks.ts'
import { type Shift, shiftId } from './host/shift.ts'
import { holdTree } from './image/holders.ts'
import type { Waiting } from './lock.ts'
import { isMonitored } from './recover.ts'
import { contentIn, setVolume, treesBelow, volumeOf } from './rootfs.ts'
import { backendOf, chooseBackend } from './storage/backends.ts'
import { overlay, ownUpper } from './storage/overlay.ts'
import type { BackendName, Site, Volume } from './storage/storage.ts'
import { type Content, copyContent, runInView, VIEW } from './storage/view.ts'
import { type Place, placeOf, resolveLxcpath, validateName } from './store.ts'

export interface CloneOptions extends Waiting {
  /** The lxcpath of the clone; default: that of the source. */
  path?: string
  /** Share what does not change, where the storage can (an overlay on a directory, a btrfs snapshot); default: copy. */
  snapshot?: boolean
  /** Other storage than the source's; a copy only. */
  backend?: BackendName | 'best'
  /** Bytes the new storage may hold, where it can hold a limit. */
  size?: number
  /** It is destroyed when it stops; a snapshot, where the storage can: then what it changes is all that it costs. */
  ephemeral?: boolean
  /** What an ephemeral overlay changes is kept in memory: at most so many bytes, or half of the memory. Lost at a reboot, too. */
  tmpfs?: boolean | number
  keepMac?: boolean
  keepName?: boolean
  /** Arguments for the hooks `lxc.hook.clone`. */
  hookArguments?: readonly string[]
}

const OPTIONS = [
  'path',
  'snapshot',
  'backend',
  'size',
  'ephemeral',
  'tmpfs',
  'keepMac',
  'keepName',
  'hookArguments',
  'timeout',
  'signal',
]

/** Clones the stopped container of a place. Throws ERR_CONTAINER_RUNNING, ERR_CONTAINER_EXISTS, ERR_FEATURE_MISSING … */
export async function clone(
  source: Place,
  name: string,
  options: CloneOptions = {},
  hook?: (place: Place) => Promise<void>,
): Promise<Place> {
  validateName(name)
  refuseUnknown(options, OPTIONS, 'clone')
  const place = placeOf(name, resolveLxcpath(options.path ?? source.lxcpath))
  await copyContainer(source, place, { ...options, newIds: true, ...(hook && { hook: () => hook(place) }) })
  return place
}

/** What snapshots want otherwise than clones. */
export interface CopyOptions extends CloneOptions {
  /** A range of ids of its own, where the tree is shown through an id map. */
  readonly newIds: boolean
  /** By which its files are written, where that is not as the source's are. */
  readonly shift?: readonly Shift[] | undefined
  /** Fork where that is safe, copy where it is not. */
  readonly cheap?: boolean
  /** The source goes away: it is no clone, and hooks of clones are not run. */
  readonly moved?: boolean
  /** The name of a dataset or logical volume; default: the container's. */
  readonly volumeName?: string
  /** Hooks that are functions; those that are programs come after. */
  readonly hook?: () => Promise<void>
  /** Writes more into the directory before it gets its name. */
  readonly before?: (aside: string) => Promise<void>
}

/** Makes the container of `place` as a copy of that of `source`, whole or not at all. */
export async function copyContainer(source: Place, place: Place, options: CopyOptions): Promise<void> {
  refuseRunning(source, 'copy')
  refuseTaken(place)
  const before = await Config.read(source.configFile)
  refuseForUser(source, before, !options.cheap && !options.moved)
  await mkdir(place.lxcpath, { recursive: true, mode: 0o711 })
  await withAside(place, async aside => {
    const text = await readFile(source.configFile, 'utf8')
    // Paths below the old directory are meant to be below the new one: hooks, fstab, logs.
    const config = Config.parse(text.replaceAll(`${source.directory}/`, `${place.directory}/`))
    const volume = volumeOf(before)
    if (volume !== undefined) {
      const content = contentIn(volume, before)
      const shift = await idsOfCopy(content, config, place, aside, options)
      await copyStorage(source, place, aside, config, content, { ...options, shift })
    }
    await copyFiles(source, aside)
    // Files of a copied upper layer have the ids of the old map.
    await adapt(config, place, aside, { ...options, newIds: options.newIds && volumeOf(config)?.type !== 'overlay' })
    await own(config, place, aside, options)
    await options.hook?.()
    if (volume !== undefined) await personalize(config, source, place, aside, options)
    await options.before?.(aside)
    await config.save(path.join(aside, 'config'))
    throwIfAborted(options.signal, `copy container "${source.name}"`)
    await publish(place, aside)
  })
}

/** Throws ERR_CONTAINER_RUNNING: a copy of files that change is a copy of no moment. */
export function refuseRunning(place: Place, verb: string): void {
  if (!isMonitored(place.runDir)) return
  throw new ContainerError('ERR_CONTAINER_RUNNING', `Cannot ${verb} container "${place.name}": it is running`, {
    container: place.name,
    hint: 'stop it first',
  })
}

async function copyStorage(
  source: Place,
  place: Place,
  aside: string,
  config: Config,
  content: Content,
  options: CopyOptions,
): Promise<void> {
  const name = options.volumeName ?? place.name
  const from = { directory: aside, name }
  const made = await makeVolume(source, place, content, from, aside, options)
  const moved = await backendOf(made).moved(made, from, { directory: place.directory, name })
  for (const tree of treesBelow(moved)) await holdTree(tree, place.directory)
  setVolume(config, moved)
}

/** Only an overlay has changes that can be kept apart; and only what is gone at its end may lose them. */
function checkTmpfs(source: Place, storage: BackendName, options: CopyOptions): void {
  const isOverlay =
    process.geteuid?.() === 0 && options.backend === undefined && (storage === 'dir' || storage === 'overlay')
  if (options.ephemeral && isOverlay) return
  const state = options.ephemeral ? `its storage "${options.backend ?? storage}" is no overlay` : 'it is not ephemeral'
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot clone "${source.name}" to a tmpfs: ${state}`, {
    hint: 'give { ephemeral: true } to a container whose storage is dir or overlay',
  })
}

async function makeVolume(
  source: Place,
  place: Place,
  content: Content,
  site: Site,
  aside: string,
  options: CopyOptions,
): Promise<Volume> {
  const { volume } = content
  const own = backendOf(volume)
  const { size, signal } = options
  if (options.tmpfs !== undefined && options.tmpfs !== false) checkTmpfs(source, own.name, options)
  const canFork = own.fork !== undefined && (!own.forksDepend || (await overlay.isUsable(site.directory)))
  const wantsFork = options.snapshot || (options.ephemeral && canFork && options.backend === undefined)
  if (options.snapshot && options.backend !== undefined) {
    throw new ContainerError('ERR_INVALID_OPTION', `Cannot clone "${source.name}": a snapshot has its source's storage`)
  }
  if (wantsFork && !canFork) {
    throw new ContainerError(
      'ERR_FEATURE_MISSING',
      `Cannot clone "${source.name}": storage "${own.name}" has no snapshots${own.fork === undefined ? '' : ' for an ordinary user'}`,
      {
        hint: 'leave out "snapshot" for a copy',
      },
    )
  }
  // An upper layer is copied in any case, so that a copy to the same storage is a fork, too.
  const isCheap = (options.cheap || own.name === 'overlay') && !own.forksDepend && options.backend === undefined
  if (own.fork !== undefined && (wantsFork || isCheap)) {
    const made = await own.fork(volume, site, { size, signal })
    if (made.type === 'overlay') await dependOnLayers(made.lower, place, aside)
    else await copyDependencies(source, place, aside)
    return made
  }
  const backend = options.backend === undefined ? own : await chooseBackend(options.backend, aside)
  const shape = backend.name === own.name ? await own.shape?.(volume) : undefined
  const made = await backend.create(site, { ...shape, ...(size === undefined ? {} : { size }), signal })
  // A fresh overlay has an empty lower directory that must hold the copy.
  const target: Volume = made.type === 'overlay' ? { type: 'dir', path: made.lower[0] as string } : made
  await copyContent(content, target, { signal, shift: options.shift })
  return made
}

/** Small files beside the storage: hooks and fstabs that the config names, and whatever else the owner put there. */
const NOT_COPIED = new Set([
  'config',
  'lock',
  'partial',
  'lxc_snapshots',
  'lxc_rdepends',
  'rootdev',
  'ts',
  'comment',
  'ephemeral',
  'tmpfs',
])

async function copyFiles(source: Place, aside: string): Promise<void> {
  for (const entry of await readdir(source.directory, { withFileTypes: true })) {
    if (!entry.isFile() || NOT_COPIED.has(entry.name) || existsSync(path.join(aside, entry.name))) continue
    await copyFile(path.join(source.directory, entry.name), path.join(aside, entry.name))
  }
}

async function adapt(config: Config, place: Place, aside: string, options: CopyOptions): Promise<void> {
  if (!options.keepName) config.set('lxc.uts.name', place.name)
  if (options.ephemeral) config.set('lxc.ephemeral', '1')
  else config.clear('lxc.ephemeral')
  config.clear('caisson.overlay.tmpfs')
  if (options.tmpfs !== undefined && options.tmpfs !== false)
    config.set('caisson.overlay.tmpfs', options.tmpfs === true ? 0 : options.tmpfs)
  if (!options.keepMac) {
    for (const index of config.interfaces()) {
      if (config.has(`lxc.net.${index}.hwaddr`)) config.set(`lxc.net.${index}.hwaddr`, newAddress())
    }
  }
  const maps = config.value('lxc.idmap')
  const isShown = config.value('lxc.rootfs.options')?.idmap === 'container'
  if (options.newIds && isShown && (maps.length === 0 || isWholeRange(maps)))
    await renewIds(config, place, aside, options)
}

/** An upper layer belongs to the root of the id map, which may be new. */
async function own(config: Config, place: Place, aside: string, options: CopyOptions): Promise<void> {
  const volume = volumeOf(config)
  const maps = config.value('lxc.idmap')
  if (volume?.type !== 'overlay' || maps.length === 0) return
  const name = options.volumeName ?? place.name
  const from = { directory: place.directory, name }
  await ownUpper(await backendOf(volume).moved(volume, from, { directory: aside, name }), maps)
}

/** In the range of addresses that LXC's default configuration uses. */
function newAddress(): string {
  const bytes = [0x10, 0x66, 0x6a, randomInt(256), randomInt(256), randomInt(256)]
  return bytes.map(byte => byte.toString(16).padStart(2, '0')).join(':')
}

/** A name of its own in the root file system, where that is a plain file; a link there might lead anywhere. */
const NAME =
  'cd "$0"; [ -L etc ] || [ -L etc/hostname ] || [ ! -f etc/hostname ] || { printf "%s\\n" "$1" >etc/hostname; chown "$2" etc etc/hostname; }'

/** What the clone hooks and the host name change, while the new storage can be seen. */
async function personalize(
  config: Config,
  source: Place,
  place: Place,
  aside: string,
  options: CopyOptions,
): Promise<void> {
  const volume = volumeOf(config) as Volume
  const name = options.volumeName ?? place.name
  const here = await backendOf(volume).moved(volume, { directory: place.directory, name }, { directory: aside, name })
  const view = { rootfs: { volume: here, access: 'write' } } as const
  const { signal } = options
  const rootfs = process.geteuid?.() === 0 ? undefined : backendOf(here).directory?.(here)
  if (!options.keepName && rootfs !== undefined)
    await runOnRoot(NAME, rootfs, config.value('lxc.idmap'), [place.name], signal)
  else if (!options.keepName)
    await runInView(view, 'sh', ['-euc', NAME, `${VIEW}/rootfs`, place.name, rootOnDisk(config)], { signal })
  if (options.cheap || options.moved) return
  await runHooks(
    config,
    'clone',
    { name: place.name, configFile: place.configFile, environment: process.env },
    {
      env: { LXC_ROOTFS_MOUNT: `${VIEW}/rootfs`, LXC_SRC_NAME: source.name },
      words: options.hookArguments ?? [],
      signal,
      // Hooks of the container's own directory are still aside with it.
      run: (program, args, given) => runInView(view, moveBelow(program, place.directory, aside), args, given),
    },
  )
}

const moveBelow = (file: string, from: string, to: string): string =>
  file.startsWith(`${from}/`) ? path.join(to, file.slice(from.length)) : file

/** Whose the files of the container's root are on disk. */
function rootOnDisk(config: Config): string {
  const maps = config.value('lxc.idmap')
  const isShown = config.value('lxc.rootfs.options')?.idmap === 'container'
  if (maps.length === 0 || (isShown && volumeOf(config)?.type !== 'overlay')) return '0:0'
  return `${shiftId(maps, 'uid', 0)}:${shiftId(maps, 'gid', 0)}`
}

/** Whether a directory holds a container. */
export async function isContainer(place: Place): Promise<boolean> {
  return stat(place.configFile).then(
    info => info.isFile(),
    () => false,
  )
}
