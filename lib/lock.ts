/** Locks between processes and within one: an OFD lock on a file, fcntl(2), gone with its holder however that ends. */
import { setTimeout as sleep } from 'node:timers/promises'
import { throwIfAborted } from './abort.ts'
import { ContainerError } from './errors.ts'
import { check, native, toError } from './native/binding.ts'

/** How long to wait, and what ends the waiting. */
export interface Waiting {
  /** Milliseconds. */
  timeout?: number | undefined
  signal?: AbortSignal | undefined
}

/** Longer than any operation that is not stuck. */
const PATIENCE_MS = 60_000

/** Runs `act` while holding the lock. Throws ERR_CONTAINER_BUSY after the timeout (default one minute), ERR_ABORTED. */
export async function withLock<T>(file: string, action: string, waiting: Waiting, act: () => Promise<T>): Promise<T> {
  const descriptor = await lock(file, action, waiting)
  try {
    return await act()
  } finally {
    native().addon.closeDescriptors([descriptor])
  }
}

/** Whether somebody holds the lock of a file. */
export function isLocked(file: string): boolean {
  return check(native().addon.isLocked(file), { verb: 'look at a lock' })
}

/** The lock on a file, or on one byte of it, at once, or undefined when somebody has it. */
export function tryLock(file: string, action: string, byte?: number): number | undefined {
  const taken = native().addon.lockFile(file, byte)
  if (typeof taken === 'number') return taken
  if (taken.failure.number === 11 || taken.failure.number === 13) return undefined // EAGAIN, EACCES
  throw toError(taken.failure, { verb: action })
}

/** For how long a program that was just being started may keep a copy of the locks of a Node process that was killed. */
const COPY_MS = 500

/**
 * The lock on a file, or undefined when somebody has it. Between fork and exec a child of Node's holds a copy of every lock, also when
 * Node is killed in that moment: so a lock that is taken is asked for again.
 */
export async function tryLockAgain(file: string, action: string): Promise<number | undefined> {
  const deadline = Date.now() + COPY_MS
  for (;;) {
    const descriptor = tryLock(file, action)
    if (descriptor !== undefined || Date.now() >= deadline) return descriptor
    await sleep(10)
  }
}

async function lock(file: string, action: string, waiting: Waiting): Promise<number> {
  const deadline = Date.now() + (waiting.timeout ?? PATIENCE_MS)
  for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
    throwIfAborted(waiting.signal, action)
    const descriptor = tryLock(file, action)
    if (descriptor !== undefined) return descriptor
    if (Date.now() >= deadline) {
      throw new ContainerError('ERR_CONTAINER_BUSY', `Cannot ${action}: another operation holds it`, {
        path: file,
        hint: 'wait for it to end, or give a longer timeout',
      })
    }
    await sleep(pause)
  }
}
