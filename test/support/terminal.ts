/** A program on a terminal of its own, as somebody who reads and types sees it. script(1) makes the terminal. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'

/** How long somebody looks at a screen on which what was expected does not come. No assertion depends on it but that one. */
const PATIENCE_MS = 20_000

const quote = (word: string) => `'${word.replaceAll("'", "'\\''")}'`

export interface Size {
  readonly rows: number
  readonly columns: number
}

export class Screen {
  readonly #script: ChildProcess
  readonly #ended: Promise<number | null>
  /** All that was ever printed. */
  all = ''
  #unseen = ''
  #device = ''
  #look: () => void = () => undefined

  constructor(command: readonly string[], options: { env?: NodeJS.ProcessEnv; cwd?: string } & Partial<Size> = {}) {
    const { rows = 33, columns = 101, ...rest } = options
    const shell = `tty; stty rows ${rows} cols ${columns}; exec ${command.map(quote).join(' ')}`
    this.#script = spawn('script', ['-qefc', shell, '/dev/null'], rest)
    this.#ended = new Promise(resolve => this.#script.once('close', resolve))
    this.#script.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.all += text
      this.#unseen += text
      this.#look()
    })
    this.#ended.then(() => this.#look())
  }

  /** Waits for something to be printed after what was seen before; it is then seen, with what stands before it. */
  async see(pattern: RegExp): Promise<RegExpExecArray> {
    const limit = setTimeout(() => this.#script.kill('SIGKILL'), PATIENCE_MS)
    try {
      for (let over = false; ; ) {
        const found = pattern.exec(this.#unseen)
        if (found !== null) {
          this.#unseen = this.#unseen.slice(found.index + found[0].length)
          return found
        }
        if (over)
          throw new Error(`${pattern} was not printed; what was, after the last that was seen:\n${this.#unseen}`)
        over = await Promise.race([
          new Promise<false>(resolve => (this.#look = () => resolve(false))),
          this.#ended.then(() => true),
        ])
      }
    } finally {
      clearTimeout(limit)
    }
  }

  type(text: string): void {
    this.#script.stdin?.write(text)
  }

  /** Sees the prompt of the program and answers it. */
  async answer(pattern: RegExp, text: string): Promise<void> {
    await this.see(pattern)
    this.type(text)
  }

  /** Makes the window another one; who is in front hears of it. */
  resize({ rows, columns }: Size): void {
    this.#device ||= /\/dev\/pts\/\d+/.exec(this.all)?.[0] ?? ''
    const { status, stderr } = spawnSync('stty', ['-F', this.#device, 'rows', `${rows}`, 'cols', `${columns}`])
    if (status !== 0) throw new Error(`stty: ${stderr}`)
  }

  /** The terminal goes away, as when its window is closed. */
  hangUp(): void {
    this.#script.kill('SIGKILL')
  }

  /** The exit code of the program, once it has ended. */
  async over(): Promise<number | null> {
    const limit = setTimeout(() => this.#script.kill('SIGKILL'), PATIENCE_MS)
    const status = await this.#ended
    clearTimeout(limit)
    return status
  }
}
