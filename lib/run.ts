/** `run()`: one program, one sandbox; started, run and gone. */
import { statSync } from 'node:fs'
import { release } from 'node:os'
import { throwIfAborted } from './abort.ts'
import { refuseGroups } from './attach.ts'
import { ContainerError } from './errors.ts'
import { watch } from './events.ts'
import { profileFilter } from './filter.ts'
import { type Hardware, readHardware } from './host/hardware.ts'
import { type Host, readHost } from './host/host.ts'
import { onTree } from './image_rootfs.ts'
import { type Account, findAccount, findGroup, type ReadInside, readBelow } from './inside.ts'
import type { Waiting } from './lock.ts'
import { native } from './native/binding.ts'
import { Monitor } from './native/monitor.ts'
import type { Report, StartSpec } from './native/spec.ts'
import { ContainerProcess, type Ending, type Started, type Usage } from './process.ts'
import { type AttachOptions, checkOptions, processOptions } from './process_options.ts'
import { Session } from './session.ts'
import { type Own, Spare, Spares } from './spare.ts'
import { aheadOf, kindOf } from './spec/ahead.ts'
import {
  resolveSandbox,
  type SandboxProgram,
  type SandboxRequest,
  sandboxEnvironment,
  type View,
} from './spec/sandbox.ts'
import { checkSandbox, type DirectoryOptions, SANDBOX_OPTIONS, type SandboxOptions } from './spec/sandbox_options.ts'
import { type Wiring, wire } from './stdio.ts'
import { explainMissing, readView } from './view.ts'

/** How a program runs in a sandbox of its own. */
export type RunOptions = SandboxOptions & Omit<AttachOptions, 'namespaces' | 'elevated'>

/** What does not change while this process lives, read at the first sandbox. */
interface Facts {
  readonly host: Host
  readonly hardware: Hardware
  readonly session: Session
  readonly view: View
  readonly filter: Uint8Array
  readonly spares: Spares
}

let known: Facts | undefined

export function facts(): Facts {
  if (known !== undefined) return known
  const host = readHost()
  known = {
    host,
    hardware: readHardware(),
    session: new Session(host),
    view: readView(host.root ? 0 : host.uid, host.root ? 0 : host.gid),
    filter: profileFilter('app').program,
    spares: new Spares(),
  }
  return known
}

const [major = 0, minor = 0] = release().split('.').map(Number)
const countsInUserNamespace = major > 5 || (major === 5 && minor >= 14)

const ACTION = { verb: 'run in a sandbox' }

/**
 * Runs a program in a sandbox that exists for it alone. Everything in it is killed when the program ends, when `timeout` has passed, when
 * `signal` fires, and when this process ends, however that happens; nothing of it is left. The program runs under the caller's own ids
 * as numbers, which have no power outside; see docs/sandbox.md for what it sees. Rejects with ERR_EXIT and the result as `cause`.
 */
export function run(command: readonly string[], options: RunOptions = {}): ContainerProcess {
  checkOptions(command, options, SANDBOX_OPTIONS)
  checkSandbox(options)
  const wiring = wire(options)
  const control = new Control()
  const known = { ...processOptions(options, undefined), killAll: (signal: number) => control.kill(signal) }
  return new ContainerProcess(command, known, wiring.ends, launch(command, options, wiring, control))
}

async function launch(
  command: readonly string[],
  options: RunOptions,
  wiring: Wiring,
  control: Control,
): Promise<Started> {
  try {
    throwIfAborted(options.signal, ACTION.verb)
    const place = prepare(await onTree(options, facts(), options.signal), options, {
      command,
      environment: sandboxEnvironment(options.environment, options.env),
      cwd: options.cwd ?? '/',
      terminal: options.tty === true ? { columns: 0, rows: 0 } : options.tty || undefined,
      stdio: wiring.slots,
    })
    const { ownerUid, ownerGid } = place.spec.idmap
    if (ownerUid !== undefined && ownerGid !== undefined) {
      wiring.own(ownerUid + place.spec.process.uid, ownerGid + place.spec.process.gid)
    }
    return await begin(place, wiring.descriptors, control)
  } catch (error) {
    throw explainMissing(error, command, options.rootfs ?? 'host')
  } finally {
    wiring.release()
  }
}

