/** Renaming a container, and moving it to another lxcpath. */
import { mkdir, stat } from 'node:fs/promises'
import { refuseTaken } from './aside.ts'
import { copyContainer, refuseRunning } from './clone.ts'
import { Config } from './config/config.ts'
import { refuseDependents } from './dependents.ts'
import { ContainerError } from './errors.ts'
import { readHost } from './host/host.ts'
import { moveIds } from './ids.ts'
import type { Waiting } from './lock.ts'
import { moveDirectory } from './move.ts'
import { destroyStorage, volumeOf } from './rootfs.ts'
import { listSnapshots } from './snapshot.ts'
import { type Place, placeOf, resolveLxcpath, validateName } from './store.ts'
import { discardTree } from './tree.ts'

export interface RenameOptions extends Waiting {
  /** The lxcpath that it moves to; default: where it is. On another file system its files are copied, and then removed here. */
  path?: string
}

/** Renames the stopped container of a place. As in LXC it must have no snapshots, and none may stand on it. */
export async function rename(place: Place, name: string, options: RenameOptions = {}): Promise<Place> {
  validateName(name)
  const to = placeOf(name, options.path === undefined ? place.lxcpath : resolveLxcpath(options.path))
  refuseRunning(place, 'rename')
  refuseTaken(to)
  if ((await listSnapshots(place)).length > 0) {
    throw new ContainerError('ERR_CONTAINER_BUSY', `Cannot rename container "${place.name}": it has snapshots`, {
      container: place.name,
      hint: 'destroy them, or clone the container',
    })
  }
  await mkdir(to.lxcpath, { recursive: true, mode: 0o711 })
  const [here, there] = await Promise.all([stat(place.directory), stat(to.lxcpath)])
  if (here.dev === there.dev) await moveDirectory(place, to)
  else await copyAway(place, to, options)
  return to
}

/** To another file system. The old one goes when the new one stands; a crash in between leaves both, of which either may be destroyed. */
async function copyAway(place: Place, to: Place, options: Waiting): Promise<void> {
  await refuseDependents(place, 'move')
  const config = await Config.read(place.configFile)
  const volume = volumeOf(config)
  if (volume?.type === 'overlay' && volume.lower.some(lower => lower.startsWith(`${place.directory}/`))) {
    throw new ContainerError('ERR_FEATURE_MISSING', `Cannot move container "${place.name}": it has layers of its own`, {
      container: place.name,
      hint: `move it within its file system, or clone it to "${to.lxcpath}" with another backend`,
    })
  }
  await moveIds(readHost(), place.directory, to.directory, options)
  try {
    const keepName = config.get('lxc.uts.name') !== place.name
    await copyContainer(place, to, { ...options, keepMac: true, keepName, newIds: false, moved: true })
  } catch (error) {
    await moveIds(readHost(), to.directory, place.directory, options)
    throw error
  }
  await destroyStorage(place, config)
  await discardTree(place)
}
