/** The addon: loaded once, typed, with its failures made into ContainerErrors. */
import { createRequire } from 'node:module'
import path from 'node:path'
import { ContainerError, errnoName } from '../errors.ts'
import { hintFor } from '../hints.ts'
import { packageRoot } from '../version.ts'
import type {
  AttachSpec,
  ConfineSpec,
  Failure,
  InsideSpec,
  LinkRequest,
  Report,
  Request,
  SeccompPolicy,
  SeccompProgram,
  StartSpec,
  SyscallCall,
  ViewSpec,
} from './spec.ts'

/** A connection to a monitor. `send` answers with a failure when the packet could not be sent. */
export interface NativeChannel {
  send(request: Request): Failed | undefined
  /** The whole Spec of a container that was made ahead, and its descriptors. */
  deliver(spec: StartSpec, descriptors: readonly number[]): Failed | undefined
  /** There is none to come: it is undone. */
  dismiss(): Failed | undefined
  /** Whether all that the monitor has said has been heard: its end, too, is something that it says. */
  isQuiet(): boolean
  close(): void
  /** Keeps the event loop alive until `unref` or the end. */
  ref(): void
  unref(): void
}

/** Called with each report, and with null when the peer has closed; the descriptors are the callee's. */
export type ReportListener = (report: Report | null, descriptors: number[]) => void

/** A file of the kernel that is watched; closing it twice is no mistake. */
export interface Notice {
  close(): void
}

interface Failed {
  readonly failure: Failure
}

/** System calls that wait for an answer: addon/binding/notify.cc. */
export interface NativeListener {
  answer(id: number | bigint, value: number | bigint, error: number, flags: number): boolean | Failed
  inject(id: number | bigint, descriptor: number, flags: number): boolean | Failed
  read(id: number | bigint, pid: number, address: bigint, length: number): Buffer | Failed
  mount(id: number | bigint, pid: number, source: string, target: string, readOnly: boolean): undefined | Failed
  stop(): void
  close(): void
}

/** How a process ended, as far as the caller may know: nothing of one that is not its child. */
export interface ProcessEnd {
  readonly code: number | null
  readonly signal: number | null
}

interface Addon {
  launch(verb: string, spec: object, fds: number[], listener: ReportListener, file: string): NativeChannel | Failed
  closeNursery(): void
  spawnProgram(
    program: string | number,
    args: readonly string[],
    environment: readonly string[],
    directory: string,
    descriptors: readonly number[],
    callback: (pid: number | Failed, pidfd: number) => void,
  ): undefined | Failed
  connectChannel(path: string, listener: ReportListener): NativeChannel | Failed
  decodeSpec(descriptor: number): StartSpec | Failed
  sealConfinement(spec: ConfineSpec, file: string): [told: number, monitor: number] | Failed
  sealView(spec: ViewSpec, file: string): [told: number, monitor: number] | Failed
  watchProcess(pidfd: number, callback: (end: ProcessEnd) => void, hold: boolean): undefined | Failed
  watchNotice(file: string, trigger: string, control: string, listener: (text: string) => void): Notice | Failed
  killProcess(pidfd: number, signal: number, group: boolean): boolean | Failed
  lockFile(path: string, byte?: number): number | Failed
  compileSeccomp(policy: SeccompPolicy): SeccompProgram | Failed
  makePipe(room?: number): [reader: number, writer: number] | Failed
  openBelow(root: string, path: string): number | Failed
  isLocked(path: string): boolean | Failed
  landlockAbi(): number
  copyDescriptor(descriptor: number): number | Failed
  relayTerminal(descriptor: number, pidfd: number): number | Failed
  resizeTerminal(descriptor: number, columns: number, rows: number): undefined | Failed
  passOutput(descriptor: number): undefined | Failed
  openListener(listener: number, journal: number, deliver: (call: SyscallCall | null) => void): NativeListener | Failed
  closeDescriptors(descriptors: readonly number[]): void
}

const requireHere = createRequire(import.meta.url)
let loaded: { addon: Addon; monitor: string } | undefined

/** The addon, and the monitor's file beside it. Throws ERR_NATIVE_MISSING with the way to build it. */
export function native(): { addon: Addon; monitor: string } {
  if (loaded !== undefined) return loaded
  const load = requireHere('node-gyp-build') as ((root: string) => Addon) & { resolve(root: string): string }
  try {
    const file = load.resolve(packageRoot)
    loaded = { addon: requireHere(file) as Addon, monitor: path.join(path.dirname(file), 'caisson-monitor') }
    return loaded
  } catch (cause) {
    throw new ContainerError('ERR_NATIVE_MISSING', `Cannot load the native addon: ${(cause as Error).message}`, {
      hint: 'no prebuilt addon fits this machine; build it with `npm explore caisson -- npx node-gyp rebuild` (needs g++, make, python3 and libseccomp-dev)',
      cause,
    })
  }
}

