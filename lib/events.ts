/** What happens to a container, from its monitor: as promises and as an async iterable. */
import { once } from 'node:events'
import { watch as watchDirectory } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { reach } from './adopt.ts'
import { signalName } from './config/signal.ts'
import { ContainerError, type ErrorCode } from './errors.ts'
import type { Waiting } from './lock.ts'
import type { Action } from './native/binding.ts'
import { Monitor } from './native/monitor.ts'
import type { Report } from './native/spec.ts'
import type { CgroupNotice } from './notices.ts'
import { makeRunDir, type Place } from './store.ts'

export type State = Report['state']

/** How a container's init ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly oomKilled: boolean
}

export type ContainerEvent =
  | { type: 'state'; state: State; at: Date }
  | { type: 'exit'; code: number | null; signal: NodeJS.Signals | null; oomKilled: boolean; at: Date }
  | CgroupNotice

export function endedOf({ exit }: Report): Ended {
  return {
    code: exit?.code ?? null,
    signal: exit?.signal === undefined ? null : signalName(exit.signal),
    oomKilled: exit?.oomKilled ?? false,
  }
}

function subjectOf({ verb, container }: Action): string {
  return `Cannot ${verb}${container === undefined ? '' : ` container "${container}"`}`
}

/** The first report that fits; rejects when the monitor ends without it, when the time is over or the signal fires. */
export function watch(
  monitor: Monitor,
  action: Action,
  { timeout, signal }: Waiting,
  fits: (report: Report) => boolean,
): Promise<Report> {
  const fail = (code: ErrorCode, state: string, cause?: unknown) =>
    new ContainerError(code, `${subjectOf(action)}: ${state}`, {
      container: action.container,
      cause,
    })
  let settle: (outcome: Report | ContainerError) => void = () => undefined
  const look = (report: Report) => void (fits(report) && settle(report))
  const lost = () => settle(fail('ERR_MONITOR_LOST', 'its monitor has ended'))
  const abort = () => settle(fail('ERR_ABORTED', 'aborted', signal?.reason))
  const late = () => settle(fail('ERR_TIMEOUT', `it took longer than ${timeout} ms`))
  const timer = timeout === undefined ? undefined : setTimeout(late, timeout)
  const found = new Promise<Report>((resolve, reject) => {
    settle = outcome => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      monitor.off('state', look).off('exited', look).off('closed', lost)
      monitor.hold(false)
      settle = () => undefined
      if (outcome instanceof ContainerError) reject(outcome)
      else resolve(outcome)
    }
  })
  monitor.on('state', look).on('exited', look).on('closed', lost)
  monitor.hold(true)
  signal?.addEventListener('abort', abort, { once: true })
  if (monitor.ended !== undefined) look(monitor.ended)
  if (signal?.aborted) abort()
  // The caller subscribes before it awaits; a rejection in between is still the caller's.
  found.catch(() => undefined)
  return found
}

/** The end of the container, as its monitor reports it. */
export function endOf(monitor: Monitor, waiting: Waiting, action: Action): Promise<Ended> {
  const end = watch(monitor, action, waiting, report => report.kind === 'exited').then(endedOf)
  end.catch(() => undefined) // as in watch: the caller awaits it a moment later
  return end
}

/** Whether an error says that the monitor had ended before it could answer. */
export function isLost(error: unknown): boolean {
  return error instanceof ContainerError && error.code === 'ERR_MONITOR_LOST'
}

/** What the monitor wrote down before it ended. Throws ERR_CONTAINER_NOT_RUNNING when it never ran since the last boot. */
export async function readEnd(place: Place): Promise<Ended> {
  const text = await readFile(path.join(place.runDir, 'exit'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    throw new ContainerError('ERR_CONTAINER_NOT_RUNNING', `Cannot wait for container "${place.name}": it has not run`, {
      container: place.name,
    })
  })
  const fields = new Map(text.split('\n').map(line => line.split(' ', 2) as [string, string]))
  const number = (name: string) => (fields.get(name) === '-' ? null : Number(fields.get(name)))
  const signal = number('signal')
  return {
    code: number('code'),
    signal: signal === null ? null : signalName(signal),
    oomKilled: fields.get('oomKilled') === '1',
  }
}

