/** Options of programs that run inside: checked once, with their defaults. */
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import type { Architecture } from './config/arch.ts'
import { ContainerError, nearest, refuseUnknown } from './errors.ts'
import { checkEnvironment } from './spec/sandbox_options.ts'

/**
 * 'pipe' (default): a real pipe and a stream; 'inherit': this process's own; 'ignore': /dev/null; a number: that descriptor; 'stdout', of
 * standard error: whatever standard output is.
 */
export type Stdio = 'pipe' | 'inherit' | 'ignore' | 'stdout' | number

/** How a program runs inside. */
export interface AttachOptions {
  /** Working directory inside; default /. */
  cwd?: string
  /** The whole environment beside PATH, HOME, USER and container; the caller's own is never passed on unless named here. */
  env?: Record<string, string>
  /** User and group inside, by name (of the container's own files) or number; default 0. */
  user?: string | number
  group?: string | number
  /** Supplementary group ids; default those of the container's group(5) for a user given by name, else none. */
  groups?: readonly number[]
  stdio?: Stdio | readonly [Stdio, Stdio, Stdio]
  /** Runs it on a terminal of the container, which appears as `terminal`; default false. */
  tty?: boolean | { columns: number; rows: number }
  /** What it reads from standard input. */
  input?: string | Uint8Array | Readable
  /** Only these namespaces (default: all that the container has of its own). */
  namespaces?: readonly ('mnt' | 'pid' | 'net' | 'ipc' | 'uts' | 'user' | 'cgroup' | 'time')[]
  /** Keeps the caller's privileges for this part: dangerous, and off by default. */
  elevated?: boolean | readonly ('cgroup' | 'caps' | 'lsm' | 'seccomp')[]
  /** Attaching: the architecture that uname(2) shows it, as lxc.arch; default: the container's. */
  arch?: Architecture
  /** Attaching: the SELinux context it runs in; default: the container's. Throws ERR_FEATURE_MISSING where SELinux does not run. */
  context?: string
  /** Attaching with some `namespaces` but not 'mnt': a /proc and a /sys of its own that show those namespaces. */
  remount?: boolean
  /** Milliseconds after which it is killed. */
  timeout?: number
  signal?: AbortSignal
  /** What kills it after `timeout`, or when `signal` fires; default SIGKILL. */
  killSignal?: NodeJS.Signals
  /** Reject on a non-zero exit (default true). */
  reject?: boolean
  /** Bytes of each output that are kept; more ends the program. Default 64 MiB. */
  maxBuffer?: number
  /** Keep what it writes for the result; default true. Without it somebody has to read its streams, and `maxBuffer` means nothing. */
  keepOutput?: boolean
}

const KNOWN = [
  'cwd',
  'env',
  'user',
  'group',
  'groups',
  'stdio',
  'tty',
  'input',
  'namespaces',
  'elevated',
  'timeout',
  'signal',
  'killSignal',
  'reject',
  'maxBuffer',
  'keepOutput',
] as const satisfies readonly (keyof AttachOptions)[]

/** What a ContainerProcess needs of them. */
export interface ProcessOptions {
  readonly input: AttachOptions['input'] | undefined
  readonly timeout: number | undefined
  readonly signal: AbortSignal | undefined
  readonly killSignal: NodeJS.Signals
  readonly reject: boolean
  readonly maxBuffer: number
  readonly keepOutput: boolean
  readonly container: string | undefined
  /** Kills the program and all that it started; without it, its process group. */
  readonly killAll?: (signal: number) => void
}

/** Checks a command and the options of its run. Throws ERR_INVALID_OPTION. */
export function checkOptions(command: readonly string[], options: AttachOptions, extra: readonly string[] = []): void {
  if (options === null || typeof options !== 'object')
    throw refused('the options', options, 'give an object, or leave it out')
  refuseUnknown(options, [...KNOWN, ...extra], 'a program to run')
  if (
    !Array.isArray(command) ||
    command.length === 0 ||
    command[0] === '' ||
    command.some(word => typeof word !== 'string' || word.includes('\0'))
  ) {
    throw new ContainerError('ERR_INVALID_OPTION', 'Cannot run: the command is not a list of strings without NUL', {
      hint: "give the program and its arguments as a list: ['ls', '-l']",
    })
  }
  checkEnvironment(options.env, 'env')
  checkNumbers(options)
  checkStreams(options)
  if (
    options.cwd !== undefined &&
    (typeof options.cwd !== 'string' || options.cwd === '' || options.cwd.includes('\0'))
  ) {
    throw refused('cwd', options.cwd, 'give the path of a directory inside')
  }
  if (options.groups !== undefined && !(Array.isArray(options.groups) && options.groups.every(isId))) {
    throw refused('groups', options.groups, 'give a list of group numbers')
  }
  if (options.signal !== undefined && !(options.signal instanceof AbortSignal)) {
    throw refused('signal', options.signal, 'give the `signal` of an AbortController')
  }
  checkElevated(options.elevated)
  if (options.killSignal !== undefined) signalNumber(options.killSignal)
}

