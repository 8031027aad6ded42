/** Programs that take a tool's place on its terminal; tools are small processes, in which nobody else waits. */
import { spawn } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { findProgram } from '../native/program.ts'

/** A program on this process's own descriptors, with its environment. */
export interface InPlace {
  readonly pid: number
  /** The pipe at descriptor 3 or above. */
  pipe(descriptor: number): Duplex
  /** Resolves at its end, however that was. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  kill(signal: NodeJS.Signals): void
}

/** Starts a program as a shell does: what the user sees and types is the program's. `detached`: it may outlive this process. */
export function startInPlace(
  name: string,
  args: readonly string[],
  { pipes, detached }: { pipes: number; detached: boolean },
): InPlace {
  const child = spawn(findProgram(name), args, {
    stdio: ['inherit', 'inherit', 'inherit', ...Array<'pipe'>(pipes).fill('pipe')],
    detached,
  })
  const ended = new Promise<Awaited<InPlace['ended']>>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  ended.catch(() => undefined)
  return {
    pid: child.pid as number,
    pipe: descriptor => (child.stdio as unknown as Duplex[])[descriptor] as Duplex,
    ended,
    kill: signal => void child.kill(signal),
  }
}