/** Resolves with the first of the states that the container is in; STOPPED is where it is without a monitor. */
export async function waitForState(place: Place, wanted: readonly State[], waiting: Waiting): Promise<State> {
  const action: Action = { verb: 'wait for', container: place.name }
  const deadline = waiting.timeout === undefined ? undefined : Date.now() + waiting.timeout
  for (;;) {
    const left: Waiting = {
      signal: waiting.signal,
      timeout: deadline === undefined ? undefined : Math.max(0, deadline - Date.now()),
    }
    const monitor = await reach(place, action)
    if (monitor === undefined) {
      if (wanted.includes('STOPPED')) return 'STOPPED'
      await someoneStarts(place, action, left)
      continue
    }
    try {
      const seen = watch(monitor, action, left, ({ kind, state }) => kind === 'exited' || wanted.includes(state))
      const { report } = await monitor.request('subscribe', action)
      if (wanted.includes(report.state)) return report.state
      const { state } = await seen
      if (wanted.includes(state)) return state
    } catch (error) {
      if (!isLost(error)) throw error // without a monitor it is STOPPED, which the next turn sees
    } finally {
      monitor.close()
    }
  }
}

/** Resolves when something changes in the run directory: a monitor makes its socket there. */
async function someoneStarts(place: Place, action: Action, { timeout, signal }: Waiting): Promise<void> {
  makeRunDir(place)
  const watcher = watchDirectory(place.runDir)
  const late = timeout === undefined ? undefined : AbortSignal.timeout(timeout)
  const signals = [late, signal].filter(one => one !== undefined)
  try {
    // Made between the connect that failed and the watch: then there is nothing to wait for.
    const monitor = Monitor.connect(path.join(place.runDir, 'socket'), action)
    if (monitor !== undefined) return monitor.close()
    await once(watcher, 'change', signals.length === 0 ? {} : { signal: AbortSignal.any(signals) })
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error
    const code = signal?.aborted ? 'ERR_ABORTED' : 'ERR_TIMEOUT'
    const state = signal?.aborted ? 'aborted' : 'it did not start in time'
    throw new ContainerError(code, `Cannot wait for container "${place.name}": ${state}`, {
      container: place.name,
      cause: error,
    })
  } finally {
    watcher.close()
  }
}

/** States, news of the cgroups and the end, until the end or the signal. `observe` begins to push news and gives the way to end it. */
export async function* eventsOf(
  connect: () => Promise<Monitor>,
  observe: (push: (event: ContainerEvent) => void) => Promise<() => void>,
  action: Action,
  options: { signal?: AbortSignal },
): AsyncGenerator<ContainerEvent> {
  const monitor = await connect()
  const queue: ContainerEvent[] = []
  let wake: () => void = () => undefined
  let over = false
  const push = (event: ContainerEvent) => {
    queue.push(event)
    wake()
  }
  const end = () => {
    over = true
    wake()
  }
  monitor.on('state', ({ state }) => push({ type: 'state', state, at: new Date() }))
  monitor.on('exited', report =>
    push({ type: 'exit', ...endedOf(report), at: new Date(report.exit?.atMs ?? Date.now()) }),
  )
  monitor.on('closed', end)
  options.signal?.addEventListener('abort', end, { once: true })
  let forget: () => void = () => undefined
  try {
    const { report } = await monitor.request('subscribe', action)
    queue.unshift({ type: 'state', state: report.state, at: new Date() })
    forget = await observe(push)
    monitor.hold(true)
    while (!options.signal?.aborted) {
      const event = queue.shift()
      if (event !== undefined) yield event
      else if (over) return
      else {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
    }
  } finally {
    forget()
    options.signal?.removeEventListener('abort', end)
    monitor.hold(false)
    monitor.close()
  }
}
