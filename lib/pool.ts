/**
 * Sandboxes made ahead of time. What is handed out is fresh, and never comes back: a used one is closed, and another made in its place.
 */
import { throwIfAborted } from './abort.ts'
import { ContainerError, refuseUnknown } from './errors.ts'
import type { Waiting } from './lock.ts'
import type { ContainerProcess } from './process.ts'
import { checkTimeout } from './process_options.ts'
import { type Sandbox, type SandboxRunOptions, sandbox } from './sandbox.ts'
import { checkSandbox, SANDBOX_OPTIONS, type SandboxOptions } from './spec/sandbox_options.ts'

export interface PoolOptions extends SandboxOptions {
  /** How many wait, made and unused; default 4. */
  size?: number
  /** How many may be in use at once; more callers wait their turn. Default 64. */
  most?: number
}

interface Waiter {
  readonly give: (box: Sandbox) => void
  readonly fail: (error: unknown) => void
}

/** Warm sandboxes, all alike. */
export class SandboxPool implements AsyncDisposable {
  readonly #options: SandboxOptions
  readonly #size: number
  readonly #most: number
  readonly #ready: Sandbox[] = []
  readonly #used = new Set<Sandbox>()
  readonly #waiters: Waiter[] = []
  #making = 0
  #closed = false
  /** Of the last that could not be made. */
  #failure: unknown
  readonly #makers = new Set<Promise<void>>()

  constructor({ size = 4, most = 64, ...options }: PoolOptions = {}) {
    refuseUnknown(options, [...SANDBOX_OPTIONS, 'size', 'most'], 'a pool of sandboxes')
    checkSandbox(options)
    for (const [name, value] of Object.entries({ size, most })) {
      if (Number.isInteger(value) && value > 0) continue
      throw new ContainerError('ERR_INVALID_OPTION', `Cannot make a pool of sandboxes: ${name} is ${value}`, {
        hint: 'give a whole number from 1 on',
      })
    }
    this.#options = options
    this.#size = size
    this.#most = most
    this.#fill()
  }

  /** How many are ready, in use, and waited for. */
  get counts(): { readonly ready: number; readonly used: number; readonly waiting: number } {
    return { ready: this.#ready.length, used: this.#used.size, waiting: this.#waiters.length }
  }

  /** Resolves when as many as `size` are ready. Throws what making one failed with. */
  async filled(): Promise<void> {
    this.#fill()
    await this.#settled()
    if (!this.#closed && this.#ready.length < this.#size && this.#failure !== undefined) throw this.#failure
  }

  async #settled(): Promise<void> {
    while (this.#makers.size > 0) await Promise.all(this.#makers)
  }

  /**
   * A fresh sandbox: the caller's own, to be closed. Waits while `most` are in use. Throws ERR_ABORTED, ERR_TIMEOUT, and what making a
   * sandbox fails with.
   */
  async acquire(options: Waiting = {}): Promise<Sandbox> {
    if (this.#closed) throw closed()
    refuseUnknown(options, ['timeout', 'signal'], 'taking a sandbox')
    checkTimeout(options.timeout)
    throwIfAborted(options.signal, 'take a sandbox')
    const box = this.#take()
    return box ?? this.#wait(options)
  }

  /** Runs one program in a fresh sandbox, which is closed when the program has ended. */
  async run(command: readonly string[], options: SandboxRunOptions = {}): Promise<Awaited<ContainerProcess>> {
    await using box = await this.acquire(options.signal === undefined ? {} : { signal: options.signal })
    return await box.run(command, options)
  }

  /** Closes all that are ready or being made; those in use are their users'. */
  async close(): Promise<void> {
    this.#closed = true
    for (const { fail } of this.#waiters.splice(0)) fail(closed())
    await this.#settled()
    await Promise.all(this.#ready.splice(0).map(box => box.close()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #take(): Sandbox | undefined {
    if (this.#used.size >= this.#most) return undefined
    let box = this.#ready.shift()
    // One whose first process was killed meanwhile is none; closing it gives back what this process holds of it.
    for (; box !== undefined && !box.fresh; box = this.#ready.shift()) box.close().catch(() => undefined)
    if (box !== undefined) this.#lend(box)
    this.#fill()
    return box
  }

  #lend(box: Sandbox): void {
    this.#used.add(box)
    box.closed.finally(() => {
      this.#used.delete(box)
      this.#serve()
    })
  }

  #serve(): void {
    while (this.#waiters.length > 0) {
      const box = this.#take()
      if (box === undefined) return
      this.#waiters.shift()?.give(box)
    }
  }

  #fill(): void {
    while (!this.#closed && this.#ready.length + this.#making < this.#size) {
      this.#making++
      const maker = this.#make().finally(() => this.#makers.delete(maker))
      this.#makers.add(maker)
    }
  }

  async #make(): Promise<void> {
    try {
      const box = await sandbox(this.#options)
      this.#making--
      this.#failure = undefined
      if (this.#closed) return await box.close()
      this.#ready.push(box)
      this.#serve()
    } catch (error) {
      this.#making--
      this.#failure = error
      // One who waits is told, and tries again or not; for the others another one is made. Nobody waiting, the next acquire() tries again.
      this.#waiters.shift()?.fail(error)
      if (this.#waiters.length > 0) this.#fill()
    }
  }

  #wait({ timeout, signal }: Waiting): Promise<Sandbox> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        const at = this.#waiters.indexOf(waiter)
        if (at >= 0) this.#waiters.splice(at, 1)
      }
      const fail = (error: unknown) => {
        settle()
        reject(error)
      }
      const give = (box: Sandbox) => {
        settle()
        resolve(box)
      }
      const waiter: Waiter = { give, fail }
      const abort = () => fail(new ContainerError('ERR_ABORTED', 'Cannot take a sandbox: aborted'))
      const late = () => fail(new ContainerError('ERR_TIMEOUT', `Cannot take a sandbox: none in ${timeout} ms`))
      const timer = timeout === undefined ? undefined : setTimeout(late, timeout)
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiters.push(waiter)
      this.#fill()
    })
  }
}

function closed(): ContainerError {
  return new ContainerError('ERR_CONTAINER_NOT_RUNNING', 'Cannot take a sandbox: the pool has been closed')
}
