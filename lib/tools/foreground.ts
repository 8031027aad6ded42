/** A container whose console is this terminal. */
import { numberOfSignal } from '../config/signal.ts'
import type { Container } from '../container.ts'
import { takeTerminal } from './attached.ts'

/** Stays with a container that was started in the foreground until its init ends; gives the exit code. */
export async function stay(container: Container): Promise<number> {
  const ended = container.exited()
  const terminal = await container.console({ tty: 0 })
  const release = takeTerminal(terminal)
  try {
    const { code, signal } = await ended
    return signal === null ? (code ?? 0) : 128 + numberOfSignal(signal)
  } finally {
    release()
  }
}
