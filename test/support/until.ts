/** Waiting for what comes to pass a moment after the call that brought it about: the kernel, monitors and other processes take their time. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Far more than anything here takes, on whatever machine, and less than the runner's patience: how long it takes is no part of an assertion. */
const PATIENCE_MS = 20_000

type Nothing = false | 0 | '' | null | undefined

/** The first answer that is not false, 0, empty or nothing; an error that names what was waited for when there is none in twenty seconds. */
export async function until<T>(look: () => T | Nothing | Promise<T | Nothing>, what: string): Promise<T> {
  for (const end = performance.now() + PATIENCE_MS; ; ) {
    const answer = await look()
    if (answer) return answer
    if (performance.now() > end) throw new Error(`it did not come to pass: ${what}`)
    await sleep(10)
  }
}
