/** Subordinate ids: what /etc/subuid and /etc/subgid grant, subuid(5), and which of them are free. */
import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'

/** This process's own name in passwd(5); the number where it has none, by which subuid(5) may still call it. */
export function nameOf(uid: number): string {
  try {
    return userInfo().username
  } catch {
    return String(uid)
  }
}

/** `count` ids from `first` on. */
export interface IdRange {
  readonly first: number
  readonly count: number
}

/** The ranges that a file grants to a user, by name or by number. A file that is not there grants nothing. */
export function readSubordinateIds(file: string, user: string, uid: number): IdRange[] {
  return parseSubordinateIds(read(file), user, uid)
}

/** Lines of `NAME-OR-UID:FIRST:COUNT`; others say nothing. */
export function parseSubordinateIds(text: string, user: string, uid: number): IdRange[] {
  return text.split('\n').flatMap(line => {
    const match = /^([^:#]+):(\d+):(\d+)\s*$/.exec(line)
    if (match === null || (match[1] !== user && match[1] !== String(uid))) return []
    const [first, count] = [Number(match[2]), Number(match[3])]
    return count > 0 && first + count <= 2 ** 32 ? [{ first, count }] : []
  })
}

/** Every range that a file grants to anybody. */
export function readAllSubordinateIds(file: string): IdRange[] {
  const owners = new Set(
    read(file)
      .split('\n')
      .map(line => line.split(':', 1)[0] as string),
  )
  return [...owners].flatMap(owner => parseSubordinateIds(read(file), owner, -1))
}

/** What root takes from when nothing in the files is meant for it: far above what useradd(8) hands out. */
export const ROOT_POOL: IdRange = { first: 0x1000_0000, count: 0x4000_0000 }

/** For sandboxes, which keep no record of what they take; above all that containers take. */
export const SANDBOX_POOL: IdRange = { first: 0x5000_0000, count: 0x2000_0000 }

/** The first `count` ids of the pools that no taken range touches; undefined when there are none. */
export function findFree(pools: readonly IdRange[], taken: readonly IdRange[], count: number): number | undefined {
  for (const pool of pools) {
    let first = pool.first
    const inside = taken.filter(
      range => range.first < pool.first + pool.count && range.first + range.count > pool.first,
    )
    for (const range of inside.toSorted((a, b) => a.first - b.first)) {
      if (range.first - first >= count) break
      first = Math.max(first, range.first + range.count)
    }
    if (first + count <= pool.first + pool.count) return first
  }
  return undefined
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}
