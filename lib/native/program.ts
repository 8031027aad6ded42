/**
 * Runs programs of the host: found once in a fixed list of directories (never in the caller's PATH, never below a
 * container's root), with a clean environment, bounded output, and an end that always comes before the promise settles.
 */
import { accessSync, closeSync, constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { constants as system } from 'node:os'
import { PassThrough, type Readable, type Writable } from 'node:stream'
import { throwIfAborted } from '../abort.ts'
import { ContainerError } from '../errors.ts'
import { type Child, check, endOfProcess, native, type ProcessEnd, spawnProgram } from './binding.ts'

const SEARCH = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/sbin', '/usr/local/bin'] as const

/** The Debian package of a program whose name does not say it. */
const PACKAGES: Readonly<Record<string, string>> = {
  xz: 'xz-utils',
  unsquashfs: 'squashfs-tools',
  mksquashfs: 'squashfs-tools',
  btrfs: 'btrfs-progs',
  'mkfs.btrfs': 'btrfs-progs',
  'mkfs.ext4': 'e2fsprogs',
  zfs: 'zfsutils-linux',
  lvcreate: 'lvm2',
  lvremove: 'lvm2',
  lvs: 'lvm2',
  lvrename: 'lvm2',
  lvextend: 'lvm2',
  gpgv: 'gpgv',
  newuidmap: 'uidmap',
  newgidmap: 'uidmap',
}

/** What a program printed, when it ended well. */
export interface ProgramResult {
  /** 0, or one of those that were accepted. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** What a program gets as a descriptor: one of the caller's, of the same number for 'inherit'; a pipe; or nothing. */
type Wish = number | 'pipe' | 'ignore' | 'inherit' | 'input' | 'output'

export interface ProgramOptions {
  /** Written to its standard input, which is otherwise empty. */
  input?: string | Uint8Array | undefined
  /** Descriptors it gets as 0, 1, 2, 3…; 'pipe' is the default of 1 and 2. Above these it is either 'input' or 'output'. */
  stdio?: readonly Wish[] | undefined
  /** Added to PATH, LC_ALL=C and HOME=/; nothing of the caller's environment is passed on. */
  env?: Readonly<Record<string, string>> | undefined
  cwd?: string | undefined
  /** Kills the program; the promise rejects with ERR_ABORTED after it has gone. */
  signal?: AbortSignal | undefined
  /** Bytes of output kept of each stream; default 16 MiB. */
  maxBuffer?: number | undefined
  /** What errors call it, when that is not its own name. */
  label?: string | undefined
  /** A descriptor of the file to run, where it is not found by its name. */
  executable?: number | undefined
  /** It says what goes wrong on its standard output, too. */
  talks?: boolean | undefined
  /** It leads a process group, which is killed with it (Linux 6.9; before, only the program itself). */
  group?: boolean | undefined
  /** Exit codes that are no failure, beside 0. */
  accept?: readonly number[] | undefined
}

const MAX_BUFFER = 16 * 1024 * 1024

const found = new Map<string, string>()

/** The absolute path of a host program. Throws ERR_TOOL_MISSING with the package to install. */
export function findProgram(name: string): string {
  const known = found.get(name)
  if (known !== undefined) return known
  const path = name.startsWith('/') ? executable(name) : SEARCH.map(d => executable(`${d}/${name}`)).find(Boolean)
  if (path === undefined) {
    throw new ContainerError('ERR_TOOL_MISSING', `Cannot run "${name}": it is not installed`, {
      hint: `install the package "${PACKAGES[name] ?? name}"`,
    })
  }
  found.set(name, path)
  return path
}

/** Whether a host program is installed. */
export function hasProgram(name: string): boolean {
  try {
    findProgram(name)
    return true
  } catch {
    return false
  }
}

function executable(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK)
    return path
  } catch {
    return undefined
  }
}

/** A running program: its ends, and the promise of its end. */
export interface Program {
  /** Its number, once it has been exec'ed. Rejects as `done` does. */
  readonly pid: Promise<number>
  readonly stdin: Writable | null
  readonly stdout: Readable | null
  /** What is written to its descriptor 3 or above that was given as 'input'. */
  input(descriptor: number): Writable
  /** What it writes to one that was given as 'output'. */
  output(descriptor: number): Readable
  /** Resolves when it has ended well; rejects with ERR_TOOL_FAILED or ERR_ABORTED, always after it has gone. */
  readonly done: Promise<ProgramResult>
  kill(): void
}

