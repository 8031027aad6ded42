/** The C floor program (bench/floor/floor.c), driven one run at a time, so that runs of it and of caisson can take turns. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../build/test/floor', import.meta.url))

/** Microseconds from the call. */
export interface Run {
  readonly executed: number
  readonly ended: number
}

export class Floor {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #reader: Interface

  /** `['start', rootfs, firstId, program, …]` or `['attach', pid, program, …]`. */
  constructor(args: readonly string[]) {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child = child
    this.#reader = createInterface(child.stdout)
    this.#lines = this.#reader[Symbol.asyncIterator]()
  }

  async run(): Promise<Run> {
    this.#child.stdin?.write('\n')
    const { value } = await this.#lines.next()
    const [executed, ended] = String(value).split(' ').map(Number)
    if (executed === undefined || ended === undefined) throw new Error('the floor program ended; it says why on stderr')
    return { executed, ended }
  }

  close(): void {
    this.#child.stdin?.end()
    this.#reader.close()
  }
}
