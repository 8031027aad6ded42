/**
 * The one error class, and the one table of codes that are not the kernel's.
 *
 * A message states the action, quotes what is variable, then a colon and the state that was met:
 * `Cannot start container "web": idmap.write failed: write /proc/4711/uid_map: EPERM, operation not permitted`.
 */
import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'

/** The library's own codes; every other `code` is a kernel error name such as `EPERM`. */
export const CODES = {
  ERR_INVALID_NAME: 'a container name is not [A-Za-z0-9][A-Za-z0-9_.-]{0,63}',
  ERR_INVALID_OPTION: 'an option is unknown or has a value outside its domain',
  ERR_CONFIG_SYNTAX: 'a config line is not `key = value`',
  ERR_CONFIG_UNKNOWN_KEY: 'a config key does not exist',
  ERR_CONFIG_VALUE: 'a config value is outside the domain of its key',
  ERR_CONFIG_CONFLICT: 'two config keys exclude each other',
  ERR_CONFIG_UNSUPPORTED: 'a config key cannot take effect on this host or in this version',
  ERR_CONTAINER_EXISTS: 'the name is taken',
  ERR_CONTAINER_NOT_FOUND: 'no container of that name in that lxcpath',
  ERR_CONTAINER_RUNNING: 'the container is running and must not be',
  ERR_CONTAINER_NOT_RUNNING: 'the container is not running and must be',
  ERR_CONTAINER_STATE: 'the state of the container does not allow the operation',
  ERR_CONTAINER_FROZEN: 'the container is frozen and must not be',
  ERR_CONTAINER_BUSY: 'another operation holds the container',
  ERR_PROFILE_EXISTS: 'a profile of that name exists',
  ERR_PROFILE_NOT_FOUND: 'no profile of that name',
  ERR_NO_SUBORDINATE_IDS: 'no free range of subordinate ids for a user namespace',
  ERR_ID_NOT_GRANTED: 'an id map uses ids that the caller was not granted',
  ERR_TOOL_MISSING: 'a program of the host is not installed',
  ERR_TOOL_FAILED: 'a program of the host ended with an error',
  ERR_FEATURE_MISSING: 'the kernel, or the rights of this user, lack something that was asked for',
  ERR_NO_CGROUP: 'no cgroup hierarchy that can hold what was asked for',
  ERR_ROOTFS_MISSING: 'the root file system does not exist',
  ERR_ROOTFS_ACCESS: 'the mapped root user of the container cannot reach the root file system',
  ERR_HOOK: 'a function that is a hook threw, or the process that has it is gone',
  ERR_INIT_KILLED: 'the first process of the container was killed while it set itself up',
  ERR_INIT_MISSING: 'the program to run does not exist in the container',
  ERR_WRONG_ARCHITECTURE: 'the program to run is for another machine',
  ERR_TEMPLATE: 'a template is unknown or could not make a root file system',
  ERR_IMAGE: 'an image is damaged, untrusted or of an unknown format',
  ERR_IMAGE_NOT_FOUND: 'no image of that alias or fingerprint',
  ERR_IMAGE_EXISTS: 'the alias is taken',
  ERR_NETWORK: 'a network request cannot be fulfilled',
  ERR_TIMEOUT: 'the time given for an operation has passed',
  ERR_ABORTED: 'the AbortSignal of an operation fired',
  ERR_EXIT: 'a program ended with a non-zero exit code or by a signal',
  ERR_MAX_BUFFER: 'a program wrote more than maxBuffer allows',
  ERR_MONITOR_LOST: 'the monitor of the container ended unexpectedly',
  ERR_PROTOCOL: 'the monitor and the library do not understand each other',
  ERR_NATIVE_MISSING: 'the native addon could not be loaded',
} as const

/** One of the library's own error codes. */
export type ErrorCode = keyof typeof CODES