/** A sandbox that is about to be. */
export interface Prepared {
  readonly spec: StartSpec
  /** Where it has been begun. */
  readonly monitor?: Monitor | undefined
  /** Gives back what it holds of the session. */
  release(): void
}

/** Resolves the options and takes what the sandbox needs of the session. */
export function prepare(
  options: DirectoryOptions,
  who: Pick<AttachOptions, 'user' | 'group' | 'groups'>,
  program: SandboxProgram | undefined,
): Prepared {
  const { host, hardware, session, view, filter, spares } = facts()
  const { account, gid } = identify(who, readerOf(options, view), host)
  const request = (own: Pick<SandboxRequest, 'name' | 'tag' | 'ids'>): SandboxRequest => ({
    ...own,
    uid: account.uid,
    gid,
    groups: who.groups ?? [],
    filter: options.seccomp === false ? new Uint8Array() : filter,
    view,
    keeps: program === undefined,
    hardware,
    countsInUserNamespace,
    isDirectory,
  })
  const spare = program === undefined ? undefined : spares.waiting
  if (spare !== undefined) {
    const spec = resolveSandbox(options, host, request(spare.own), program)
    if (kindOf(spec) === spare.kind) {
      spare.take()
      follow(spec)
      return { spec: { ...spec, ahead: true }, monitor: spare.monitor, release: () => session.giveIds(spare.own.ids) }
    }
  }
  const own = newOwn(session)
  const release = () => session.giveIds(own.ids)
  try {
    const spec = resolveSandbox(options, host, request(own), program)
    refuseGroups(spec.idmap, who.groups)
    if (program !== undefined) follow(spec)
    return { spec, release }
  } catch (error) {
    release()
    throw error
  }
}

/** Whether it is one; undefined when it does not exist. */
function isDirectory(path: string): boolean | undefined {
  try {
    return statSync(path).isDirectory()
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    throw new ContainerError(code, `Cannot make a sandbox: ${path} can't be bound: ${message}`, { path, cause: error })
  }
}

function newOwn(session: Session): Pick<SandboxRequest, 'name' | 'tag' | 'ids'> {
  const name = session.name()
  return { name, tag: session.tag(name), ids: session.takeIds() }
}

/** Has a sandbox made for the run after this one. Who can map no ids of its own has nothing that could be made ahead. */
function follow(spec: StartSpec): void {
  const { session, spares } = facts()
  if (spec.idmap.ownerUid === undefined) return
  const kind = kindOf(spec)
  spares.expect(kind, () => {
    const { ids, ...named } = newOwn(session)
    if (ids === undefined) return undefined
    const own: Own = { ...named, ids }
    try {
      const monitor = Monitor.ahead(aheadOf(spec, own), ACTION)
      return new Spare(own, kind, monitor, () => {
        session.giveIds(ids)
        if (!monitor.failed) session.leave()
      })
    } catch (error) {
      session.giveIds(ids)
      throw error
    }
  })
}

function identify(
  { user, group }: Pick<AttachOptions, 'user' | 'group'>,
  read: ReadInside,
  host: Host,
): { account: Account; gid: number } {
  if (user === undefined && group === undefined) {
    return { account: { name: '', uid: host.uid, gid: host.gid, home: '/' }, gid: host.gid }
  }
  const account = findAccount(read, user ?? host.uid)
  return { account, gid: group === undefined ? account.gid : findGroup(read, group) }
}

/** /etc/passwd and /etc/group as the sandbox will show them. */
function readerOf({ rootfs = 'host' }: DirectoryOptions, view: View): ReadInside {
  if (rootfs === 'empty') return () => undefined
  if (rootfs === 'host') return path => view.files.find(({ key }) => `/${key}` === path)?.value
  return path => readBelow(rootfs, path)
}

