/** A program inside, on this process's own terminal or files. */
import { createWriteStream } from 'node:fs'

import { type Duplex, PassThrough, type Transform } from 'node:stream'
import { numberOfSignal } from '../config/signal.ts'
import { ContainerError } from '../errors.ts'
import type { ContainerProcess } from '../process.ts'
import type { AttachOptions, Stdio } from '../process_options.ts'
import { passOutput } from '../terminal.ts'

/** How a program inside gets this process's descriptors: on a terminal of the container's where this one has one. */
export function stdioOptions(): Pick<AttachOptions, 'tty' | 'stdio' | 'keepOutput'> {
  const { stdin, stdout, stderr } = process
  if (stdin.isTTY && stdout.isTTY) return { tty: { columns: stdout.columns, rows: stdout.rows }, keepOutput: false }
  // A terminal of the host's is never handed in: what is written to it can be typed from it (TIOCSTI).
  const stdio = [stdin, stdout, stderr].map((stream): Stdio => (stream.isTTY ? 'pipe' : 'inherit'))
  return { stdio: stdio as [Stdio, Stdio, Stdio], keepOutput: false }
}

/** How the program ended, as a shell says it. */
export interface Followed {
  readonly code: number
  readonly signal: NodeJS.Signals | null
}

/** The exit code of a program as a shell has it: 128 and the number of the signal that ended it. */
export function exitCode({ code, signal }: { code: number | null; signal: NodeJS.Signals | null }): number {
  return signal === null ? (code ?? 1) : 128 + numberOfSignal(signal)
}

/** env(1): there is no such program; it cannot be run. */
const EXEC_CODES: Readonly<Record<string, number>> = { ENOENT: 127, ERR_INIT_MISSING: 127, EACCES: 126, ENOEXEC: 126 }

/** Connects this process's descriptors with the program until it ends. `log`: a file that gets the terminal's output, too. */
export async function follow(running: ContainerProcess, log?: string): Promise<Followed> {
  let release: () => void = () => undefined
  running.once('spawn', () => {
    const { terminal } = running
    if (terminal === null) return
    release = takeTerminal(terminal)
    if (log !== undefined) terminal.pipe(createWriteStream(log, { flags: 'a', mode: 0o600 }))
  })
  if (running.stdin !== null) process.stdin.pipe(running.stdin)
  running.stdout?.pipe(process.stdout, { end: false })
  running.stderr?.pipe(process.stderr, { end: false })
  try {
    const { exitCode: code, signal } = await running
    return { code: exitCode({ code, signal }), signal }
  } finally {
    release()
  }
}

/** The exit code of a program that could not be begun; undefined for any other failure. */
export function execCode(error: unknown): number | undefined {
  const isExec = error instanceof ContainerError && (error.step === 'process.exec' || error.step === 'init.exec')
  return isExec ? EXEC_CODES[error.code] : undefined
}

/** Gives this terminal to one inside: every key goes there, through `keys`, and its size follows. The result gives it back. */
export function takeTerminal(
  terminal: Duplex & { resize(columns: number, rows: number): void },
  keys?: Transform,
): () => void {
  const { stdin, stdout } = process
  const resize = () => terminal.resize(stdout.columns, stdout.rows)
  const typed = keys ?? new PassThrough()
  if (stdin.isTTY) {
    stdin.setRawMode(true)
    passOutput(stdin.fd)
  }
  stdin.pipe(typed).pipe(terminal)
  if (stdout.isTTY) {
    resize()
    stdout.on('resize', resize)
  }
  terminal.pipe(stdout, { end: false })
  // A terminal whose other end has gone says so by ending; what was typed meanwhile is lost with it.
  terminal.on('error', () => terminal.destroy())
  return () => {
    stdin.unpipe(typed)
    stdout.off('resize', resize)
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.pause()
  }
}
