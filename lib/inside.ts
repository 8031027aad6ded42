/** Files of a running container, read safely: through a descriptor of its root, where no link leads out of it. */
import { fstatSync, readFileSync } from 'node:fs'
import { ContainerError } from './errors.ts'
import { check, native } from './native/binding.ts'

/** The text of a file inside; undefined when it does not exist, or is not for this user to read: its root may have a / of mode 0700. */
export type ReadInside = (path: string) => string | undefined

/** Reads below the root directory of a running process. */
export function insideOf(pid: number): ReadInside {
  return path => readBelow(`/proc/${pid}/root`, path)
}

/** The text of a regular file below a root directory; undefined when it does not exist, or this user may not read it. */
export function readBelow(root: string, path: string): string | undefined {
  const opened = native().addon.openBelow(root, path)
  if (typeof opened === 'object' && [2, 13].includes(opened.failure.number)) return undefined // ENOENT, EACCES
  const descriptor = check(opened, { verb: `read ${path} inside` })
  try {
    return fstatSync(descriptor).isFile() ? readFileSync(descriptor, 'utf8') : undefined
  } finally {
    native().addon.closeDescriptors([descriptor])
  }
}

/** An entry of passwd(5). */
export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
  readonly shell?: string
}

const LARGEST = 2 ** 32 - 2

/** Entries whose numbers are numbers in the range of ids; others are passed over, as the C library does. */
export function parsePasswd(text: string): Account[] {
  return text.split('\n').flatMap(line => {
    const [name, , uid, gid, , home, shell] = line.split(':')
    if (name === undefined || home === undefined || !/^\d+$/.test(uid ?? '') || !/^\d+$/.test(gid ?? '')) return []
    if (Number(uid) > LARGEST || Number(gid) > LARGEST) return []
    return [{ name, uid: Number(uid), gid: Number(gid), home, ...(shell ? { shell } : {}) }]
  })
}

/**
 * Who a program runs as. A number is a number, never looked up as a name (CVE-2016-3697); a name is looked up in the container's own
 * passwd(5), without the host's name services. Throws ERR_INVALID_OPTION.
 */
export function findAccount(read: ReadInside, user: string | number | undefined): Account {
  const accounts = parsePasswd(read('/etc/passwd') ?? '')
  const id = typeof user === 'string' && /^-?\d+$/.test(user) ? Number(user) : (user ?? 0)
  if (typeof id === 'string') {
    const named = accounts.find(({ name }) => name === id)
    if (named !== undefined) return named
    throw new ContainerError(
      'ERR_INVALID_OPTION',
      `Cannot run as ${JSON.stringify(id)}: /etc/passwd of the container has no such user`,
      { hint: 'name one that it has, or give a number, which needs no entry' },
    )
  }
  if (!Number.isInteger(id) || id < 0 || id > LARGEST) {
    throw new ContainerError('ERR_INVALID_OPTION', `Cannot run as user ${id}: not an id from 0 to ${LARGEST}`)
  }
  return (
    accounts.find(({ uid }) => uid === id) ?? {
      name: '',
      uid: id,
      gid: id === 0 ? 0 : id,
      home: id === 0 ? '/root' : '/',
    }
  )
}

/** A group by number, or by name of the container's group(5). Throws ERR_INVALID_OPTION. */
export function findGroup(read: ReadInside, group: string | number): number {
  const id = typeof group === 'string' && /^-?\d+$/.test(group) ? Number(group) : group
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= LARGEST) return id
  const line =
    typeof id === 'string' ? (read('/etc/group') ?? '').split('\n').find(one => one.startsWith(`${id}:`)) : undefined
  const found = line?.split(':')[2]
  if (found !== undefined && /^\d+$/.test(found) && Number(found) <= LARGEST) return Number(found)
  throw new ContainerError(
    'ERR_INVALID_OPTION',
    `Cannot run with group ${JSON.stringify(group)}: the container has no such group`,
  )
}

/** The groups that group(5) of the container puts a user in, as initgroups(3) would. */
export function groupsOf(read: ReadInside, { name }: Account): number[] {
  if (name === '') return []
  const lines = (read('/etc/group') ?? '').split('\n').map(line => line.split(':'))
  const listed = lines.filter(([, , gid, members]) => /^\d+$/.test(gid ?? '') && members?.split(',').includes(name))
  return [...new Set(listed.map(([, , gid]) => Number(gid)))].filter(gid => gid <= LARGEST)
}