/** Launches it. What it took is given back when it has ended, or has failed to start. */
export async function begin(
  place: Prepared,
  descriptors: readonly number[],
  control: Control,
  waiting: Waiting = {},
): Promise<Started> {
  try {
    const { monitor, answer } = await (place.monitor === undefined
      ? launchWithin(place.spec, descriptors, waiting)
      : deliver(place.monitor, place.spec, descriptors))
    const [pidfd, terminal] = answer.descriptors as [number, number | undefined]
    control.take(monitor, pidfd)
    const ended = watch(monitor, ACTION, {}, ({ kind }) => kind === 'exited').then(endingOf)
    const over = () => {
      control.end()
      place.release()
    }
    ended.then(over, () => {
      facts().session.leave()
      over()
    })
    return { pid: answer.report.pid, pidfd, terminal, ended }
  } catch (error) {
    if (error instanceof ContainerError && error.code === 'ERR_MONITOR_LOST') facts().session.leave()
    place.release()
    throw error
  }
}

async function deliver(monitor: Monitor, spec: StartSpec, descriptors: readonly number[]) {
  return { monitor, answer: await monitor.deliver(spec, descriptors, ACTION) }
}

async function launchWithin(spec: StartSpec, descriptors: readonly number[], { timeout, signal }: Waiting) {
  const launched = Monitor.launch('start', spec, [...descriptors], ACTION)
  if (timeout === undefined && signal === undefined) return launched
  const late = timeout === undefined ? [] : [AbortSignal.timeout(timeout)]
  const limit = AbortSignal.any([...late, ...(signal === undefined ? [] : [signal])])
  const stopped = new Promise<never>((_, reject) => {
    const stop = () =>
      reject(new ContainerError(signal?.aborted ? 'ERR_ABORTED' : 'ERR_TIMEOUT', 'Cannot make a sandbox: not in time'))
    if (limit.aborted) stop()
    limit.addEventListener('abort', stop, { once: true })
  })
  // A moment too late: it ends with its channel.
  stopped.catch(() => launched.then(({ monitor }) => monitor.close()).catch(() => undefined))
  return Promise.race([launched, stopped])
}

function endingOf({ exit }: Report): Ending {
  const usage: Usage | undefined =
    exit?.cpuUsec === undefined || exit.memoryPeak === undefined
      ? undefined
      : {
          cpuUsec: Number(exit.cpuUsec),
          memoryPeak: Number(exit.memoryPeak),
          ...(exit.pidsPeak === undefined ? {} : { pidsPeak: Number(exit.pidsPeak) }),
        }
  return {
    code: exit?.code ?? null,
    signal: exit?.signal ?? null,
    oomKilled: exit?.oomKilled ?? false,
    pidsLimitHit: exit?.pidsLimitHit ?? false,
    ...(usage === undefined ? {} : { usage }),
  }
}

/** How long a program that was asked to end by another signal than SIGKILL may take. */
export const GRACE_MS = 5_000
export const SIGKILL = 9

/** The way to end a sandbox: through its monitor, which kills the cgroup and the pid namespace, frozen processes too. */
export class Control {
  #monitor: Monitor | undefined
  #pidfd = -1
  #timer: NodeJS.Timeout | undefined

  take(monitor: Monitor, pidfd: number): void {
    this.#monitor = monitor
    this.#pidfd = pidfd
  }

  kill(signal: number): void {
    if (this.#monitor === undefined) return
    if (signal === SIGKILL) {
      // The monitor has ended when it can't be told: then its container has, too.
      this.#monitor.request('kill', ACTION).catch(() => undefined)
      return
    }
    native().addon.killProcess(this.#pidfd, signal, false)
    this.#timer ??= setTimeout(() => this.kill(SIGKILL), GRACE_MS)
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#monitor?.close()
    this.#monitor = undefined
  }
}
