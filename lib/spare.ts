/**
 * One sandbox ahead of run(): namespaces, ids and cgroups, made while the run before it goes on, and not shared with it. The second of two
 * runs of one kind makes one for the third, and so on; one that is not taken within a while is undone, as it is when this process ends.
 */
import type { Monitor } from './native/monitor.ts'

/** How long it waits, and how long after a run the next one is expected. */
const WAIT_MS = 2_000

/** What a sandbox has of its session. */
export interface Own {
  readonly name: string
  readonly tag: string
  readonly ids: number
}

export class Spare {
  readonly own: Own
  readonly kind: string
  readonly monitor: Monitor
  #taken = false

  /** `release` is called when it has gone without having been taken. */
  constructor(own: Own, kind: string, monitor: Monitor, release: () => void) {
    this.own = own
    this.kind = kind
    this.monitor = monitor
    monitor.once('closed', () => {
      if (!this.#taken) release()
    })
  }

  /** Whether it can still become a sandbox. One that says something unasked has failed or ended. */
  get good(): boolean {
    return !this.#taken && !this.monitor.failed && this.monitor.quiet
  }

  take(): void {
    this.#taken = true
  }
}

export class Spares {
  #spare: Spare | undefined
  #kind = ''
  #at = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  get waiting(): Spare | undefined {
    return this.#spare?.good ? this.#spare : undefined
  }

  /** A run of this kind has begun: `make` is called soon, when another one is to be expected and none waits for it. */
  expect(kind: string, make: () => Spare | undefined): void {
    const now = performance.now()
    const again = kind === this.#kind && now - this.#at < WAIT_MS
    this.#kind = kind
    this.#at = now
    // Not before the run that it follows has been sent on its way.
    if (again) setImmediate(() => this.#fill(kind, make)).unref()
  }

  #fill(kind: string, make: () => Spare | undefined): void {
    if (this.waiting?.kind === kind) return
    this.#dismiss()
    try {
      this.#spare = make()
    } catch {
      // Then the next run makes its own, and says what is wrong.
      return
    }
    this.#timer ??= setTimeout(() => this.#dismiss(), WAIT_MS).unref()
    this.#timer.refresh()
  }

  #dismiss(): void {
    this.waiting?.monitor.dismiss()
    this.#spare = undefined
  }
}
