/** Paths of volumes. */
import { join, relative } from 'node:path'
import type { RootfsPath } from '../config/rootfs.ts'
import { ContainerError } from '../errors.ts'

/** The path of a volume that has one. */
export function pathOf(volume: RootfsPath): string {
  if ('path' in volume) return volume.path
  throw new ContainerError('ERR_CONFIG_VALUE', `Cannot use an overlay as storage of type "${volume.type}"`)
}

/** A path below one directory as it is below another; other paths stay. */
export function rebase(path: string, from: string, to: string): string {
  return path === from || path.startsWith(`${from}/`) ? join(to, relative(from, path)) : path
}
