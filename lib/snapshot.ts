/**
 * Snapshots, in LXC's layout: each is a whole container in `snaps/snapN` of its container's directory, with `ts` and
 * perhaps `comment`.
 *
 * Restoring in place makes the new storage beside the old one and then writes the config, which names it: that one rename
 * is the moment of the change. Before it the old state is there in full, after it the new one.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type CloneOptions, copyContainer, isContainer, refuseRunning } from './clone.ts'
import { Config } from './config/config.ts'
import { refuseDependents, removeDependent } from './dependents.ts'
import { ContainerError } from './errors.ts'
import { ifMissing, writeWhole } from './host/file.ts'
import { holdTree, releaseTree } from './image/holders.ts'
import type { Waiting } from './lock.ts'
import { moveDirectory } from './move.ts'
import { ownsVolume, setVolume, treesBelow, volumeOf } from './rootfs.ts'
import { backendOf } from './storage/backends.ts'
import { ownUpper } from './storage/overlay.ts'
import type { Volume } from './storage/storage.ts'
import { copyVolume } from './storage/view.ts'
import { isName, type Place, placeOf, validateName } from './store.ts'
import { CREATION, removeTree } from './tree.ts'

export interface Snapshot {
  readonly name: string
  readonly at: Date
  readonly comment?: string
  /** With the memory of its processes. */
  readonly stateful: boolean
}

/** Names that were not given by anybody. */
const NUMBERED = /^snap(\d{1,9})$/

/** The place of a snapshot: a container whose lxcpath is `snaps`. */
export function snapshotPlace(place: Place, name: string): Place {
  return placeOf(name, path.join(place.directory, 'snaps'))
}

/** Makes a snapshot of the stopped container; gives its name, `snapN`. */
export async function createSnapshot(place: Place, options: { comment?: string } & Waiting = {}): Promise<string> {
  refuseRunning(place, 'make a snapshot of')
  await mkdir(path.join(place.directory, 'snaps'), { recursive: true, mode: 0o700 })
  const taken = new Set((await listSnapshots(place)).map(snapshot => snapshot.name))
  let number = 0
  while (taken.has(`snap${number}`)) number += 1
  const name = `snap${number}`
  await copyContainer(place, snapshotPlace(place, name), {
    ...options,
    keepMac: true,
    keepName: true,
    newIds: false,
    cheap: true,
    volumeName: volumeName(place, name),
    before: async aside => {
      await writeFile(path.join(aside, 'ts'), formatTime(new Date()))
      if (options.comment !== undefined) await writeFile(path.join(aside, 'comment'), options.comment)
    },
  })
  return name
}

/** All snapshots, in the order of their numbers, and those with names of their own after these. */
export async function listSnapshots(place: Place): Promise<Snapshot[]> {
  const names = (await readdir(path.join(place.directory, 'snaps')).catch(ifMissing)) ?? []
  const there = await Promise.all(
    names.map(async name => isName(name) && (await isContainer(snapshotPlace(place, name)))),
  )
  const number = (name: string): number => Number(NUMBERED.exec(name)?.[1] ?? Number.MAX_SAFE_INTEGER)
  const sorted = names.filter((_, at) => there[at]).sort((a, b) => number(a) - number(b) || a.localeCompare(b))
  return Promise.all(sorted.map(name => readSnapshot(place, name)))
}

async function readSnapshot(place: Place, name: string): Promise<Snapshot> {
  const { directory } = snapshotPlace(place, name)
  const time = (await readFile(path.join(directory, 'ts'), 'utf8').catch(ifMissing)) ?? ''
  const comment = await readFile(path.join(directory, 'comment'), 'utf8').catch(ifMissing)
  return { name, at: parseTime(time), stateful: false, ...(comment === undefined ? {} : { comment }) }
}

/** The config of a snapshot. */
export async function snapshotConfig(place: Place, snapshot: string): Promise<Config> {
  return Config.read((await existing(place, snapshot)).configFile)
}

/** Makes the snapshot a container of its own. */
export async function restoreAs(
  place: Place,
  snapshot: string,
  name: string,
  options: CloneOptions = {},
): Promise<Place> {
  const from = await existing(place, snapshot)
  const to = placeOf(name, place.lxcpath)
  await copyContainer(from, to, { ...options, newIds: true, cheap: true })
  return to
}

