/** `sandbox()`: a throw-away container, gone at the end of its scope. Each run in it is a process of its own, with its own result. */
import { resolveAttach } from './attach.ts'
import { Config } from './config/config.ts'
import type { Limits } from './config/limits.ts'
import { ContainerError, refuseUnknown } from './errors.ts'
import { Files } from './files.ts'
import { onTree } from './image_rootfs.ts'
import type { Waiting } from './lock.ts'
import { endOfProcess, native } from './native/binding.ts'
import { Monitor } from './native/monitor.ts'
import { ContainerProcess, type Ending, type Started } from './process.ts'
import { type AttachOptions, checkOptions, checkTimeout, processOptions } from './process_options.ts'
import { begin, Control, facts, GRACE_MS, type Prepared, prepare, SIGKILL } from './run.ts'
import { onHost } from './spec/idmap.ts'
import { sandboxEnvironment } from './spec/sandbox.ts'
import { checkSandbox, SANDBOX_OPTIONS, type SandboxOptions } from './spec/sandbox_options.ts'
import { readStats, type Stats } from './stats.ts'
import { type Wiring, wire } from './stdio.ts'
import { Subgroup } from './subgroup.ts'
import { explainMissing } from './view.ts'

/** How a program runs in a sandbox that stays: limits are its own, below those of the sandbox. */
export type SandboxRunOptions = Omit<AttachOptions, 'namespaces' | 'elevated'> & { limits?: Limits }

const ACTION = { verb: 'run in a sandbox' }

/**
 * Makes a sandbox that stays until it is closed, or this process ends. The options are those of run(); programs are added to it by its
 * own run(). Throws ERR_INVALID_OPTION, ERR_NO_CGROUP, and what a start may fail with.
 */
export async function sandbox(options: SandboxOptions & Waiting = {}): Promise<Sandbox> {
  refuseUnknown(options, [...SANDBOX_OPTIONS, 'timeout', 'signal'], 'a sandbox')
  checkSandbox(options)
  checkTimeout(options.timeout)
  return new Sandbox(options, await start(options))
}

/** What runs. */
interface Inside {
  readonly place: Prepared
  readonly control: Control
  readonly pid: number
  readonly pidfd: number
  readonly ended: Promise<Ending>
}

async function start(options: SandboxOptions & Waiting): Promise<Inside> {
  const { timeout, signal, ...rest } = options
  const place = prepare(await onTree(rest, facts(), signal), {}, undefined)
  const control = new Control()
  const { pid, pidfd, ended } = await begin(place, [], control, { timeout, signal })
  // Nobody may be waiting for it: its end is then seen by the next run.
  ended?.catch(() => undefined)
  return { place, control, pid, pidfd, ended: ended as Promise<Ending> }
}

/** Ends one program of a sandbox with all that it started; by another signal than SIGKILL the program is asked first. */
class Killer {
  readonly #send: (signal: number) => void
  #timer: NodeJS.Timeout | undefined
  pidfd = -1

  constructor(send: (signal: number) => void) {
    this.#send = send
  }

  take(started: Started): Started {
    this.pidfd = started.pidfd
    const over = () => clearTimeout(this.#timer)
    started.ended?.then(over, over)
    return started
  }

  kill(signal: number): void {
    this.#send(signal)
    if (signal !== SIGKILL) this.#timer ??= setTimeout(() => this.#send(SIGKILL), GRACE_MS)
  }
}

export class Sandbox implements AsyncDisposable {
  readonly #options: SandboxOptions
  readonly #inside: Inside
  #runs = 0
  #over = false
  #closing: Promise<void> | undefined
  /** Settles when it is gone. */
  readonly closed: Promise<void>
  /** Its files: `read`, `write`, `push`, `pull`. Writing needs a shell inside. */
  readonly files: Files

