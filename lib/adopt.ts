/** Finding the monitor of a container; and a new one for a container whose monitor was killed and whose init lives. */
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { isLocked } from './lock.ts'
import { type Action, check, native } from './native/binding.ts'
import { Monitor } from './native/monitor.ts'
import type { Place } from './store.ts'

/** A connection to its monitor, adopting it if need be; undefined when it does not run. */
export async function reach(place: Place, action: Action): Promise<Monitor | undefined> {
  // A container that has not run since the last boot, as most of a long list: nothing to ask.
  if (!existsSync(place.runDir)) return undefined
  const socket = path.join(place.runDir, 'socket')
  const monitor = Monitor.connect(socket, action)
  if (monitor !== undefined || !(await adopt(place))) return monitor
  return Monitor.connect(socket, action)
}

/** Gives a living container without a monitor a new one. False when there is nothing to adopt. */
export async function adopt(place: Place): Promise<boolean> {
  if (isLocked(path.join(place.runDir, 'lock')) || !isInitAlive(place.runDir)) return false
  const action = { verb: 'adopt', container: place.name }
  const descriptor = openSync(path.join(place.runDir, 'spec'), 'r')
  try {
    const spec = check(native().addon.decodeSpec(descriptor), action)
    const { monitor, answer } = await Monitor.launch('adopt', { ...spec, foreground: false, callbacks: [] }, [], action)
    native().addon.closeDescriptors(answer.descriptors)
    monitor.close()
    return true
  } finally {
    closeSync(descriptor)
  }
}

/** Whether the init that a monitor wrote down, to be adopted, is still the same living process. */
export function isInitAlive(runDir: string): boolean {
  const record = read(path.join(runDir, 'init'))
  if (record === undefined || read(path.join(runDir, 'spec')) === undefined) return false
  const [pid, started] = record.trim().split(' ')
  const stat = read(`/proc/${pid}/stat`)
  if (stat === undefined) return false
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return state !== 'Z' && fields[18] === started
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
}