/** Runs a host program to its end. Throws ERR_TOOL_FAILED with its last words, or ERR_ABORTED. */
export async function runProgram(
  name: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramResult> {
  const given = options.stdio ?? []
  const stdin = options.input === undefined ? (given[0] ?? 'ignore') : 'pipe'
  const program = launch(name, args, { ...options, stdio: [stdin, ...given.slice(1)] })
  const out = collect([program.stdout], options.maxBuffer ?? MAX_BUFFER)
  if (options.input !== undefined) {
    // EPIPE says only that the program did not want all of it; its exit code tells whether that matters.
    program.stdin?.on('error', () => undefined)
    program.stdin?.end(options.input)
  }
  return { ...(await program.done), stdout: out() }
}

/** Starts a host program whose ends the caller moves, at any time; of its output only stderr is collected. */
export function startProgram(name: string, args: readonly string[], options: ProgramOptions = {}): Program {
  const program = launch(name, args, options)
  // What a short program wrote, 64 KiB in as many pieces as it likes, must wait for its reader.
  program.keepOutput()
  return program
}

function launch(name: string, args: readonly string[], options: ProgramOptions): Running {
  const program = options.executable ?? findProgram(name)
  throwIfAborted(options.signal, `run "${name}"`)
  const given = options.stdio ?? []
  const ends = new Ends([given[0] ?? 'ignore', given[1] ?? 'pipe', given[2] ?? 'pipe', ...given.slice(3)])
  const running = new Running(options.label ?? name, ends, options)
  const environment = cleanEnvironment(options.env)
  const spawn = {
    program,
    args: [typeof program === 'string' ? program : name, ...args],
    environment,
    directory: options.cwd,
    descriptors: ends.theirs,
  }
  running.follow(spawnProgram(spawn, { verb: `run "${name}"` }))
  ends.release()
  return running
}

/** The descriptors of a program: its ends, which are closed when it has them, and ours. */
class Ends {
  readonly theirs: number[] = []
  readonly ours: (Socket | undefined)[] = []
  readonly #closing: (() => void)[] = []

  constructor(wishes: readonly Wish[]) {
    try {
      for (const [index, wish] of wishes.entries()) this.#add(index, wish)
    } catch (error) {
      this.release()
      for (const end of this.ours) end?.destroy()
      throw error
    }
  }

  #add(index: number, wish: Wish): void {
    if (typeof wish === 'number' || wish === 'inherit') {
      this.theirs.push(wish === 'inherit' ? index : wish)
      this.ours.push(undefined)
      return
    }
    // Each is closed by who has opened it: in a worker, Node counts its own.
    if (wish === 'ignore') {
      const nothing = openSync('/dev/null', 'r+')
      this.#closing.push(() => closeSync(nothing))
      this.theirs.push(nothing)
      this.ours.push(undefined)
      return
    }
    const [own, other] = openPipe(wish === 'pipe' ? index === 0 : wish === 'input')
    this.#closing.push(() => native().addon.closeDescriptors([other]))
    this.theirs.push(other)
    this.ours.push(own)
  }

  release(): void {
    for (const close of this.#closing.splice(0)) close()
  }
}

/** Our end, and the program's. */
function openPipe(input: boolean): [own: Socket, other: number] {
  const [reader, writer] = check(native().addon.makePipe(), { verb: 'make a pipe' })
  const own = new Socket({ fd: input ? writer : reader, readable: !input, writable: input })
  return [own, input ? reader : writer]
}

/** A program from before it is exec'ed until it has ended and all that it has written was taken. */
class Running implements Program {
  readonly stdin: Writable | null
  stdout: Readable | null
  pid: Promise<number> = Promise.resolve(0)
  done: Promise<ProgramResult> = Promise.reject(new Error('not followed'))
  readonly #name: string
  readonly #ends: Ends
  readonly #options: ProgramOptions
  #pidfd = -1
  #killed = false
  #kept: PassThrough | undefined

  constructor(name: string, ends: Ends, options: ProgramOptions) {
    this.#name = name
    this.#ends = ends
    this.#options = options
    this.stdin = ends.ours[0] ?? null
    this.stdout = ends.ours[1] ?? null
    this.done.catch(() => undefined)
  }

  follow(spawned: Promise<Child>): void {
    this.pid = spawned.then(({ pid }) => pid)
    this.done = this.#finish(spawned)
    // The caller may look at these only after it has moved its data; until then a rejection is not unhandled.
    this.pid.catch(() => undefined)
    this.done.catch(() => undefined)
  }

  input(descriptor: number): Writable {
    return this.#ends.ours[descriptor] as Socket
  }

  output(descriptor: number): Readable {
    return this.#ends.ours[descriptor] as Socket
  }

  keepOutput(): void {
    this.#kept = this.stdout?.pipe(new PassThrough({ highWaterMark: 65_536 }))
    this.stdout = this.#kept ?? null
  }

  /** One that is not there yet is killed when it is. What it wrote is nobody's any more: its end does not wait for a reader. */
  kill(): void {
    this.#killed = true
    if (this.#pidfd < 0) return
    native().addon.killProcess(this.#pidfd, system.signals.SIGKILL, this.#options.group === true)
    this.#ends.ours[1]?.destroy()
    this.#kept?.end()
  }

  async #finish(spawned: Promise<Child>): Promise<ProgramResult> {
    const { signal, accept, talks, maxBuffer = MAX_BUFFER } = this.#options
    const outputs = this.#ends.ours.filter(end => end?.readable === true) as Socket[]
    const closed = outputs.map(end => new Promise<void>(resolve => end.once('close', () => resolve())))
    const words = collect([this.#ends.ours[2], talks ? this.#ends.ours[1] : undefined], maxBuffer)
    const kill = () => this.kill()
    signal?.addEventListener('abort', kill, { once: true })
    try {
      const end = await spawned.then(child => this.#wait(child)).finally(() => drain(outputs, closed))
      const stderr = words()
      if (end.code !== null && (end.code === 0 || accept?.includes(end.code)))
        return { code: end.code, stdout: '', stderr }
      if (!signal?.aborted) throw failure(this.#name, end, stderr)
      throw new ContainerError('ERR_ABORTED', `Cannot finish "${this.#name}": aborted`, { cause: signal.reason })
    } finally {
      signal?.removeEventListener('abort', kill)
      for (const end of this.#ends.ours) end?.destroy()
    }
  }

  async #wait({ pidfd }: Child): Promise<ProcessEnd> {
    this.#pidfd = pidfd
    try {
      const ended = endOfProcess(pidfd, true)
      if (this.#killed) this.kill()
      return await ended
    } finally {
      this.#pidfd = -1
      native().addon.closeDescriptors([pidfd])
    }
  }
}

/** The environment of host programs: untranslated messages and nothing inherited. */
export function cleanEnvironment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { PATH: SEARCH.join(':'), LC_ALL: 'C', HOME: '/', ...more }
}

/** What is still in a pipe is taken before the end is told, and thrown away if nobody has begun to read it. */
async function drain(outputs: readonly Socket[], closed: readonly Promise<void>[]): Promise<void> {
  for (const end of outputs) end.resume()
  await Promise.all(closed)
}

function collect(streams: readonly (Readable | null | undefined)[], max: number): () => string {
  const chunks: Buffer[] = []
  let size = 0
  for (const stream of streams) {
    stream?.on('data', (chunk: Buffer) => {
      if (size < max) chunks.push(chunk)
      size += chunk.length
    })
  }
  return () => Buffer.concat(chunks).toString('utf8')
}

function failure(name: string, { code, signal }: ProcessEnd, stderr: string): ContainerError {
  const words = stderr.trim().split('\n').slice(-3).join('; ')
  const end = code === null ? `killed by ${nameOf(signal)}` : `exit code ${code}`
  return new ContainerError('ERR_TOOL_FAILED', `Cannot finish "${name}": ${end}${words === '' ? '' : `: ${words}`}`)
}

const nameOf = (signal: number | null): string =>
  Object.entries(system.signals).find(([, number]) => number === signal)?.[0] ?? `signal ${signal}`
