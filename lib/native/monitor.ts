/** A running monitor, seen from Node: requests as promises, reports as events. */
import { EventEmitter } from 'node:events'
import { ContainerError } from '../errors.ts'
import { type Action, endOfProcess, launchMonitor, type NativeChannel, native, toError } from './binding.ts'
import type { Report, Request, StartSpec } from './spec.ts'

export type Verb = Request['verb']

/** An answer and the descriptors that came with it; they are the receiver's to close. */
export interface Answer {
  readonly report: Report
  readonly descriptors: readonly number[]
}

interface Waiting {
  resolve(answer: Answer): void
  reject(error: unknown): void
  readonly action: Action
}

interface MonitorEvents {
  state: [report: Report]
  exited: [report: Report]
  /** There is one more seccomp listener than when they were asked for. */
  listener: [report: Report]
  /** The connection has ended. */
  closed: []
}

/** Does what a monitor asks its launcher for; a rejection is the failure of the step. */
export type Answerer = (report: Report) => Promise<void>

/** One connection to a monitor. It keeps the event loop alive only while an answer is awaited. */
export class Monitor extends EventEmitter<MonitorEvents> {
  #channel: NativeChannel | undefined
  #next = 1
  readonly #waiting = new Map<number, Waiting>()
  #launch: Waiting | undefined
  #held = 0
  #answerer: Answerer | undefined
  /** The last thing that an `exited` report said; it may come before anybody listens. */
  ended: Report | undefined
  /** Made ahead, it could not be made. */
  failed = false

  /** Connects to the command socket of a run directory. Undefined when nobody listens there. */
  static connect(socket: string, action: Action): Monitor | undefined {
    const monitor = new Monitor()
    const channel = native().addon.connectChannel(socket, (report, fds) => monitor.#hear(report, fds))
    if ('failure' in channel) {
      const { number } = channel.failure
      if (number === 2 || number === 111) return undefined // ENOENT, ECONNREFUSED
      throw toError(channel.failure, action)
    }
    monitor.#channel = channel
    return monitor
  }

  /** Starts a monitor; resolves when the program has been exec'ed. */
  static async launch<V extends 'start' | 'adopt' | 'attach' | 'inside'>(
    verb: V,
    spec: Parameters<typeof launchMonitor<V>>[1],
    descriptors: number[],
    action: Action,
    answerer?: Answerer,
  ): Promise<{ monitor: Monitor; answer: Answer }> {
    const monitor = new Monitor()
    monitor.#answerer = answerer
    const started = new Promise<Answer>((resolve, reject) => {
      monitor.#launch = { resolve, reject, action }
    })
    const listener = (report: Report | null, fds: number[]) => monitor.#hear(report, fds)
    monitor.#channel = launchMonitor(verb, spec, descriptors, listener, action)
    monitor.#channel.ref()
    return { monitor, answer: await started }
  }

  /** Starts a monitor with the part of a Spec that is made ahead. It does not keep the event loop alive. */
  static ahead(spec: StartSpec, action: Action): Monitor {
    const monitor = new Monitor()
    const listener = (report: Report | null, fds: number[]) => monitor.#hear(report, fds)
    monitor.#channel = launchMonitor('start', spec, [], listener, action)
    return monitor
  }

  /** Gives such a one the whole Spec; resolves when the program has been exec'ed. */
  deliver(spec: StartSpec, descriptors: readonly number[], action: Action): Promise<Answer> {
    const channel = this.#channel
    const failed = channel === undefined ? undefined : channel.deliver(spec, descriptors)
    if (channel === undefined || failed !== undefined) return Promise.reject(lost(action))
    return new Promise((resolve, reject) => {
      this.#launch = { resolve, reject, action }
      channel.ref()
    })
  }

  /** Nothing will come: it undoes what it has made, and ends. */
  dismiss(): void {
    this.#channel?.dismiss()
  }

  /** Sends a request; resolves with the answer, rejects with its failure. */
  request(verb: Verb, action: Action, options: { number?: number; timeoutMs?: number } = {}): Promise<Answer> {
    const channel = this.#channel
    if (channel === undefined) return Promise.reject(lost(action))
    const id = this.#next++
    return new Promise((resolve, reject) => {
      const failed = channel.send({ id, verb, number: options.number ?? 0, timeoutMs: options.timeoutMs ?? -1 })
      // EPIPE, ECONNRESET: the monitor ended between the connect and this.
      if (failed !== undefined)
        return reject([32, 104].includes(failed.failure.number) ? lost(action) : toError(failed.failure, action))
      this.#waiting.set(id, { resolve, reject, action })
      channel.ref()
    })
  }

  get open(): boolean {
    return this.#channel !== undefined
  }

  /** Whether it is there and has said nothing that was not heard yet. */
  get quiet(): boolean {
    return this.#channel?.isQuiet() ?? false
  }

  close(): void {
    this.#channel?.close()
    this.#shut()
  }

  /** Keeps the event loop alive until the same is called with false; calls are counted. */
  hold(held: boolean): void {
    this.#held += held ? 1 : -1
    this.#rest()
  }

  /** Lets the event loop end when nobody waits for anything. */
  #rest(): void {
    if (this.#held > 0 || this.#waiting.size > 0 || this.#launch !== undefined) this.#channel?.ref()
    else this.#channel?.unref()
  }

  #hear(report: Report | null, descriptors: number[]): void {
    if (report === null) this.#shut()
    else if (report.kind === 'state' || report.kind === 'listener') this.emit(report.kind, report)
    else if (report.kind === 'exited') {
      this.ended = report
      this.emit('exited', report)
    } else if (report.kind === 'ask') void this.#answer(report)
    else this.#settle(report, descriptors)
  }

  async #answer(report: Report): Promise<void> {
    this.hold(true)
    const failed = await (this.#answerer?.(report) ?? Promise.reject(new Error('nobody answers'))).then(
      () => false,
      () => true,
    )
    this.#channel?.send({ id: report.id, verb: 'answered', number: failed ? 1 : 0, timeoutMs: -1 })
    this.hold(false)
  }

  #settle(report: Report, descriptors: readonly number[]): void {
    const waiting = report.kind === 'reply' ? this.#waiting.get(report.id) : this.#launch
    if (report.kind === 'reply') this.#waiting.delete(report.id)
    else this.#launch = undefined
    this.#rest()
    const { addon } = native()
    if (waiting === undefined && report.kind === 'failed') this.failed = true
    if (waiting === undefined) addon.closeDescriptors(descriptors)
    else if (report.error === undefined) waiting.resolve({ report, descriptors })
    else {
      // What a failed attach leaves is our child: it is reaped, and then forgotten.
      for (const pidfd of descriptors) {
        const close = () => addon.closeDescriptors([pidfd])
        endOfProcess(pidfd, false).then(close, close)
      }
      waiting.reject(toError(report.error, waiting.action, report.cleanup))
    }
  }

  #shut(): void {
    if (this.#channel === undefined) return
    this.#channel = undefined
    const waiting = [...this.#waiting.values(), ...(this.#launch === undefined ? [] : [this.#launch])]
    this.#waiting.clear()
    this.#launch = undefined
    for (const { reject, action } of waiting) reject(lost(action))
    this.emit('closed')
  }
}

function lost(action: Action): ContainerError {
  const subject = action.container === undefined ? '' : ` container ${JSON.stringify(action.container)}`
  return new ContainerError('ERR_MONITOR_LOST', `Cannot ${action.verb}${subject}: its monitor has ended`, {
    container: action.container,
    hint: 'the monitor was killed or the container ended meanwhile; `recover()` cleans up what it left',
  })
}
