/** Mounts: fstab words become mount attributes, file system options and flags of ours. mount_setattr(2), mount(8) */
import type { MountLine } from '../config/mount_entry.ts'
import { ContainerError } from '../errors.ts'
import type { MountSpec } from '../native/spec.ts'

/** MOUNT_ATTR_* of linux/mount.h. */
export const ATTRIBUTE = {
  rdonly: 0x1,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  noatime: 0x10,
  strictatime: 0x20,
  nodiratime: 0x80,
  nosymfollow: 0x200000,
} as const

/** Whole words only: `rootcontext=…` is no `ro`. */
const SET: Readonly<Record<string, number>> = {
  ro: ATTRIBUTE.rdonly,
  nosuid: ATTRIBUTE.nosuid,
  nodev: ATTRIBUTE.nodev,
  noexec: ATTRIBUTE.noexec,
  noatime: ATTRIBUTE.noatime,
  strictatime: ATTRIBUTE.strictatime,
  nodiratime: ATTRIBUTE.nodiratime,
  nosymfollow: ATTRIBUTE.nosymfollow,
}

const CLEARED: Readonly<Record<string, number>> = {
  rw: ATTRIBUTE.rdonly,
  suid: ATTRIBUTE.nosuid,
  dev: ATTRIBUTE.nodev,
  exec: ATTRIBUTE.noexec,
  atime: ATTRIBUTE.noatime,
  diratime: ATTRIBUTE.nodiratime,
  symfollow: ATTRIBUTE.nosymfollow,
}

/** Words that a file system takes and a bind of it passes over, in LXC and mount(8) as well: they belong to its first mount. */
const OF_FILE_SYSTEM = new Set([
  'sync',
  'async',
  'dirsync',
  'lazytime',
  'nolazytime',
  'mand',
  'nomand',
  'remount',
  'silent',
  'loud',
])

/** Words that ask for what is the case anyway, or that only mount(8) itself reads. */
const SILENT = new Set([
  'defaults',
  'relatime',
  'norelatime',
  'nostrictatime',
  'auto',
  'noauto',
  'user',
  'nouser',
  '_netdev',
  'nofail',
])

const PROPAGATION: Readonly<Record<string, MountSpec['propagation']>> = {
  private: 'private',
  rprivate: 'private',
  shared: 'shared',
  rshared: 'shared',
  slave: 'slave',
  rslave: 'slave',
  unbindable: 'unbindable',
  runbindable: 'unbindable',
}

export interface MountWords {
  attributes: number
  cleared: number
  propagation: MountSpec['propagation']
  bind: boolean
  recursive: boolean
  options: { key: string; value: string }[]
}

/** Sorts option words into what the mount, and what the file system, understands. */
export function sortWords(words: readonly string[]): MountWords {
  const sorted: MountWords = {
    attributes: 0,
    cleared: 0,
    propagation: 'unchanged',
    bind: false,
    recursive: false,
    options: [],
  }
  for (const word of words) {
    if (word in SET) sorted.attributes |= SET[word] as number
    else if (word in CLEARED) sorted.cleared |= CLEARED[word] as number
    else if (word in PROPAGATION) sorted.propagation = PROPAGATION[word] as MountSpec['propagation']
    else if (word === 'bind' || word === 'rbind') {
      sorted.bind = true
      sorted.recursive ||= word === 'rbind'
    } else if (!SILENT.has(word)) sorted.options.push(option(word))
  }
  sorted.cleared &= ~sorted.attributes
  return sorted
}

function option(word: string): { key: string; value: string } {
  const equals = word.indexOf('=')
  return equals < 0 ? { key: word, value: '' } : { key: word.slice(0, equals), value: word.slice(equals + 1) }
}

/** A target is below the container's root, however LXC's absolute forms name it. */
function targetBelow(target: string, roots: readonly string[]): string {
  for (const root of roots) if (target.startsWith(`${root}/`)) return target.slice(root.length + 1)
  return target.replace(/^\/+/, '')
}

/** One line of an fstab as a mount. `roots` are the host paths under which LXC configs name the container's root. */
export function resolveMount(line: MountLine, roots: readonly string[]): MountSpec {
  const words = sortWords(line.options)
  const bind = words.bind || line.type === 'bind'
  if (line.options.includes('move')) {
    throw new ContainerError(
      'ERR_CONFIG_UNSUPPORTED',
      `Cannot mount "${line.target}": a mount of the host is not moved`,
      {
        hint: 'write bind, or rbind with what is below it: the host keeps its own',
      },
    )
  }
  if (!bind && line.type === 'none') {
    throw new ContainerError('ERR_CONFIG_VALUE', `Cannot mount "${line.target}": type "none" without bind or rbind`, {
      hint: 'add the option bind, or name the type of the file system',
    })
  }
  const strange = bind ? words.options.filter(({ key }) => !OF_FILE_SYSTEM.has(key)) : []
  if (strange.length > 0) {
    const names = strange.map(({ key }) => key).join(', ')
    throw new ContainerError('ERR_CONFIG_VALUE', `Cannot mount "${line.target}": a bind mount has no option ${names}`, {
      hint: 'options of a file system belong to its first mount, not to a bind of it',
    })
  }
  const target = targetBelow(line.target, roots)
  return {
    source: line.source,
    target,
    type: bind ? '' : line.type,
    recursive: words.recursive,
    relative: line.relative ?? false,
    attributes: words.attributes,
    cleared: words.cleared,
    options: bind ? [] : words.options.filter(({ key }) => key !== 'remount'),
    propagation: words.propagation,
    create: line.create ?? 'none',
    optional: line.optional ?? false,
    idmap: line.idmap === undefined ? 'none' : line.idmap === 'container' ? 'container' : 'descriptor',
    userNamespace: -1,
  }
}
