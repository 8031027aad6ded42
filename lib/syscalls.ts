/**
 * System calls of a container that are answered in this process: of its init and all that it starts, and of each attached program, whose
 * filter has a listener of its own. The monitor keeps the listeners, so this process may end and another one go on.
 */
import { fstatSync } from 'node:fs'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { ContainerError } from './errors.ts'
import { type State, waitForState } from './events.ts'
import { type Action, native } from './native/binding.ts'
import { openListener } from './native/listener.ts'
import { Monitor } from './native/monitor.ts'
import { answerCalls, type SyscallHandler, type SyscallRequest } from './seccomp/notify.ts'
import type { Place } from './store.ts'

export interface SyscallOptions {
  /** Hears what a handler threw (its call fails with ENOSYS), and why calls are not answered at all; default: a process warning. */
  onError?: (error: unknown, call?: SyscallRequest) => void
}

const RUNNING: readonly State[] = ['STARTING', 'RUNNING', 'STOPPING', 'ABORTING', 'FREEZING', 'FROZEN', 'THAWED']
/** While another process answers, this one asks whether it still does. */
const STANDBY_MS = 100

/** Answers until disposed of: now, or once the container runs, and again after each start. */
export function onSyscall(place: Place, handler: SyscallHandler, options: SyscallOptions = {}): Disposable {
  const onError = options.onError ?? ((error: unknown) => process.emitWarning(error as Error))
  const over = new AbortController()
  const action: Action = { verb: 'answer the system calls of', container: place.name }
  const live = async () => {
    while (!over.signal.aborted) {
      await waitForState(place, RUNNING, { signal: over.signal })
      const monitor = Monitor.connect(path.join(place.runDir, 'socket'), action)
      if (monitor !== undefined) await new Answering(monitor, handler, onError, action).live(over.signal)
    }
  }
  live().catch(error => {
    if (!over.signal.aborted) onError(error)
  })
  return { [Symbol.dispose]: () => over.abort() }
}

/** One run of a container. */
class Answering {
  readonly #monitor: Monitor
  readonly #handler: SyscallHandler
  readonly #onError: (error: unknown, call?: SyscallRequest) => void
  readonly #action: Action
  /** By the inode of the listener's journal, which tells listeners apart. */
  readonly #answered = new Map<number, Disposable>()

  constructor(
    monitor: Monitor,
    handler: SyscallHandler,
    onError: (error: unknown, call?: SyscallRequest) => void,
    action: Action,
  ) {
    this.#monitor = monitor
    this.#handler = handler
    this.#onError = onError
    this.#action = action
  }

  /** Until the monitor ends or the signal fires. */
  async live(signal: AbortSignal): Promise<void> {
    try {
      for (let ended = signal.aborted; !ended; ) {
        const changed = this.#change(signal)
        const { descriptors } = await this.#monitor.request('listener', this.#action)
        const standby = this.#take(descriptors)
        ended = await (standby ? Promise.race([changed, setTimeout(STANDBY_MS, false, { signal })]) : changed)
      }
    } catch (error) {
      const lost = error instanceof ContainerError && error.code === 'ERR_MONITOR_LOST'
      if (!lost && (error as Error).name !== 'AbortError') throw error
    } finally {
      this.#monitor.close()
      for (const answering of this.#answered.values()) answering[Symbol.dispose]()
    }
  }

  /** Resolves with false when there is one more listener, with true when there will be none. */
  #change(signal: AbortSignal): Promise<boolean> {
    return new Promise(resolve => {
      this.#monitor.once('listener', () => resolve(false)).once('closed', () => resolve(true))
      signal.addEventListener('abort', () => resolve(true), { once: true })
    })
  }

  /** Opens the listeners that are not open yet; true when another process has one of them. */
  #take(descriptors: readonly number[]): boolean {
    let standby = false
    for (let i = 0; i + 1 < descriptors.length; i += 2) {
      const pair = [descriptors[i], descriptors[i + 1]] as [number, number]
      const { ino } = fstatSync(pair[1])
      if (this.#answered.has(ino)) native().addon.closeDescriptors(pair)
      else if (!this.#answer(pair, ino)) standby = true
    }
    return standby
  }

  #answer(pair: readonly [listener: number, journal: number], ino: number): boolean {
    try {
      const answering = answerCalls(deliver => openListener(pair, deliver, this.#action), this.#handler, {
        onError: this.#onError,
      })
      this.#answered.set(ino, answering)
      return true
    } catch (error) {
      if (error instanceof ContainerError && error.code === 'ERR_CONTAINER_BUSY') return false
      throw error
    }
  }
}
