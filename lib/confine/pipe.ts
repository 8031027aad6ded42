/**
 * Real pipes with room for a megabyte, to and from confined programs. Node's own are socket pairs that are read 64 KiB at a time,
 * into new memory each time: for an archive that takes longer than all that is done with it.
 */
import { Socket } from 'node:net'
import { ContainerError } from '../errors.ts'
import { check, native } from '../native/binding.ts'

const ROOM = 1024 * 1024

/** The two ends of a new pipe; what is not given to a {@link Source} or a {@link Sink} is the caller's to close. */
export function makePipe(): [reader: number, writer: number] {
  return check(native().addon.makePipe(ROOM), { verb: 'make a pipe' })
}

export function closeEnds(...ends: readonly number[]): void {
  native().addon.closeDescriptors([...ends])
}

/** The reading end, by the chunk. */
export class Source implements AsyncIterable<Buffer> {
  readonly #socket: Socket
  readonly #ready: Buffer[] = []
  readonly #free: Buffer[] = []
  #over = false
  #failure: Error | undefined
  #wake: (() => void) | undefined

  /** Owns the descriptor from now on. */
  constructor(descriptor: number) {
    const onread = {
      buffer: () => this.#free.pop() ?? Buffer.allocUnsafeSlow(ROOM),
      callback: (length: number, buffer: Uint8Array) => {
        this.#take(Buffer.from(buffer.buffer as ArrayBuffer, buffer.byteOffset, length))
        return false
      },
    }
    // `onread` is documented of connect(), which hands it on to here; were it ever not heard, 'data' brings the same bytes.
    const options = { fd: descriptor, readable: true, writable: false, onread }
    this.#socket = new Socket(options)
      .on('data', chunk => this.#take(chunk))
      .on('end', () => this.#end())
      .on('error', error => this.#end(error))
  }

  /** Its chunks; each is overwritten when the next is asked for. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const chunk = this.#ready.shift() ?? (await this.#next())
        if (chunk === undefined) return
        yield chunk
        if (chunk.buffer.byteLength === ROOM) this.#free.push(Buffer.from(chunk.buffer))
      }
    } finally {
      this.close()
    }
  }

  close(): void {
    this.#socket.destroy()
  }

  async #next(): Promise<Buffer | undefined> {
    while (this.#ready.length === 0) {
      if (this.#failure !== undefined) throw this.#failure
      if (this.#over) return undefined
      const woken = new Promise<void>(resolve => {
        this.#wake = resolve
      })
      this.#socket.resume()
      await woken
    }
    return this.#ready.shift()
  }

  #take(chunk: Buffer): void {
    this.#ready.push(chunk)
    this.#socket.pause()
    this.#wake?.()
  }

  #end(error?: Error): void {
    this.#over = true
    this.#failure = error
    this.#wake?.()
  }
}

/** The writing end. */
export class Sink {
  readonly #socket: Socket
  #failure: Error | undefined

  /** Owns the descriptor from now on. */
  constructor(descriptor: number) {
    this.#socket = new Socket({ fd: descriptor, readable: false, writable: true })
    this.#socket.on('error', error => {
      this.#failure = error
    })
  }

  /** Writes pieces at once; resolves when the memory they are in may be used again. Rejects when nobody reads any more. */
  async write(pieces: readonly Buffer[]): Promise<void> {
    if (pieces.length === 0) return
    await new Promise<void>((resolve, reject) => {
      const last = pieces.length - 1
      const gone = (cause: Error) =>
        reject(new ContainerError('EPIPE', 'Cannot go on: the program that reads has ended', { cause }))
      if (this.#failure !== undefined) return gone(this.#failure)
      this.#socket.cork()
      for (const [index, piece] of pieces.entries()) {
        if (index === last) this.#socket.write(piece, error => (error ? gone(error) : resolve()))
        else this.#socket.write(piece)
      }
      this.#socket.uncork()
    })
  }

  /** The reader sees the end of it. */
  end(): void {
    this.#socket.destroy()
  }
}
