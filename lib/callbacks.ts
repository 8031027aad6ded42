/**
 * Hooks that are functions: called in the process that starts the container, at the points of its life that programs of lxc.hook.* have, and
 * before these. The monitor waits meanwhile; a function that throws is the failure of the point.
 */
import { HOOKS, type HookName } from './config/options.ts'
import { ContainerError, nearest } from './errors.ts'
import type { Report, StartSpec } from './native/spec.ts'
import type { Place } from './store.ts'

/** What a hook is told. */
export interface HookEvent {
  readonly type: HookName
  /** Of the container; of `clone` the new one's. */
  readonly name: string
  readonly lxcpath: string
  /** Its init: from `pre-mount` to `start` a process that has yet to become it; else null. */
  readonly pid: number | null
}

/**
 * It may take a minute. It must not wait for what the container's monitor answers (`state()`, `attach()`, `stop()` …): that one waits for
 * it.
 */
export type HookCallback = (event: HookEvent) => unknown

export type Hooks = Partial<Record<HookName, readonly (string | HookCallback)[]>>

type Point = StartSpec['callbacks'][number]

/** The functions of one container, as this process knows them. */
export class Callbacks {
  readonly #all = new Map<HookName, HookCallback[]>()
  /** What the last function to fail has thrown, for the error of the start. */
  #thrown: { readonly type: HookName; readonly error: unknown } | undefined

  add(type: HookName, callback: HookCallback): Disposable {
    if (!HOOKS.includes(type)) {
      const near = nearest(String(type), HOOKS)
      throw new ContainerError('ERR_INVALID_OPTION', `Cannot use ${JSON.stringify(type)}: it is no hook`, {
        hint: near === undefined ? `hooks are ${HOOKS.join(', ')}` : `did you mean "${near}"?`,
      })
    }
    if (typeof callback !== 'function') {
      throw new ContainerError('ERR_INVALID_OPTION', `Cannot use ${typeof callback} as hook "${type}": not a function`)
    }
    const list = this.#all.get(type) ?? []
    this.#all.set(type, [...list, callback])
    return {
      [Symbol.dispose]: () => {
        const now = this.#all.get(type) ?? []
        this.#all.set(type, now.toSpliced(now.lastIndexOf(callback), 1))
      },
    }
  }

  /** Takes the functions out of the hooks of an option, and leaves the command lines. */
  take(hooks: Hooks): Partial<Record<HookName, readonly string[]>> {
    const lines: Partial<Record<HookName, readonly string[]>> = {}
    for (const [type, all] of Object.entries(hooks) as [HookName, readonly (string | HookCallback)[]][]) {
      for (const one of all) if (typeof one !== 'string') this.add(type, one)
      lines[type] = all.filter(one => typeof one === 'string')
    }
    return lines
  }

  /** Where the monitor has to ask. */
  get points(): Point[] {
    return [...this.#all].flatMap(([type, list]) =>
      list.length === 0 || type === 'clone' || type === 'destroy' ? [] : [type],
    )
  }

  /** Calls the functions of a point in order; the first that throws ends it. */
  async call(type: HookName, place: Pick<Place, 'name' | 'lxcpath'>, pid: number | null): Promise<void> {
    for (const callback of this.#all.get(type) ?? []) {
      try {
        await callback({ type, name: place.name, lxcpath: place.lxcpath, pid })
      } catch (error) {
        this.#thrown = { type, error }
        throw error
      }
    }
  }

  /** Does what the monitor asks for: a report of kind `ask`. */
  async answer(report: Report, place: Place): Promise<void> {
    const type = report.step.replace(/^hook\./, '') as HookName
    try {
      await this.call(type, place, report.pid || null)
    } catch (error) {
      // Nobody waits for the end of what has ended by itself.
      if (type === 'stop' || type === 'post-stop') process.emitWarning(failure(place, `hook.${type}`, error))
      throw error
    }
  }

  /** Calls those of `destroy`, after which nothing is removed that one of them wants to keep. */
  async runDestroy(place: Place): Promise<void> {
    await this.call('destroy', place, null).catch(error => {
      throw failure(place, 'hook.destroy', error)
    })
  }

  /** The error of a start, with what the function has thrown. */
  explain(error: unknown, place: Place): unknown {
    if (!(error instanceof ContainerError) || error.code !== 'ERR_HOOK' || this.#thrown === undefined) return error
    return failure(place, error.step ?? `hook.${this.#thrown.type}`, this.#thrown.error, error.cleanup)
  }
}

function failure(place: Place, step: string, cause: unknown, cleanup?: readonly unknown[]): ContainerError {
  const said = cause instanceof Error ? cause.message : String(cause)
  const message = `Hook of container ${JSON.stringify(place.name)}: ${step} failed: its callback threw: ${said}`
  return new ContainerError('ERR_HOOK', message, { container: place.name, step, cause, cleanup })
}
