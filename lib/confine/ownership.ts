/**
 * Files of other ids for a caller who is not root: given to the ids of a container, and removed again. Both are done by a confined program
 * that is root over the caller's own id and over those that newuidmap(1) grants, so nothing beyond these can be touched.
 */
import { chown } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { readHost } from '../host/host.ts'
import { type Shift, shiftId } from '../host/shift.ts'
import { type Confinement, runConfined, WORK } from './confine.ts'

const KINDS = ['uid', 'gid'] as const

/** Whether ids stand on disk as the caller's own: one id inside, and nothing to give. */
export function isOwn(shift: readonly Shift[] | undefined): boolean {
  return shift?.every(({ range }) => range === 1) ?? false
}

const own = (kind: 'uid' | 'gid'): number => (kind === 'uid' ? process.geteuid?.() : process.getegid?.()) ?? 0

/** The caller as root, and after that the stretches in their order. */
function besideOwn(kind: 'uid' | 'gid', stretches: readonly { first: number; count: number }[]): Shift[] {
  let next = 1
  const rest = stretches.map(({ first, count }): Shift => {
    const shift = { type: kind, container: next, host: first, range: count }
    next += count
    return shift
  })
  return [{ type: kind, container: 0, host: own(kind), range: 1 }, ...rest]
}

/** Gives what of a directory is the caller's to the root of a container, as it stands on disk: the directory alone, or the whole tree. */
export async function give(
  directory: string,
  shift: readonly Shift[] | undefined,
  what: 'top' | 'tree',
): Promise<void> {
  const [uid, gid] = [shiftId(shift, 'uid', 0), shiftId(shift, 'gid', 0)]
  if (process.geteuid?.() === 0) {
    if (what === 'top') await chown(directory, uid, gid)
    return
  }
  if (shift === undefined || isOwn(shift)) return
  const map = KINDS.flatMap(kind => besideOwn(kind, stretchesOf(shift, kind)))
  const root = KINDS.map(kind => insideOf(map, kind, kind === 'uid' ? uid : gid)).join(':')
  const args = ['-h', ...(what === 'tree' ? ['-R', '--from=0:0'] : []), root, WORK]
  await runConfined('chown', args, { directory, shift: map })
}

const stretchesOf = (shift: readonly Shift[], kind: 'uid' | 'gid') =>
  shift.filter(({ type }) => type === kind || type === 'both').map(({ host, range }) => ({ first: host, count: range }))

/** What an id of the host is called in a map of `besideOwn`; the caller's own, in front, is never meant. */
function insideOf(map: readonly Shift[], kind: 'uid' | 'gid', id: number): number {
  const found = map.find(
    ({ type, container, host, range }) => type === kind && container > 0 && id >= host && id < host + range,
  )
  return found === undefined ? 0 : found.container + id - found.host
}

/** The map in which a caller without rights is root of all that is its own; undefined for root, and where nothing is granted. */
export function grantedIds(): readonly Shift[] | undefined {
  const { root, subuids, subgids, newuidmap, newgidmap } = readHost()
  if (root || subuids.length === 0 || subgids.length === 0 || !newuidmap || !newgidmap) return undefined
  return [...besideOwn('uid', subuids), ...besideOwn('gid', subgids)]
}

/** The root of a container as it is called in the map of {@link grantedIds}, `uid:gid`; without that map it is the caller. */
export function rootAmong(granted: readonly Shift[] | undefined, shift: readonly Shift[]): string {
  if (granted === undefined || isOwn(shift)) return '0:0'
  return KINDS.map(kind => insideOf(granted, kind, shiftId(shift, kind, 0))).join(':')
}

/** Removes all in a directory that the caller's subordinate ids own, or the caller. False when there are no such ids. */
export async function empty(directory: string): Promise<boolean> {
  return find([WORK, '-xdev', '-mindepth', '1', '-delete'], { directory })
}

/** Removes one directory of a directory of the caller's, whoever may look into it. False when there are no such ids. */
export async function discard(directory: string): Promise<boolean> {
  return find([join(WORK, basename(directory)), '-xdev', '-delete'], { directory: dirname(directory) })
}

/** The same of a cgroup, whose files go with it. */
export async function emptyCgroup(directory: string): Promise<boolean> {
  return find([directory, '-mindepth', '1', '-depth', '-type', 'd', '-delete'], { bare: true })
}

async function find(args: readonly string[], where: Pick<Confinement, 'directory' | 'bare'>): Promise<boolean> {
  const shift = grantedIds()
  if (shift === undefined) return false
  await runConfined('find', args, { ...where, shift })
  return true
}
