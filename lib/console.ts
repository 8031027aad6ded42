/** The console and the ttys of a running container, as streams. */
import { readFileSync } from 'node:fs'
import { ContainerError, refuseUnknown } from './errors.ts'
import { type Action, native } from './native/binding.ts'
import type { Monitor } from './native/monitor.ts'
import { Terminal } from './terminal.ts'

export interface ConsoleOptions {
  /** 0 (default): the console; -1: the next free tty; N: ttyN, of those that `lxc.tty.max` says. */
  tty?: number
}

/** A stream of what is written to a console or tty inside, and to what is typed there. */
export type ConsoleStream = Terminal & { readonly tty: number }

/**
 * Opens it. The console has any number of viewers and begins with its log; a tty belongs to one until the stream is
 * closed. `monitor` is taken over.
 */
export async function openConsole(monitor: Monitor, action: Action, options: ConsoleOptions): Promise<ConsoleStream> {
  try {
    refuseUnknown(options, ['tty'], 'console')
    const { tty = 0 } = options
    if (!Number.isInteger(tty) || tty < -1)
      throw new ContainerError('ERR_INVALID_OPTION', `Cannot ${action.verb} tty ${tty}: ttys are numbered from 1`)
    const { report, descriptors } = await monitor.request('console', action, { number: tty })
    const [first, outer] = descriptors as [number, number]
    const stream = tty === 0 ? new Terminal(outer, first) : Terminal.open(first)
    // A tty is lent for as long as this connection is there.
    stream.once('close', () => monitor.close())
    return Object.assign(stream, { tty: tty === 0 ? 0 : report.pid })
  } catch (error) {
    monitor.close()
    throw error
  }
}

/** The console's log, from the file that the monitor has answered with. */
export function readLog(descriptors: readonly number[]): Buffer {
  try {
    return readFileSync(descriptors[0] as number)
  } finally {
    native().addon.closeDescriptors(descriptors)
  }
}
