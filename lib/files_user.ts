/**
 * Files of a stopped container for an ordinary user, when they belong to subordinate ids: confined programs that are root of the
 * container's ids do what Files does itself for root. Paths are resolved there, with the container's root as root directory.
 */
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type Confinement, confine } from './confine/confine.ts'
import { isOwn } from './confine/ownership.ts'
import { ContainerError, errnoName } from './errors.ts'
import { type Shift, shiftId } from './host/shift.ts'
import type { Program } from './native/program.ts'

type At = NonNullable<Confinement['at']>

/** Written beside and renamed, when all of it has come: who writes may be killed. */
const WRITE = `umask 077
trap 'rm -f -- "$1.$2"' EXIT
cat >"$1.$2"
[ "$(stat -c %s -- "$1.$2")" = "$5" ] || exit 1
chown -- "$4" "$1.$2"
chmod -- "$3" "$1.$2"
mv -fT -- "$1.$2" "$1"`

/** Its mode in a line, and then what it contains. */
const READ = 'stat -c %a -; cat'

const MAKE = 'mkdir -- "$1" 2>/dev/null || [ -d "$1" ]'

/** The stopped container's root directory, and how its ids stand on disk. */
export interface ClosedRoot {
  readonly name: string
  readonly directory: string
  readonly shift: readonly Shift[]
}

/** Whether files that stand on disk by this map are not the caller's to read. */
export function isClosed(shift: readonly Shift[] | undefined): shift is readonly Shift[] {
  return process.geteuid?.() !== 0 && shift !== undefined && !isOwn(shift)
}

/** A regular file: mode and contents. */
export async function readClosed(
  root: ClosedRoot,
  file: string,
  signal?: AbortSignal,
): Promise<{ mode: number; data: Buffer }> {
  const at = { path: file, kind: 'file' } as const
  const program = await start(root, ['-euc', READ], at, { readonly: true, stdout: 'pipe', signal })
  const [read] = await Promise.all([buffer(program.stdout as Readable), ended(root, program, at)])
  const line = read.indexOf('\n')
  return { mode: Number.parseInt(read.subarray(0, line).toString(), 8), data: read.subarray(line + 1) }
}

/** Writes a file whole or not at all. */
export async function writeClosed(
  root: ClosedRoot,
  file: string,
  data: string | Uint8Array,
  { mode, uid, gid }: { readonly mode: number; readonly uid: number; readonly gid: number },
): Promise<void> {
  for (const [kind, id] of [
    ['uid', uid],
    ['gid', gid],
  ] as const)
    shiftId(root.shift, kind, id)
  const at = { path: path.posix.dirname(file), kind: 'directory' } as const
  const beside = `caisson-${randomUUID()}`
  const words = [`./${path.posix.basename(file)}`, beside, mode.toString(8), `${uid}:${gid}`]
  const args = ['-euc', WRITE, 'sh', ...words, String(Buffer.byteLength(data))]
  const program = await start(root, args, at, { stdin: 'pipe' })
  // Who ends before it has read all says why through its end.
  program.stdin?.on('error', () => undefined).end(data)
  await ended(root, program, at)
}

/** Makes a directory, where there is none. */
export async function makeClosed(root: ClosedRoot, directory: string, signal?: AbortSignal): Promise<void> {
  const at = { path: path.posix.dirname(directory), kind: 'directory' } as const
  const words = ['-euc', MAKE, 'sh', `./${path.posix.basename(directory)}`]
  await ended(root, await start(root, words, at, { signal }), at)
}

/** Whether a path is one of a directory. Throws what the kernel says, when it is neither that nor a regular file. */
export async function isClosedDirectory(root: ClosedRoot, file: string, signal?: AbortSignal): Promise<boolean> {
  const at = { path: file, kind: 'directory' } as const
  const program = await start(root, ['-c', ':'], at, { readonly: true, signal })
  return ended(root, program, at).then(
    () => true,
    (error: ContainerError) => {
      if (error.code === 'ENOTDIR') return false
      throw error
    },
  )
}

async function start(root: ClosedRoot, args: readonly string[], at: At, options: Confinement): Promise<Program> {
  const { directory, shift } = root
  return confine('sh', args, { ...options, directory, shift, at })
}

/** Waits for its end; that there is no such file is said as the kernel said it. */
async function ended(root: ClosedRoot, program: Program, at: At): Promise<void> {
  let number = 0
  program.output(4).on('data', (byte: Buffer) => {
    number = byte[0] ?? 0
  })
  await program.done.catch((error: Error) => {
    if (number === 0) throw error
    const [code, text] = errnoName(number)
    throw new ContainerError(code, `Cannot open ${at.path} of container "${root.name}": openat2 failed: ${text}`, {
      container: root.name,
      path: at.path,
      syscall: 'openat2',
      cause: error,
    })
  })
}