const PARTS = ['cgroup', 'caps', 'lsm', 'seccomp']

/** A part that is misspelt would silently stay on. */
function checkElevated(elevated: unknown): void {
  const parts = elevated === undefined || typeof elevated === 'boolean' ? [] : elevated
  const wrong = Array.isArray(parts) ? parts.find(part => !PARTS.includes(part)) : parts
  if (wrong === undefined) return
  const near = nearest(String(wrong), PARTS)
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot run: ${JSON.stringify(wrong)} is no part to leave off`, {
    hint: near === undefined ? `parts are ${PARTS.join(', ')}` : `did you mean "${near}"?`,
  })
}

function refused(name: string, value: unknown, hint: string): ContainerError {
  const shown = typeof value === 'number' ? String(value) : JSON.stringify(value)
  return new ContainerError('ERR_INVALID_OPTION', `Cannot run: ${name} is ${shown}`, { hint })
}

const isId = (id: unknown) => Number.isInteger(id) && (id as number) >= 0 && (id as number) < 2 ** 32 - 1

/** More would be taken for 1 by a timer. */
const LONGEST_MS = 2 ** 31 - 1

/** Refuses what is no time to wait. Throws ERR_INVALID_OPTION. */
export function checkTimeout(timeout: unknown): void {
  if (timeout === undefined || (typeof timeout === 'number' && timeout > 0 && timeout <= LONGEST_MS)) return
  throw refused('timeout', timeout, 'give milliseconds above 0 and up to 2147483647, or leave it out to wait for ever')
}

function checkNumbers({ timeout, maxBuffer, tty }: AttachOptions): void {
  checkTimeout(timeout)
  if (maxBuffer !== undefined && !(typeof maxBuffer === 'number' && maxBuffer >= 0)) {
    throw refused('maxBuffer', maxBuffer, 'give bytes')
  }
  if (tty === undefined || typeof tty === 'boolean') return
  const isSize = (size: unknown) => Number.isInteger(size) && (size as number) >= 0 && (size as number) <= 65_535
  if (tty !== null && typeof tty === 'object' && isSize(tty.columns) && isSize(tty.rows)) return
  throw refused('tty', tty, 'give true, or { columns, rows }')
}

function checkStreams({ input, stdio, tty }: AttachOptions): void {
  if (Array.isArray(stdio) && stdio.length !== 3)
    throw refused('stdio', stdio, 'give one word, or three: [stdin, stdout, stderr]')
  if (input === undefined) return
  const isStream = typeof (input as Readable | null)?.pipe === 'function'
  if (typeof input !== 'string' && !(input instanceof Uint8Array) && !isStream) {
    throw refused(
      'input',
      input,
      'give a string, bytes or a Readable; a file is createReadStream(path), or its descriptor in stdio',
    )
  }
  if (tty) throw refused('tty', tty, 'a terminal takes no `input`: write to `terminal` of the process')
  const first = Array.isArray(stdio) ? stdio[0] : stdio
  if (first !== undefined && first !== 'pipe') throw refused('stdio', stdio, "`input` needs 'pipe' as standard input")
}

export function processOptions(options: AttachOptions, container: string | undefined): ProcessOptions {
  return {
    input: options.input,
    timeout: options.timeout,
    signal: options.signal,
    killSignal: options.killSignal ?? 'SIGKILL',
    reject: options.reject ?? true,
    maxBuffer: options.maxBuffer ?? 64 * 1024 * 1024,
    keepOutput: options.keepOutput ?? true,
    container,
  }
}

/** The number of a signal. Throws ERR_INVALID_OPTION with the nearest name. */
export function signalNumber(signal: NodeJS.Signals | number): number {
  if (typeof signal === 'number' && Number.isInteger(signal) && signal >= 0 && signal <= 64) return signal
  const number = (constants.signals as Readonly<Record<string, number>>)[signal]
  if (number !== undefined) return number
  const near = typeof signal === 'string' ? nearest(signal, Object.keys(constants.signals)) : undefined
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot use ${JSON.stringify(signal)} as a signal`, {
    hint: near === undefined ? 'signals are named SIGTERM, SIGKILL, …' : `did you mean "${near}"?`,
  })
}
