/** `lxc.rootfs.path` and `lxc.rootfs.options`. */
import { didYouMean, type Kind, path, quote, simplify } from './kinds.ts'
import { mistake } from './mistake.ts'
import { sortOptions } from './mount_entry.ts'

export const STORAGE_TYPES = ['dir', 'zfs', 'lvm', 'rbd', 'btrfs', 'overlay', 'overlayfs', 'loop', 'nbd'] as const
export type StorageType = (typeof STORAGE_TYPES)[number]

/** `overlayfs` is an old name of `overlay`. */
export type RootfsPath =
  | { readonly type: 'overlay'; readonly lower: readonly string[]; readonly upper: string }
  | { readonly type: 'nbd'; readonly path: string; readonly partition?: number }
  | { readonly type?: 'dir' | 'zfs' | 'lvm' | 'rbd' | 'btrfs' | 'loop'; readonly path: string }

/** `[TYPE:]PATH`; without a type the backend is found by looking at the path. */
export const rootfsPath: Kind<RootfsPath, string> = {
  describe: `a path, with one of ${STORAGE_TYPES.join(', ')} and a colon before it if need be`,
  verbatim: true,
  parse(text) {
    const colon = text.indexOf(':')
    if (colon < 0) return { path: path.parse(text) }
    const type = text.slice(0, colon)
    const rest = text.slice(colon + 1)
    if (!(STORAGE_TYPES as readonly string[]).includes(type)) {
      const hint = didYouMean(type, STORAGE_TYPES) ?? 'a path with a colon needs its type before it, for example "dir:"'
      throw mistake(`${quote(type)} is not a storage type`, hint)
    }
    if (rest === '') throw mistake(`${quote(text)} has no path`)
    if (type === 'overlay' || type === 'overlayfs') return overlay(rest)
    if (type === 'nbd') return nbd(rest)
    return { type: type as 'dir', path: path.parse(rest) }
  },
  print(value) {
    if (value.type === 'overlay') return ['overlay', ...value.lower, value.upper].join(':')
    if (value.type === 'nbd')
      return ['nbd', value.path, ...(value.partition === undefined ? [] : [value.partition])].join(':')
    return value.type === undefined ? value.path : `${value.type}:${value.path}`
  },
}

/** Lower directories are topmost first, as in mount(8); LXC splits at ":/", so that other colons belong to a path. */
function overlay(text: string): RootfsPath {
  const paths = text.split(/:(?=\/)/).map(simplify)
  const upper = paths.pop() as string
  if (paths.length === 0 || [...paths, upper].includes('')) {
    throw mistake(`"overlay:${text}" is not an overlay`, 'write overlay:LOWER[:LOWER…]:UPPER')
  }
  return { type: 'overlay', lower: paths, upper }
}

function nbd(text: string): RootfsPath {
  const match = /^(.+?)(?::([0-9]+))?$/.exec(text) as RegExpExecArray
  const file = path.parse(match[1] as string)
  return { type: 'nbd', path: file, ...(match[2] === undefined ? {} : { partition: Number(match[2]) }) }
}

/** What the storage of types loop and lvm is made with. */
export const FILE_SYSTEMS = ['ext4', 'xfs', 'btrfs'] as const
export type FileSystem = (typeof FILE_SYSTEMS)[number]

export const fileSystem: Kind<FileSystem, FileSystem> = {
  describe: `one of ${FILE_SYSTEMS.join(', ')}`,
  parse(text) {
    if ((FILE_SYSTEMS as readonly string[]).includes(text)) return text as FileSystem
    throw mistake(`${quote(text)} is not a file system for images`, didYouMean(text, FILE_SYSTEMS))
  },
  print: value => value,
}

export interface RootfsOptions {
  readonly options: readonly string[]
  readonly idmap?: string
}

/** Mount options of the root, and `idmap=`; LXC's other options have no sense here. */
export const rootfsOptions: Kind<RootfsOptions, string> = {
  describe: 'mount options separated by commas, among them idmap=container or idmap=PATH',
  verbatim: true,
  parse(text) {
    const { options, idmap, create, optional, relative } = sortOptions(text)
    if (create !== undefined || optional || relative) {
      throw mistake(
        `${quote(text)} has an option of mount entries`,
        'create=, optional and relative are for lxc.mount.entry',
      )
    }
    return { options, ...(idmap === undefined ? {} : { idmap }) }
  },
  print: ({ options, idmap }) =>
    [...options, ...(idmap === undefined ? [] : [`idmap=${idmap}`])].join(',') || 'defaults',
}
