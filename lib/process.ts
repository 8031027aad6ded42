/** A running program inside: a handle, a promise of its result, and an async iterable of its lines. */
import { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import { type Duplex, pipeline, type Readable, type Writable } from 'node:stream'
import { signalName } from './config/signal.ts'
import { ContainerError } from './errors.ts'
import { check, endOfProcess, native } from './native/binding.ts'
import { type ProcessOptions, signalNumber } from './process_options.ts'
import { Terminal } from './terminal.ts'

/** How a program ended and what it wrote. */
export interface ExecResult {
  readonly command: readonly string[]
  /** Null when a signal ended it. */
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  /** All that it wrote, decoded as UTF-8; empty where the output was not a pipe. */
  readonly stdout: string
  readonly stderr: string
  readonly timedOut: boolean
  readonly aborted: boolean
  readonly oomKilled: boolean
  /** It wanted more processes than its limit allows. */
  readonly pidsLimitHit: boolean
  /** It wrote more than `maxBuffer`, and was killed. */
  readonly outputLimitHit: boolean
  readonly durationMs: number
  /** What the run used, where it had a cgroup of its own. */
  readonly usage?: Usage
}

/** Microseconds, bytes, processes; what the kernel has no counter for is absent. */
export interface Usage {
  cpuUsec: number
  memoryPeak: number
  pidsPeak?: number
}

/** What the native side gives once the program runs. */
export interface Started {
  readonly pid: number
  readonly pidfd: number
  /** The outer end of its terminal. */
  readonly terminal?: number | undefined
  /** When the program itself is known to others: a monitor tells how it ended. */
  readonly ended?: Promise<Ending>
}

export interface Ending {
  readonly code: number | null
  readonly signal: number | null
  readonly oomKilled?: boolean
  readonly pidsLimitHit?: boolean
  readonly usage?: Usage
}

/** Our ends of the pipes, made before the program. */
export interface Ends {
  readonly stdin: number | undefined
  readonly stdout: number | undefined
  readonly stderr: number | undefined
}

// biome-ignore lint/suspicious/noExplicitAny: as a promise has it, so that a handler may say what it expects
type Reason = any

interface ProcessEvents {
  spawn: []
  exit: [code: number | null, signal: NodeJS.Signals | null]
}

/**
 * Awaiting it waits for the end: the promise rejects when the program could not be started, and (unless `reject` is false) when it ended
 * otherwise than with exit code 0. Iterating gives the lines of its output.
 */
export class ContainerProcess
  extends EventEmitter<ProcessEvents>
  implements Promise<ExecResult>, AsyncIterable<string>, AsyncDisposable
{
  readonly #command: readonly string[]
  readonly #options: ProcessOptions
  readonly #begun = performance.now()
  readonly #result: Promise<ExecResult>
  #out = new Collector()
  readonly #err = new Collector()
  #started: Started | undefined
  #gone = false
  #killed = false
  /** Signals for a program that is not known to run yet. */
  readonly #early: number[] = []
  #inputFailure: Error | undefined
  #why: 'timedOut' | 'aborted' | 'flooded' | undefined
  readonly stdin: Writable | null
  readonly stdout: Readable | null
  readonly stderr: Readable | null
  terminal: (Duplex & { resize(columns: number, rows: number): void }) | null = null

  constructor(command: readonly string[], options: ProcessOptions, ends: Ends, start: Promise<Started>) {
    super()
    this.#command = command
    this.#options = options
    this.stdin = ends.stdin === undefined ? null : new Socket({ fd: ends.stdin, readable: false, writable: true })
    this.stdout = ends.stdout === undefined ? null : new Socket({ fd: ends.stdout, readable: true, writable: false })
    this.stderr = ends.stderr === undefined ? null : new Socket({ fd: ends.stderr, readable: true, writable: false })
    this.#collect(this.stdout, this.#out)
    this.#collect(this.stderr, this.#err)
    this.#feed()
    this.#result = this.#run(start)
    // A failure is for whoever awaits it; a handle that nobody awaits must not end the Node process.
    this.#result.catch(() => undefined)
  }

  /** In this process's pid namespace; 0 until it runs. */
  get pid(): number {
    return this.#started?.pid ?? 0
  }

  /** By pidfd: never hits a recycled pid. False when it has gone; what is sent before it runs reaches it as soon as it does. */
  kill(signal: NodeJS.Signals | number = 'SIGTERM'): boolean {
    const number = signalNumber(signal)
    if (this.#gone) return false
    if (this.#started !== undefined) return send(this.#started, number)
    this.#early.push(number)
    return true
  }

  // biome-ignore lint/suspicious/noThenProperty: a process is awaited like its result
  then<A = ExecResult, B = never>(
    fulfilled?: ((result: ExecResult) => A | PromiseLike<A>) | null,
    rejected?: ((reason: Reason) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(fulfilled, rejected)
  }

  catch<B = never>(rejected?: ((reason: Reason) => B | PromiseLike<B>) | null): Promise<ExecResult | B> {
    return this.#result.catch(rejected)
  }

  finally(act?: (() => void) | null): Promise<ExecResult> {
    return this.#result.finally(act)
  }

  readonly [Symbol.toStringTag] = 'ContainerProcess'

  /**
   * The lines of its output, without their ends, as they come; ends with the program, and throws what awaiting it throws. Who leaves the
   * loop leaves the program running: kill() it, or declare it with `await using`.
   */
  async *[Symbol.asyncIterator](): AsyncIterator<string> {
    let rest = ''
    const source = this.stdout ?? this.terminal
    if (source !== null) {
      const decoder = new TextDecoder()
      try {
        for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
          const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
          rest = lines.pop() as string
          yield* lines
        }
      } finally {
        // Who has left the loop has seen enough; the program goes on, and what it still writes is kept for its result.
        source.resume()
      }
    }
    if (rest !== '') yield rest
    await this.#result
  }

  /** Kills it, and waits until it has gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#gone) this.#kill('aborted')
    await this.#result.catch(() => undefined)
  }

  async #run(start: Promise<Started>): Promise<ExecResult> {
    const started = await start.catch(error => {
      this.#gone = true
      for (const stream of [this.stdin, this.stdout, this.stderr]) stream?.destroy()
      throw error
    })
    this.#started = started
    if (started.terminal !== undefined) this.#openTerminal(started.terminal, started.pidfd)
    this.emit('spawn')
    const release = this.#guard()
    try {
      for (const signal of this.#early) send(started, signal)
      return this.#judge(await this.#wait(started))
    } finally {
      release()
    }
  }

  async #wait(started: Started): Promise<Ending> {
    const { addon } = native()
    try {
      const ending: Ending = await (started.ended ?? endOfProcess(started.pidfd, true))
      this.#gone = true
      await Promise.all([this.#out.done, this.#err.done])
      return ending
    } finally {
      this.#gone = true
      this.stdin?.destroy()
      addon.closeDescriptors([started.pidfd])
    }
  }

  #judge(ending: Ending): ExecResult {
    const result: ExecResult = {
      command: this.#command,
      exitCode: ending.code,
      signal: ending.signal === null ? null : signalName(ending.signal),
      stdout: this.#out.text(),
      stderr: this.#err.text(),
      timedOut: this.#why === 'timedOut',
      aborted: this.#why === 'aborted',
      oomKilled: ending.oomKilled ?? false,
      pidsLimitHit: ending.pidsLimitHit ?? false,
      outputLimitHit: this.#why === 'flooded',
      durationMs: performance.now() - this.#begun,
      ...(ending.usage === undefined ? {} : { usage: ending.usage }),
    }
    this.emit('exit', result.exitCode, result.signal)
    if (this.#options.reject && (result.exitCode !== 0 || this.#why !== undefined)) throw this.#failure(result)
    return result
  }

  #failure(result: ExecResult): ContainerError {
    const what = `Cannot finish ${JSON.stringify(this.#command.join(' '))}`
    const last = result.stderr.trimEnd().split('\n').at(-1) ?? ''
    const details = { cause: result, container: this.#options.container }
    if (this.#inputFailure !== undefined)
      return new ContainerError('ERR_ABORTED', `${what}: its input failed: ${this.#inputFailure.message}`, details)
    if (this.#why === 'timedOut')
      return new ContainerError('ERR_TIMEOUT', `${what}: it ran longer than ${this.#options.timeout} ms`, details)
    if (this.#why === 'aborted') return new ContainerError('ERR_ABORTED', `${what}: aborted`, details)
    if (this.#why === 'flooded')
      return new ContainerError(
        'ERR_MAX_BUFFER',
        `${what}: it wrote more than ${this.#options.maxBuffer} bytes`,
        details,
      )
    const end =
      result.signal === null
        ? `exit code ${result.exitCode}`
        : `killed by ${result.signal}${result.oomKilled ? ', out of memory' : ''}`
    return new ContainerError('ERR_EXIT', `${what}: ${end}${last === '' ? '' : `: ${last}`}`, details)
  }

  /** Watches the clock and the signal while the program runs. */
  #guard(): () => void {
    const { timeout, signal } = this.#options
    const timer = timeout === undefined ? undefined : setTimeout(() => this.#kill('timedOut'), timeout)
    const abort = () => this.#kill('aborted')
    // Output comes as soon as the program runs, which may be before we are told that it does.
    if (this.#why !== undefined) this.#kill(this.#why)
    if (signal?.aborted) abort()
    else signal?.addEventListener('abort', abort, { once: true })
    return () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }

  #kill(why: 'timedOut' | 'aborted' | 'flooded'): void {
    this.#why ??= why
    if (this.#started === undefined || this.#gone || this.#killed) return
    this.#killed = true
    const { killSignal, killAll } = this.#options
    if (killAll !== undefined) killAll(signalNumber(killSignal))
    else native().addon.killProcess(this.#started.pidfd, signalNumber(killSignal), true)
  }

  #collect(stream: Readable | null, into: Collector): void {
    if (stream === null) {
      into.end()
      return
    }
    if (this.#options.keepOutput)
      stream.on('data', (chunk: Buffer) => {
        if (!into.take(chunk, this.#options.maxBuffer)) this.#kill('flooded')
      })
    stream.once('close', () => into.end())
    // A reader's error (ECONNRESET) is the end of the output; how the program ended is what is reported.
    stream.on('error', () => into.end())
  }

  #feed(): void {
    const { input } = this.#options
    // EPIPE says only that the program did not want all of it; its exit code tells whether that matters.
    this.stdin?.on('error', () => undefined)
    if (input === undefined || this.stdin === null) return
    if (typeof input === 'string' || input instanceof Uint8Array) this.stdin.end(input)
    // It is closed when the program wants no more; when it fails itself, the program would wait for the rest for ever.
    else
      pipeline(input, this.stdin, error => {
        const early = ['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes(error?.code ?? '')
        if (!error || early || this.#gone) return
        this.#inputFailure = error
        this.#kill('aborted')
      })
  }

  #openTerminal(descriptor: number, pidfd: number): void {
    const terminal = Terminal.open(descriptor, pidfd)
    this.terminal = terminal
    this.#out = new Collector()
    this.#collect(terminal, this.#out)
  }
}

function send({ pidfd }: Started, signal: number): boolean {
  return check(native().addon.killProcess(pidfd, signal, false), { verb: 'send a signal' })
}

/** Output as it comes, up to a limit. */
class Collector {
  readonly #chunks: Buffer[] = []
  #size = 0
  #end: () => void = () => undefined
  readonly done = new Promise<void>(resolve => {
    this.#end = resolve
  })

  /** False once there is more than `most`. */
  take(chunk: Buffer, most: number): boolean {
    this.#size += chunk.length
    if (this.#size <= most) this.#chunks.push(chunk)
    return this.#size <= most
  }
  end(): void {
    this.#end()
  }
  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8')
  }
}
