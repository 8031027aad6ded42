/**
 * Copies a tree with all that belongs to it: owners, modes, times, xattrs, ACLs, file capabilities, hard links, holes,
 * devices and FIFOs. It follows no link.
 *
 * GNU cp does this in one process, and shares extents where the file system can (FICLONE on btrfs and xfs). A pipe of two
 * tars is used where owners change: both ends are confined to a user
 * namespace each, the kernel translates ids, ACLs and capabilities, and nothing stands anywhere half shifted, as it would
 * during a chown in place (CVE-2015-1340).
 */

import { type Readable, Transform, type Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { confine, runConfined, WORK } from '../confine/confine.ts'
import { give, grantedIds, isOwn } from '../confine/ownership.ts'
import type { Shift } from '../host/shift.ts'
import { type Program, runProgram, startProgram } from '../native/program.ts'

export interface CopyOptions {
  readonly signal?: AbortSignal | undefined
  /** The source is seen through this process, of a running container: it is read with the rights of that one's root. */
  readonly through?: number | undefined
  /** The processes through whose mounts the source and the target are seen, where those are not the caller's. */
  readonly seenFrom?: number | undefined
  readonly seenTo?: number | undefined
  /** Directories of the source and of the target that are meant in their place, found with these as root directories. */
  readonly fromAt?: string | undefined
  readonly toAt?: string | undefined
  /** Hears how many bytes of the archive in between have been moved. */
  readonly onBytes?: ((done: number) => void) | undefined
}

const COPY = ['--archive', '--reflink=auto', '--sparse=auto', '--one-file-system', '--no-target-directory', '--']

const XATTRS = [
  '--xattrs',
  '--xattrs-include=user.*',
  '--xattrs-include=security.capability',
  '--xattrs-include=system.posix_acl_*',
]
const FROM = [
  '--create',
  '--file=-',
  '--blocking-factor=512',
  '--format=posix',
  '--numeric-owner',
  '--sparse',
  '--one-file-system',
  '--warning=no-file-ignored',
  ...XATTRS,
  '.',
]
const TO = [
  '--extract',
  '--file=-',
  '--blocking-factor=512',
  '--numeric-owner',
  '--same-owner',
  '--preserve-permissions',
  '--delay-directory-restore',
  ...XATTRS,
]

/**
 * Copies what is in the directory `from` into the existing directory `to`, and gives `to` the attributes of `from`. Of a
 * caller without rights files may belong to any of its subordinate ids: cp runs as root of these and of nothing else.
 */
export async function copyTree(from: string, to: string, options: CopyOptions = {}): Promise<void> {
  const { signal } = options
  const shift = grantedIds()
  if (shift === undefined) await runProgram('cp', [...COPY, from, to], { signal })
  else await runConfined('cp', [...COPY, from, to], { bare: true, shift, signal })
}

/**
 * Copies a tree and changes how its ids stand on disk, from one map to another; undefined is a map in which ids stand as
 * they are inside. Device nodes are left out: a user namespace cannot make them, and a container gets its /dev when it
 * starts.
 */
export async function copyShifted(
  from: string,
  to: string,
  shift: { readonly from?: readonly Shift[] | undefined; readonly to?: readonly Shift[] | undefined },
  options: CopyOptions = {},
): Promise<void> {
  const { signal } = options
  if (options.toAt === undefined) await give(to, shift.to, 'top')
  const devices = await listDevices(from, shift.from, options)
  const excludes = ['--no-wildcards', '--anchored', ...devices.map(path => `--exclude=./${path}`)]
  const pack = (source: string) => [`--directory=${source}`, ...excludes, ...FROM]
  const reader = await startReader('tar', pack, from, shift.from, options)
  // A user without a map has one id to give.
  const isSole = isOwn(shift.to) || (shift.to === undefined && process.geteuid?.() !== 0)
  const args = isSole ? TO.map(arg => (arg === '--same-owner' ? '--no-same-owner' : arg)) : TO
  const writer = await confine('tar', [`--directory=${options.toAt === undefined ? WORK : '.'}`, ...args], {
    directory: to,
    at: directoryAt(options.toAt),
    through: options.seenTo,
    shift: shift.to,
    stdin: 'pipe',
    signal,
  })
  try {
    const early = await move(reader.stdout as Readable, counter(options.onBytes), writer.stdin as Writable)
    await writer.done
    await reader.done.catch((error: Error) => {
      if (!early || !error.message.includes('SIGPIPE')) throw error
    })
  } catch (error) {
    reader.kill()
    writer.kill()
    const ends = await Promise.allSettled([writer.done, reader.done])
    const reasons = ends.flatMap(end => (end.status === 'rejected' ? [end.reason as Error] : []))
    // A broken pipe says only that one of them ended; the one that was not killed here says why.
    throw reasons.find(reason => !reason.message.includes('killed by')) ?? error
  }
}

/** Passes all on, and says how much it was so far. */
export function counter(onBytes: ((done: number) => void) | undefined): Transform {
  let done = 0
  return new Transform({
    transform(chunk: Uint8Array, _encoding, next) {
      done += chunk.length
      onBytes?.(done)
      next(null, chunk)
    },
  })
}

/**
 * Moves all that there is. True when the unpacker went before the last of it was taken: a tar that has seen the end of the archive needs no
 * padding, and one that has not says so by its exit code.
 */
async function move(from: Readable, through: Transform, to: Writable): Promise<boolean> {
  try {
    await pipeline(from, through, to)
    return false
  } catch (error) {
    if (!['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    return true
  }
}

const directoryAt = (path: string | undefined) =>
  path === undefined ? undefined : ({ path, kind: 'directory' } as const)

/** A program that reads the source, with ids as inside; the source is its first word. */
async function startReader(
  program: string,
  words: (source: string) => readonly string[],
  from: string,
  shift: readonly Shift[] | undefined,
  { signal, through, seenFrom, fromAt }: CopyOptions,
): Promise<Program> {
  if (through === undefined) {
    return confine(program, words(fromAt === undefined ? WORK : '.'), {
      directory: from,
      at: directoryAt(fromAt),
      through: seenFrom,
      readonly: true,
      shift,
      stdout: 'pipe',
      signal,
    })
  }
  // What another mount namespace has cannot be bound into ours; the working directory is its descriptor.
  const enter = ['--target', String(through), '--user', '--setuid', '0', '--setgid', '0', '--', program]
  return startProgram('nsenter', [...enter, ...words('.')], { cwd: from, signal, label: program })
}

const DEVICES = ['-xdev', '(', '-type', 'b', '-o', '-type', 'c', ')', '-printf', '%P\\0']

async function listDevices(tree: string, shift: readonly Shift[] | undefined, options: CopyOptions): Promise<string[]> {
  const find = await startReader('find', source => [source, ...DEVICES], tree, shift, options)
  const [found] = await Promise.all([text(find.stdout as Readable), find.done])
  return found.split('\0').filter(Boolean)
}