/** What a failure is about, beside its code and message. */
export interface ErrorDetails {
  errno?: number | undefined
  syscall?: string | undefined
  path?: string | undefined
  step?: string | undefined
  container?: string | undefined
  hint?: string | undefined
  file?: string | undefined
  line?: number | undefined
  column?: number | undefined
  cause?: unknown
  /** Failures of the clean-up after this one; they never replace it. */
  cleanup?: readonly unknown[] | undefined
}

/** Every failure is one of these: a Node system error plus where in the work it happened and what to do about it. */
export class ContainerError extends Error {
  override readonly name = 'ContainerError'
  /** A kernel error name ('EPERM') or one of {@link CODES}. */
  readonly code: string
  declare readonly errno?: number
  declare readonly syscall?: string
  declare readonly path?: string
  /** The step that failed, `concern.verb` ('idmap.write'). */
  declare readonly step?: string
  declare readonly container?: string
  /** One sentence: what to change. */
  declare readonly hint?: string
  /** File, line and column of a config mistake. */
  declare readonly file?: string
  declare readonly line?: number
  declare readonly column?: number
  /** Failures of the clean-up after this one. */
  declare readonly cleanup?: readonly unknown[]

  constructor(code: ErrorCode | (string & {}), message: string, details: ErrorDetails = {}) {
    const { cause, ...rest } = details
    super(
      visible(details.hint === undefined ? message : `${message}\n  hint: ${details.hint}`),
      cause === undefined ? {} : { cause },
    )
    this.code = code
    for (const [key, value] of Object.entries(rest)) {
      if (value !== undefined) Object.defineProperty(this, key, { value, enumerable: true })
    }
  }
}

/**
 * Messages end on terminals, and parts of them are a container's words (CVE-2023-28101). What would move a cursor or turn a line round is shown
 * as its number; fields like `path` keep it.
 */
function visible(text: string): string {
  return text.replace(/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (letter, at: number) =>
    letter === '\n' || letter === '\t' || (letter === '\r' && text[at + 1] === '\n')
      ? letter
      : `\\u{${letter.codePointAt(0)?.toString(16)}}`,
  )
}

/** The same error with a hint that fits better. */
export function rehint(error: ContainerError, hint: string): ContainerError {
  const { code, message, hint: _, name: __, ...details } = error
  return new ContainerError(code, message.split('\n  hint: ')[0] as string, { ...details, hint, cause: error })
}

/** Errors of the kernel that Node has no words for. */
const MORE: ReadonlyMap<number, readonly [name: string, text: string]> = new Map([
  [constants.errno.ENOEXEC, ['ENOEXEC', 'exec format error']],
  [constants.errno.ECHILD, ['ECHILD', 'no child process']],
  [constants.errno.ESTALE, ['ESTALE', 'stale file handle']],
  [constants.errno.EDQUOT, ['EDQUOT', 'disk quota exceeded']],
  [constants.errno.ENOSYS, ['ENOSYS', 'function not implemented']],
])

/** `[name, text]` of an errno: `['EPERM', 'operation not permitted']`. */
export function errnoName(errno: number): readonly [name: string, text: string] {
  return getSystemErrorMap().get(-errno) ?? MORE.get(errno) ?? [`E${errno}`, `error ${errno}`]
}

/** The known name nearest to a mistyped one, for "did you mean"; undefined when none is near. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined
  let least = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(word, candidate, least)
    if (distance < least) [best, least] = [candidate, distance]
  }
  return best
}

/** Levenshtein distance, given up at `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(substitution, (previous[j] as number) + 1, (row[j - 1] as number) + 1))
    }
    previous = row
  }
  return previous[b.length] as number
}

/** Refuses every property of `options` that is not in `known`, naming the nearest known one. */
export function refuseUnknown(options: object, known: readonly string[], what: string): void {
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue
    const near = nearest(key, known)
    throw new ContainerError('ERR_INVALID_OPTION', `Unknown option "${key}" of ${what}`, {
      hint: near === undefined ? `known options: ${known.join(', ')}` : `did you mean "${near}"?`,
    })
  }
}
