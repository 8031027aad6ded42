/**
 * What a container's cgroups tell on their own: processes killed for want of memory, waiting for a resource, the last process
 * gone. The kernel wakes the reader (PSI and control files of v2, eventfds of v1); nothing is polled.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { directoryOf } from './host/cgroups.ts'
import { type Notice, native, toError } from './native/binding.ts'
import type { CgroupHierarchy } from './native/spec.ts'
import { containerDirectory, type Running } from './resources.ts'
import { parseKeyed } from './stats.ts'

export type Resource = 'cpu' | 'memory' | 'io'

/** One piece of news. */
export type CgroupNotice =
  /** So many processes were killed since the last one. */
  | { type: 'oom'; victims: number; at: Date }
  /** Some process waited for the resource for a tenth of the last two seconds; `avg10` is the percentage of the last ten. v2. */
  | { type: 'pressure'; resource: Resource; avg10: number; at: Date }
  /** The first process came or the last one went. v2. */
  | { type: 'populated'; populated: boolean; at: Date }

/** 200 ms of every 2 s: without CAP_SYS_RESOURCE the kernel takes windows of multiples of 2 s only (psi.rst). */
const TRIGGER = 'some 200000 2000000'

/** Reports news until the result is called. What this kernel or this user has no news of stays silent. */
export function watchNotices(running: Running, push: (notice: CgroupNotice) => void): () => void {
  const unified = running.cgroup.hierarchies.find(({ version }) => version === 2)
  const memory = running.cgroup.hierarchies.find(
    ({ version, controllers }) => version === 1 && controllers.includes('memory'),
  )
  const notices = [
    ...(unified === undefined
      ? []
      : [...watchPressure(running, unified, push), watchPopulated(running, unified, push)]),
    memory === undefined ? unified && watchOom(running, unified, push) : watchOomOfV1(running, memory, push),
  ]
  return () => {
    for (const notice of notices) notice?.close()
  }
}

/** Of a host without the file, without PSI, or of a cgroup that this user may not watch. */
const SILENT = new Set(['ENOENT', 'ENODEV', 'EOPNOTSUPP', 'EACCES', 'EPERM'])

function open(
  running: Running,
  file: string,
  trigger: string,
  control: string,
  listener: (text: string) => void,
): Notice | undefined {
  const notice = native().addon.watchNotice(file, trigger, control, listener)
  if (!('failure' in notice)) return notice
  const error = toError(notice.failure, { verb: 'watch', container: running.name })
  if (SILENT.has(error.code)) return undefined
  throw error
}

function watchPressure(
  running: Running,
  unified: CgroupHierarchy,
  push: (notice: CgroupNotice) => void,
): (Notice | undefined)[] {
  return (['cpu', 'memory', 'io'] as const).map(resource =>
    open(running, directoryOf(containerDirectory(unified), `${resource}.pressure`), TRIGGER, '', text => {
      const avg10 = Number(/^some avg10=([\d.]+)/.exec(text)?.[1] ?? 0)
      push({ type: 'pressure', resource, avg10, at: new Date() })
    }),
  )
}

/** The first call comes at once and says how things are; only a change is news. */
function watchPopulated(
  running: Running,
  unified: CgroupHierarchy,
  push: (notice: CgroupNotice) => void,
): Notice | undefined {
  let known: boolean | undefined
  return open(running, directoryOf(containerDirectory(unified), 'cgroup.events'), '', '', text => {
    const populated = parseKeyed(text).get('populated') === 1
    if (known !== undefined && populated !== known) push({ type: 'populated', populated, at: new Date() })
    known = populated
  })
}

function watchOom(
  running: Running,
  unified: CgroupHierarchy,
  push: (notice: CgroupNotice) => void,
): Notice | undefined {
  const file = directoryOf(containerDirectory(unified), 'memory.events')
  const count = counter(victimsIn(file), push)
  return open(running, file, '', '', text => void count(parseKeyed(text).get('oom_kill') ?? 0))
}

/** How often and how long v1's counter is looked at after its event, which comes before the kill. */
const LOOKS = 100
const LOOK_MS = 10

function watchOomOfV1(
  running: Running,
  memory: CgroupHierarchy,
  push: (notice: CgroupNotice) => void,
): Notice | undefined {
  const directory = containerDirectory(memory)
  const file = directoryOf(directory, 'memory.oom_control')
  const count = counter(victimsIn(file), push)
  return open(running, file, '', directoryOf(directory, 'cgroup.event_control'), async () => {
    for (let look = 0; look < LOOKS && !count(victimsIn(file)); look++) await sleep(LOOK_MS, undefined, { ref: false })
  })
}

function victimsIn(file: string): number {
  try {
    return parseKeyed(readFileSync(file, 'utf8')).get('oom_kill') ?? 0
  } catch {
    return 0 // the container has gone
  }
}

/** Tells by how much a counter has grown; false when it has not. */
function counter(start: number, push: (notice: CgroupNotice) => void): (now: number) => boolean {
  let told = start
  return now => {
    if (now <= told) return false
    push({ type: 'oom', victims: now - told, at: new Date() })
    told = now
    return true
  }
}
