/**
 * What happens to all containers of an lxcpath, those that start later included. The kernel tells of new run directories (inotify) and the
 * monitors of the rest; nothing is polled.
 */
import { existsSync, type FSWatcher, readdirSync, watch } from 'node:fs'
import path from 'node:path'
import { refuseUnknown } from './errors.ts'
import { type ContainerEvent, endedOf } from './events.ts'
import { Monitor } from './native/monitor.ts'
import type { Report } from './native/spec.ts'
import { makeRunDir, placeOf, resolveLxcpath, runRoot, validateName } from './store.ts'

/** An event, and whose it is. */
export type NamedEvent = { readonly container: string } & Extract<ContainerEvent, { type: 'state' | 'exit' }>

/**
 * States and ends of all containers of an lxcpath (default: lxc.lxcpath), as they come, until the signal fires; first the present state of
 * each that runs. A container that has ended is STOPPED. Throws the kernel's reason when the run directories cannot be watched.
 */
export async function* watchContainers(
  options: { path?: string; signal?: AbortSignal } = {},
): AsyncGenerator<NamedEvent> {
  refuseUnknown(options, ['path', 'signal'], 'watchContainers')
  const watcher = new Watcher(resolveLxcpath(options.path))
  const stop = () => watcher.wake()
  options.signal?.addEventListener('abort', stop, { once: true })
  try {
    while (!options.signal?.aborted) {
      const event = await watcher.next()
      if (event !== undefined) yield event
    }
  } finally {
    options.signal?.removeEventListener('abort', stop)
    watcher.close()
  }
}

class Watcher {
  readonly #lxcpath: string
  readonly #base: string
  readonly #queue: NamedEvent[] = []
  readonly #root: FSWatcher
  #runs: FSWatcher | undefined
  /** Those that do not run, whose run directory is watched. */
  readonly #idle = new Map<string, FSWatcher>()
  readonly #monitors = new Map<string, Monitor>()
  #wake: () => void = () => undefined
  #failure: Error | undefined

  constructor(lxcpath: string) {
    this.#lxcpath = lxcpath
    this.#base = path.dirname(placeOf('any', lxcpath).runDir)
    makeRunDir({ ...placeOf('any', lxcpath), runDir: this.#base })
    // The directory of an lxcpath goes with its last container, and comes again.
    this.#root = this.#observe(runRoot(), name => {
      if (name === path.basename(this.#base)) this.#watchRuns()
    })
    this.#watchRuns()
  }

  /** The next event; undefined when somebody called `wake`. */
  async next(): Promise<NamedEvent | undefined> {
    if (this.#queue.length === 0 && this.#failure === undefined)
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    if (this.#failure !== undefined) throw this.#failure
    return this.#queue.shift()
  }

  wake(): void {
    this.#wake()
  }

  close(): void {
    for (const watcher of [this.#root, this.#runs, ...this.#idle.values()]) watcher?.close()
    for (const monitor of this.#monitors.values()) monitor.close()
  }

  #observe(directory: string, hear: (name: string) => void): FSWatcher {
    const watcher = watch(directory, (_, name) => this.#attempt(() => hear(name ?? '')))
    watcher.on('error', error => this.#fail(error))
    return watcher
  }

  /** What fails within a callback fails the iteration; a directory that goes between two looks is told of again, as gone. */
  #attempt(act: () => void): void {
    try {
      act()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#fail(error as Error)
    }
  }

  #fail(error: Error): void {
    this.#failure = error
    this.#wake()
  }

  #watchRuns(): void {
    this.#runs?.close()
    this.#runs = undefined
    if (!existsSync(this.#base)) return
    this.#runs = this.#observe(this.#base, name => this.#consider(name))
    // Those that came before the watch.
    for (const name of readdirSync(this.#base)) this.#consider(name)
  }

  /** Follows the monitor of a container, or waits until there is one. */
  #consider(name: string): void {
    if (this.#monitors.has(name)) return
    const { runDir } = placeOf(name, this.#lxcpath)
    if (!existsSync(runDir)) {
      this.#idle.get(name)?.close()
      this.#idle.delete(name)
      return
    }
    validateName(name)
    if (!this.#idle.has(name))
      this.#idle.set(
        name,
        this.#observe(runDir, () => this.#consider(name)),
      )
    const action = { verb: 'watch', container: name }
    const monitor = Monitor.connect(path.join(runDir, 'socket'), action)
    if (monitor === undefined) return
    this.#monitors.set(name, monitor)
    this.#follow(name, monitor)
    // One that ended before it could answer says so by `closed`.
    monitor.request('subscribe', action).then(
      ({ report }) => this.#push({ container: name, type: 'state', state: report.state, at: new Date() }),
      () => undefined,
    )
  }

  #follow(name: string, monitor: Monitor): void {
    monitor.hold(true)
    monitor.on('state', ({ state }) => this.#push({ container: name, type: 'state', state, at: new Date() }))
    monitor.on('exited', (report: Report) =>
      this.#push({ container: name, type: 'exit', ...endedOf(report), at: new Date(report.exit?.atMs ?? Date.now()) }),
    )
    monitor.on('closed', () => {
      this.#monitors.delete(name)
      this.#push({ container: name, type: 'state', state: 'STOPPED', at: new Date() })
      this.#attempt(() => this.#consider(name))
    })
  }

  #push(event: NamedEvent): void {
    this.#queue.push(event)
    this.#wake()
  }
}
