/** Paths of volumes. */
import { lstatSync, readlinkSync, type Stats } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
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

/** As many as the kernel follows (path_resolution(7)). */
const MOST_LINKS = 40

/**
 * The directory that a path means, without links. Those on the way are followed as at a start (include/kernel/mount.h): of the caller or of
 * root, where nobody else may exchange them. Throws ELOOP for others; what is missing is left as it is.
 */
export function followLinks(path: string): string {
  let [at, rest] = ['/', resolve(path).split('/')]
  for (let links = 0; rest.length > 0; ) {
    const [name = '', ...others] = rest
    const next = resolve(at, name)
    const info = lstatSync(next, { throwIfNoEntry: false })
    if (info === undefined) return join(next, ...others)
    if (!info.isSymbolicLink()) {
      ;[at, rest] = [next, others]
      continue
    }
    const directory = dirname(next)
    if (++links > MOST_LINKS || !isTrusted(info) || !isGuarded(lstatSync(directory)))
      throw new ContainerError('ELOOP', `Cannot follow the symlink ${next}: somebody else may say where it leads`, {
        path: next,
        hint: 'name the directory itself, or let the link and its directory be root’s or your own',
      })
    const target = readlinkSync(next)
    at = target.startsWith('/') ? '/' : directory
    rest = [...target.split('/'), ...others]
  }
  return at
}

const isTrusted = ({ uid }: Stats): boolean => uid === 0 || uid === process.geteuid?.()

function isGuarded(directory: Stats): boolean {
  const ofOthers = directory.gid === 0 || directory.gid === process.getegid?.() ? 0o002 : 0o022
  return isTrusted(directory) && ((directory.mode & 0o1000) !== 0 || (directory.mode & ofOthers) === 0)
}