  /** Use {@link sandbox}. */
  constructor(options: SandboxOptions, inside: Inside) {
    this.#options = options
    this.#inside = inside
    const over = () => {
      this.#over = true
    }
    this.closed = inside.ended.then(over, over)
    const { uid, gid } = inside.place.spec.process
    this.files = new Files({
      name: inside.place.spec.name,
      config: new Config(),
      owner: { uid, gid },
      initPid: async () => inside.pid,
      attach: (command, attached = {}) => this.run(command, attached),
    })
  }

  /** Of its first process, in this process's pid namespace. */
  get pid(): number {
    return this.#inside.pid
  }

  /** Whether nothing has been run in it. */
  get fresh(): boolean {
    return this.#runs === 0 && !this.#over
  }

  /** Runs a program in it. What the program leaves running is killed when it ends. */
  run(command: readonly string[], options: SandboxRunOptions = {}): ContainerProcess {
    checkOptions(command, options, ['limits'])
    const wiring = wire(options, [-1])
    const { host, hardware } = facts()
    const { spec } = this.#inside.place
    this.#runs++
    const name = `run-${this.#runs}`
    let group: Subgroup | undefined
    const begun = (): Promise<Started> => {
      if (this.#over || this.#closing !== undefined) throw this.#gone()
      group = new Subgroup(spec.cgroup, name, options.limits ?? {}, host.cgroups, hardware)
      return this.#attach(command, options, wiring, group)
    }
    const killer = new Killer(signal => {
      if (signal !== SIGKILL || group?.empty !== false) native().addon.killProcess(killer.pidfd, signal, false)
      else group.kill()
    })
    const started = Promise.resolve()
      .then(begun)
      .then(one => killer.take(one))
      .catch((error: unknown) => Promise.reject(explainMissing(error, command, this.#options.rootfs ?? 'host')))
      .finally(() => wiring.release())
    started.catch(() => group?.remove().catch(() => undefined))
    return new ContainerProcess(
      command,
      { ...processOptions(options, undefined), killAll: signal => killer.kill(signal) },
      wiring.ends,
      started,
    )
  }

  async #attach(
    command: readonly string[],
    { limits: _, ...options }: SandboxRunOptions,
    wiring: Wiring,
    group: Subgroup,
  ): Promise<Started> {
    const { place, pid, pidfd } = this.#inside
    const { spec } = place
    const user = options.user ?? spec.process.uid
    const told = resolveAttach(spec, pid, command, { group: spec.process.gid, ...options, user }, wiring)
    const process = {
      ...told.process,
      environment: sandboxEnvironment(this.#options.environment, options.env),
    }
    wiring.own(onHost(spec.idmap.uids, process.uid), onHost(spec.idmap.gids, process.gid))
    const own = { ...told, cgroup: group.spec, ownCgroup: true, ownPids: group.empty, process }
    const { answer, monitor } = await Monitor.launch('attach', own, wiring.descriptors.with(0, pidfd), ACTION)
    monitor.close()
    const [child, terminal] = answer.descriptors as [number, number | undefined]
    return { pid: answer.report.pid, pidfd: child, terminal, ended: this.#endOf(child, group) }
  }

  async #endOf(pidfd: number, group: Subgroup): Promise<Ending> {
    const ending = await endOfProcess(pidfd, true)
    const counted = this.#over ? undefined : group.count()
    await group.remove()
    return { ...ending, ...counted }
  }

  /** What it uses now, with all its runs. */
  async stats(): Promise<Stats> {
    const { place, pid } = this.#inside
    if (this.#over) throw this.#gone()
    return readStats({ name: place.spec.name, cgroup: place.spec.cgroup }, pid)
  }

  /** Kills everything in it; resolves when nothing of it is left. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#inside.control.kill(SIGKILL)
    await this.#inside.ended.catch(() => undefined)
    native().addon.closeDescriptors([this.#inside.pidfd])
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #gone(): ContainerError {
    return new ContainerError('ERR_CONTAINER_NOT_RUNNING', 'Cannot run in a sandbox: it has been closed', {
      hint: 'make another one: a sandbox ends with its scope, and when its first process is killed',
    })
  }
}
