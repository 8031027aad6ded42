/** The outer end of a container's terminal, as a stream. */
import { Socket } from 'node:net'
import { check, native } from './native/binding.ts'

const ACTION = { verb: 'use the terminal' }

/** What a program inside writes to its terminal is read here, and what is written here is typed there. */
export class Terminal extends Socket {
  readonly #terminal: number

  /** `terminal` gives the size; its bytes come and go through `relay`, a stream socket. Both descriptors are taken over. */
  constructor(terminal: number, relay: number) {
    super({ fd: relay, readable: true, writable: true })
    this.#terminal = terminal
    this.once('close', () => native().addon.closeDescriptors([terminal]))
  }

  /**
   * Takes over the descriptor of a terminal's outer end. It ends when its inner end has been closed by all, and when the program of `pidfd` has
   * ended, with all that this has written.
   */
  static open(descriptor: number, pidfd = -1): Terminal {
    const { addon } = native()
    const copy = check(addon.copyDescriptor(descriptor), ACTION)
    return new Terminal(copy, check(addon.relayTerminal(descriptor, pidfd), ACTION))
  }

  /** Tells the programs inside how large the window is. */
  resize(columns: number, rows: number): void {
    check(native().addon.resizeTerminal(this.#terminal, columns, rows), ACTION)
  }
}

/**
 * Has a terminal of this process, in Node's raw mode, show bytes as they come: what they mean the terminal inside has done already, and a
 * second carriage return before each newline would spoil programs that move the cursor by newlines. Leaving raw mode takes it back.
 */
export function passOutput(descriptor: number): void {
  check(native().addon.passOutput(descriptor), ACTION)
}
