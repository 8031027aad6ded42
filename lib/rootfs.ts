/** The storage of a container, from its config. */
import { rm } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from './config/config.ts'
import { rootfsPath } from './config/rootfs.ts'
import { removeDependent } from './dependents.ts'
import { isTree, releaseTree } from './image/holders.ts'
import { backendOf } from './storage/backends.ts'
import type { Volume } from './storage/storage.ts'
import type { Content } from './storage/view.ts'
import type { Place } from './store.ts'

/** The volume of a container; undefined when it shares the host's root. */
export function volumeOf(config: Config): Volume | undefined {
  const volume = config.value('lxc.rootfs.path')
  const fstype = config.value('caisson.rootfs.fstype')
  return volume === undefined || fstype === undefined ? volume : { ...volume, fstype }
}

/** The files of a stopped container, as withView() takes them; undefined when it shares the host's root. */
export function contentOf(config: Config): Content | undefined {
  const volume = volumeOf(config)
  return volume === undefined ? undefined : contentIn(volume, config)
}

/** The same of a volume that is not that of the config. */
export function contentIn(volume: Volume, config: Config): Content {
  const map = config.value('lxc.idmap')
  const shift = map.length === 0 ? undefined : map
  // What is shown inside through an id map stands on disk as it is inside.
  const isShown = config.value('lxc.rootfs.options')?.idmap === 'container'
  const isLayered = isShown && shift !== undefined && volume.type === 'overlay'
  return { volume, shift: isShown ? undefined : shift, ...(isLayered && { idmap: shift }) }
}

/** Writes a volume into a config. */
export function setVolume(config: Config, volume: Volume): void {
  config.set('lxc.rootfs.path', rootfsPath.print(volume)).clear('caisson.rootfs.fstype')
  if (volume.fstype !== undefined && volume.fstype !== 'ext4') config.set('caisson.rootfs.fstype', volume.fstype)
}

/** Whether a container made its storage itself, and so may remove it: what lies elsewhere belongs to whoever put it there. */
export function ownsVolume(place: Place, config: Config): boolean {
  const volume = volumeOf(config)
  if (volume === undefined || config.value('lxc.rootfs.managed') === false) return false
  if (volume.type === 'zfs' || volume.type === 'lvm') return true
  const at = volume.type === 'overlay' ? volume.upper : volume.path
  return at.startsWith(`${place.directory}/`)
}

/** The images' trees below a container, which it must hold. */
export function treesBelow(volume: Volume | undefined): readonly string[] {
  return volume?.type === 'overlay' ? volume.lower.filter(isTree) : []
}

/** Removes the storage of a container and what is noted of it elsewhere. Its directory is the caller's to remove. */
export async function destroyStorage(place: Place, config: Config): Promise<void> {
  const volume = volumeOf(config)
  if (volume !== undefined && ownsVolume(place, config)) await backendOf(volume).remove(volume)
  await removeDependent(place)
  for (const tree of treesBelow(volume)) await releaseTree(tree, place.directory)
  await rm(path.join(place.directory, 'lxc_rdepends'), { force: true })
}
