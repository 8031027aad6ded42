/** The backends by name: the one place that knows them all. */
import { ContainerError, nearest } from '../errors.ts'
import { btrfs } from './btrfs.ts'
import { dir } from './dir.ts'
import { loop } from './loop.ts'
import { lvm } from './lvm.ts'
import { overlay } from './overlay.ts'
import type { Backend, Pool, Volume } from './storage.ts'
import { zfs } from './zfs.ts'

const BACKENDS: readonly Backend[] = [dir, overlay, btrfs, loop, lvm, zfs]

/** Their names, for completion. */
export const BACKEND_NAMES: readonly string[] = BACKENDS.map(({ name }) => name)

/** The order of LXC's `best`, but that rbd is not there: copy-on-write before all else. */
const BEST = ['btrfs', 'zfs', 'lvm', 'dir'] as const

/** The backend of that name. Throws ERR_INVALID_OPTION with the nearest known one. */
export function findBackend(name: string): Backend {
  const wanted = name === 'overlayfs' ? 'overlay' : name
  const backend = BACKENDS.find(candidate => candidate.name === wanted)
  if (backend !== undefined) return backend
  if (wanted === 'rbd')
    throw new ContainerError('ERR_INVALID_OPTION', 'Cannot use storage backend "rbd": there is none for Ceph RBD', {
      hint: 'map the image with rbd(8), mount its file system, and use the backend "dir" there',
    })
  const names = BACKENDS.map(candidate => candidate.name)
  const near = nearest(name, names)
  throw new ContainerError('ERR_INVALID_OPTION', `Unknown storage backend "${name}"`, {
    hint: near === undefined ? `known are ${names.join(', ')} and best` : `did you mean "${near}"?`,
  })
}

/** The backend to use in a directory: the first of those named that works there; 'best' names all that copy on write, and dir. */
export async function chooseBackend(
  name: string | readonly string[],
  directory: string,
  pool?: Pool,
): Promise<Backend> {
  const named = typeof name === 'string' ? [name] : name
  const candidates = named.flatMap(one => (one === 'best' ? BEST : [one])).map(findBackend)
  for (const backend of candidates) if (await backend.isUsable(directory, pool)) return backend
  throw new ContainerError('ERR_FEATURE_MISSING', `Cannot use storage backend "${named}" in "${directory}"`, {
    path: directory,
    hint: 'its file system, its tools or the rights of this user do not allow it; "dir" works everywhere',
  })
}

/** The backend that made a volume. Paths without a type are directories, as LXC finds them. */
export function backendOf(volume: Volume): Backend {
  return findBackend(volume.type ?? 'dir')
}
