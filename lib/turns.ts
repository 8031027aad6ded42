/**
 * Work in parts, each of which may take a millisecond when nothing of it is in the caches: whoever has an event loop to keep free gives it
 * its turn between them; whoever is in a hurry takes them at once.
 */
import { setImmediate as turn } from 'node:timers/promises'

/** Yields between its parts. */
export type Parts<T> = Generator<undefined, T, undefined>

/** All at once. */
export function takeAll<T>(parts: Parts<T>): T {
  for (;;) {
    const part = parts.next()
    if (part.done) return part.value
  }
}

/** The event loop has its turn after each part. */
export async function inTurns<T>(parts: Parts<T>): Promise<T> {
  for (;;) {
    const part = parts.next()
    await turn()
    if (part.done) return part.value
  }
}