/** What was being done, for the message of a failure. */
export interface Action {
  /** "start", "attach to" */
  readonly verb: string
  readonly container?: string | undefined
}

/** `Cannot start container "web": idmap.write failed: write /proc/4711/uid_map: EPERM, operation not permitted`. */
export function toError(failure: Failure, action: Action, cleanup: readonly Failure[] = []): ContainerError {
  const [name, text] = failure.number === 0 ? ['', ''] : errnoName(failure.number)
  const call = [failure.call, failure.path].filter(part => part !== '').join(' ')
  const words = failure.number === 0 ? failure.detail : `${call}: ${name}, ${text}`
  const aside = failure.number !== 0 && failure.detail !== '' ? ` (${failure.detail})` : ''
  const about = failure.number === 0 && failure.path !== '' ? `: ${failure.path}` : ''
  const subject = action.container === undefined ? '' : ` container ${JSON.stringify(action.container)}`
  const step = failure.step === '' ? '' : `${failure.step} failed: `
  const { code, hint } = hintFor(failure, name)
  return new ContainerError(code, `Cannot ${action.verb}${subject}: ${step}${words}${aside}${about}`, {
    errno: failure.number === 0 ? undefined : -failure.number,
    syscall: failure.call || undefined,
    path: failure.path || undefined,
    step: failure.step || undefined,
    container: action.container,
    hint,
    cleanup: cleanup.length === 0 ? undefined : cleanup.map(one => toError(one, { ...action, verb: 'clean up after' })),
  })
}

/** A child process of this one. */
export interface Child {
  readonly pid: number
  /** The receiver's to close. */
  readonly pidfd: number
}

/** What {@link spawnProgram} starts. */
export interface Spawn {
  /** Its path, or a descriptor of it. */
  readonly program: string | number
  /** The first one is its name. */
  readonly args: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly directory?: string | undefined
  /** Its 0, 1, 2, 3 …; they stay the caller's, and may be closed at once. */
  readonly descriptors: readonly number[]
}

/**
 * Starts a program without a fork of Node, and without keeping its event loop (addon/binding/child.cc). Resolves when it has been
 * exec'ed; the failure is that of the system call.
 */
export function spawnProgram(
  { program, args, environment, directory = '', descriptors }: Spawn,
  action: Action,
): Promise<Child> {
  const settings = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const odd = [...args, ...settings, directory].find(text => text.includes('\0'))
  if (odd !== undefined) {
    const message = `Cannot ${action.verb}: ${JSON.stringify(odd)} has a null byte`
    return Promise.reject(new ContainerError('ERR_INVALID_OPTION', message))
  }
  return new Promise((resolve, reject) => {
    const failed = native().addon.spawnProgram(program, args, settings, directory, descriptors, (pid, pidfd) => {
      if (typeof pid === 'number') resolve({ pid, pidfd })
      else reject(toError(pid.failure, action))
    })
    if (failed !== undefined) reject(toError(failed.failure, action))
  })
}

/** Resolves when the process has ended, which reaps it; the descriptor stays the caller's. `hold` keeps the event loop alive meanwhile. */
export function endOfProcess(pidfd: number, hold: boolean): Promise<ProcessEnd> {
  return new Promise((resolve, reject) => {
    const failed = native().addon.watchProcess(pidfd, resolve, hold)
    if (failed !== undefined) reject(toError(failed.failure, { verb: 'wait for a process' }))
  })
}

/** What each verb of the monitor is told. */
interface Told {
  start: StartSpec
  adopt: StartSpec
  attach: AttachSpec
  inside: InsideSpec
  link: LinkRequest
}

/** How long a process that forks monitors is kept for the next one: addon/binding/nursery.cc. */
const NURSERY_MS = 2_000
let nurseryEnd: NodeJS.Timeout | undefined

/** Starts a monitor with what it is told and its descriptors, which stay the caller's. */
export function launchMonitor<V extends keyof Told>(
  verb: V,
  spec: Told[V],
  descriptors: number[],
  listener: ReportListener,
  action: Action,
): NativeChannel {
  const { addon, monitor } = native()
  const channel = check(addon.launch(verb, spec, descriptors, listener, monitor), action)
  nurseryEnd ??= setTimeout(() => addon.closeNursery(), NURSERY_MS).unref()
  nurseryEnd.refresh()
  return channel
}

/** The result of a native call, or its failure thrown. */
export function check<T>(result: T | Failed, action: Action): T {
  if (typeof result === 'object' && result !== null && 'failure' in result) throw toError(result.failure, action)
  return result as T
}