/** Puts the container back into the state of a snapshot. */
export async function restoreInPlace(place: Place, snapshot: string, options: Waiting = {}): Promise<void> {
  refuseRunning(place, 'restore')
  const from = await existing(place, snapshot)
  const config = await Config.read(from.configFile)
  const before = await Config.read(place.configFile)
  // Of an overlay only the upper layer is replaced, on which nobody else stands.
  if (volumeOf(before)?.type !== 'overlay') await refuseDependents(place, 'restore')
  const source = volumeOf(config)
  const text = (await readFile(from.configFile, 'utf8')).replaceAll(`${from.directory}/`, `${place.directory}/`)
  const restored = Config.parse(text)
  const site = { directory: path.join(place.directory, `restored-${randomUUID().slice(0, 8)}`), name: place.name }
  if (source !== undefined) {
    await mkdir(site.directory, { mode: 0o755 })
    try {
      const made = await restoreVolume(source, site, options)
      await ownUpper(
        made,
        restored.value('lxc.idmap').length > 0
          ? restored.value('lxc.idmap')
          : [{ type: 'both', container: 0, host: 0, range: 1 }],
      )
      setVolume(restored, made)
    } catch (error) {
      await removeTree(site.directory)
      throw error
    }
  }
  await writeWhole(place.configFile, restored.toString(), 0o644)
  await forgetVolume(place, before)
}

async function restoreVolume(
  source: Volume,
  site: { directory: string; name: string },
  options: Waiting,
): Promise<Volume> {
  const backend = backendOf(source)
  const { signal } = options
  if (backend.fork !== undefined && !backend.forksDepend) return backend.fork(source, site, { signal })
  const made = await backend.create(site, { ...(await backend.shape?.(source)), signal })
  await copyVolume(source, made, { signal })
  return made
}

/** Removes the storage that a restore has put out of use. */
async function forgetVolume(place: Place, before: Config): Promise<void> {
  const volume = volumeOf(before)
  if (volume === undefined || !ownsVolume(place, before)) return
  await backendOf(volume).remove(volume)
  const at = volume.type === 'overlay' ? volume.upper : volume.path
  const base = /^(.*\/restored-[0-9a-f]{8})\//.exec(at)?.[1]
  if (base?.startsWith(`${place.directory}/`)) await removeTree(base)
  for (const tree of treesBelow(volumeOf(await Config.read(place.configFile)))) await holdTree(tree, place.directory)
}

/** Gives one another name. */
export async function renameSnapshot(place: Place, snapshot: string, name: string): Promise<void> {
  const from = await existing(place, snapshot)
  validateName(name)
  const volumes = { from: volumeName(place, snapshot), to: volumeName(place, name) }
  await moveDirectory(from, snapshotPlace(place, name), volumes)
}

/** Removes one snapshot. */
export async function destroySnapshot(place: Place, snapshot: string): Promise<void> {
  const from = await existing(place, snapshot)
  await refuseDependents(from, 'destroy')
  const config = await Config.read(from.configFile)
  await removeDependent(from)
  // Out of sight first: what is half removed is no snapshot.
  const gone = path.join(place.directory, 'snaps', `${CREATION}${snapshot}-${randomUUID()}`)
  await rename(from.directory, gone)
  const volume = volumeOf(config)
  for (const tree of treesBelow(volume)) await releaseTree(tree, from.directory)
  if (volume !== undefined && ownsVolume(from, config)) {
    const name = volumeName(place, snapshot)
    const backend = backendOf(volume)
    await backend.remove(await backend.moved(volume, { directory: from.directory, name }, { directory: gone, name }))
  }
  await removeTree(gone)
}

/** Datasets and logical volumes have one space of names for all containers. */
function volumeName(place: Place, snapshot: string): string {
  return `${place.name}_${snapshot}`
}

/** Removes all of them. */
export async function destroyAllSnapshots(place: Place): Promise<void> {
  for (const { name } of await listSnapshots(place)) await destroySnapshot(place, name)
  await rm(path.join(place.directory, 'snaps'), { recursive: true, force: true })
}

async function existing(place: Place, name: string): Promise<Place> {
  const found = snapshotPlace(place, name)
  if (isName(name) && (await isContainer(found))) return found
  const names = (await listSnapshots(place)).map(snapshot => snapshot.name)
  throw new ContainerError('ERR_CONTAINER_NOT_FOUND', `Cannot find snapshot "${name}" of container "${place.name}"`, {
    container: place.name,
    hint: names.length === 0 ? 'it has none' : `it has ${names.join(', ')}`,
  })
}

/** LXC's form of `ts`, local time: `2026:01:31 07:42:00`. */
export function formatTime(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join(':')
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

/** The same read; what is no time is the beginning of time. */
export function parseTime(text: string): Date {
  const numbers = /^(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)/.exec(text)?.slice(1).map(Number)
  if (numbers === undefined) return new Date(0)
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = numbers
  return new Date(year, month - 1, day, hour, minute, second)
}
