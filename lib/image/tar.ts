/**
 * Looks at every header of a tar stream before a tar program may see it: what is dangerous is refused, what is not
 * wanted is left out, and what passes is passed on byte for byte.
 *
 * tar(1) of GNU reads only what comes out of here, so that all that can differ between two readers of a tar file (sizes
 * of entries that have no data, global headers, names given twice, bytes after the end) is refused rather than guessed.
 * Formats: POSIX.1-1988 ustar, POSIX.1-2001 pax, GNU (tar(5)).
 */
import { ContainerError } from '../errors.ts'
import { parseHeader, parsePax, type TarHeader } from './tarheader.ts'

/** What an archive may cost; above it, it is refused with the work thrown away. */
export interface Limits {
  /** Bytes of all files together, holes included. Default 64 GiB. */
  readonly bytes: number
  /** Files, links and directories. Default 2,000,000. */
  readonly entries: number
  /** Unpacked bytes for each packed one, looked at above 64 MiB. Default 1,000. */
  readonly ratio: number
  /** Bytes of one path. Default 4,096, PATH_MAX. */
  readonly path: number
  /** Directories in one path. Default 256. */
  readonly depth: number
}

export const LIMITS: Limits = { bytes: 64 * 2 ** 30, entries: 2_000_000, ratio: 1000, path: 4096, depth: 256 }

export type EntryType = 'file' | 'hardlink' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo'

export interface Entry {
  /** Without a leading `./` and trailing slashes; `.` for the root. */
  readonly name: string
  readonly type: EntryType
  /** Bytes in the archive. */
  readonly size: number
  /** Of links; as it stands for a symlink, like {@link name} for a hard link. */
  readonly target: string
}

/** What becomes of an entry: passed on, left out, or left out with its bytes kept for the caller. */
export type Verdict = 'keep' | 'drop' | 'capture' | 'stop'

/** typeflag → type. GNU's incremental ('D'), multi-volume ('M') and vendor types are refused. */
const TYPES: Readonly<Record<string, EntryType>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
}

const BLOCK = 512
/** Pax headers and long names; real ones hold a few kilobytes, xattrs included. */
const META_MAX = 1024 * 1024
/** All that is kept in memory of one archive. */
const CAPTURE_MAX = 16 * 1024 * 1024
const END = Buffer.alloc(2 * BLOCK)

export class TarScanner {
  /** Contents of captured files. */
  readonly captured = new Map<string, Buffer>()
  /** Entries and bytes that were seen. */
  entries = 0
  bytes = 0
  /** The end-of-archive mark has come, or the caller has said 'stop'. */
  ended = false

  readonly #limits: Limits
  readonly #decide: (entry: Entry) => Verdict
  readonly #symlinks = new Set<string>()
  #rest: Buffer = Buffer.alloc(0)
  /** Headers that describe the next entry and share its fate. */
  #held: Buffer[] = []
  #pax = new Map<string, string>()
  /** Bytes of data (with padding) that still belong to the current entry. */
  #left = 0
  /** How much of these is padding. */
  #slack = 0
  #sink: 'pass' | 'drop' | 'meta' | 'capture' = 'drop'
  #collected: Buffer[] = []
  #finish: (() => void) | undefined
  /** The next block extends the map of an old GNU sparse file. */
  #sparse = false
  #capturedBytes = 0

  constructor(decide: (entry: Entry) => Verdict, limits: Limits = LIMITS) {
    this.#decide = decide
    this.#limits = limits
  }

  /** Takes bytes as they come, gives those that may go on, in the same memory. Throws ERR_IMAGE. */
  write(chunk: Buffer): Buffer[] {
    const out: Buffer[] = []
    let input = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (!this.ended) {
      if (this.#left > 0 && !this.#sparse) {
        if (input.length === 0) break
        const data = input.subarray(0, this.#left)
        input = input.subarray(data.length)
        this.#left -= data.length
        this.#take(data, out)
      } else {
        if (input.length < BLOCK) break
        const block = input.subarray(0, BLOCK)
        input = input.subarray(BLOCK)
        if (this.#sparse) this.#extend(block, out)
        else this.#header(block, out)
      }
    }
    // A copy: the chunk's memory may be large, and be used again by its stream.
    this.#rest = this.ended ? Buffer.alloc(0) : Buffer.from(input)
    return out
  }

  /**
   * To be called at the end of the stream; gives what is still to be passed on. An archive without its end mark was cut off, unless its
   * writer leaves the mark out, with the padding before it: then the last entry must be whole.
   */
  end(unmarked = false): Buffer[] {
    if (this.ended) return []
    const isWhole = unmarked && !this.#sparse && this.#left <= this.#slack
    const out = isWhole ? this.write(Buffer.alloc(this.#left)) : []
    if (!isWhole || this.#rest.length > 0 || this.#held.length > 0) throw refuse('the archive is cut off')
    this.ended = true
    return [...out, END]
  }

  #take(data: Buffer, out: Buffer[]): void {
    if (this.#sink === 'pass') pass(out, data)
    else if (this.#sink !== 'drop') this.#collected.push(Buffer.from(data))
    if (this.#left > 0) return
    const finish = this.#finish
    this.#finish = undefined
    finish?.()
  }

  #header(block: Buffer, out: Buffer[]): void {
    const header = parseHeader(block)
    if (header === undefined) {
      this.ended = true
      out.push(END)
    } else if ('xgLK'.includes(header.type)) this.#meta(block, header)
    else this.#entry(block, header, out)
  }

  /** A header about the next header: pax, or GNU's long names. */
  #meta(block: Buffer, header: TarHeader): void {
    if (header.size > META_MAX) throw refuse(`a header of ${header.size} bytes`)
    if (this.#held.length > 4) throw refuse('headers about headers without end')
    this.#read('meta', header.size, data => {
      if (header.type === 'g') return this.#global(parsePax(data))
      this.#held.push(Buffer.from(block), pad(data))
      if (header.type === 'x') {
        for (const [key, value] of parsePax(data)) this.#say(key, value)
      } else this.#say(header.type === 'L' ? 'path' : 'linkpath', text(data))
    })
  }

  #say(key: string, value: string): void {
    if (this.#pax.has(key) && !key.startsWith('GNU.sparse.')) throw refuse(`two headers set "${key}"`)
    this.#pax.set(key, value)
  }

  /** A global header would change entries that follow much later; the comment that git writes is let go. */
  #global(pax: Map<string, string>): void {
    for (const key of pax.keys()) {
      if (key !== 'comment') throw refuse(`a global header sets "${key}"`)
    }
  }

  #entry(block: Buffer, header: TarHeader, out: Buffer[]): void {
    const entry = this.#describe(header)
    this.#account(header, entry)
    const verdict = this.#decide(entry)
    if (verdict === 'stop') {
      this.ended = true
      return
    }
    const held = this.#held
    this.#held = []
    this.#pax = new Map()
    if (verdict === 'keep') {
      out.push(...held)
      pass(out, block)
    }
    if (verdict === 'capture') {
      this.#capturedBytes += entry.size
      if (this.#capturedBytes > CAPTURE_MAX) throw refuse(`"${entry.name}" is one too many to be read at once`)
      this.#read('capture', entry.size, data => void this.captured.set(entry.name, data))
      return
    }
    this.#sink = verdict === 'keep' ? 'pass' : 'drop'
    this.#left = padded(entry.size)
    this.#slack = this.#left - entry.size
    // Old GNU sparse files: the map goes on in blocks between the header and the data.
    this.#sparse = header.type === 'S' && header.extended
  }

  #extend(block: Buffer, out: Buffer[]): void {
    if (this.#sink === 'pass') pass(out, block)
    this.#sparse = block[504] === 1
  }

  #read(sink: 'meta' | 'capture', size: number, done: (data: Buffer) => void): void {
    this.#sink = sink
    this.#collected = []
    this.#left = padded(size)
    this.#slack = this.#left - size
    this.#finish = () => done(Buffer.concat(this.#collected).subarray(0, size))
    if (this.#left === 0) this.#take(Buffer.alloc(0), [])
  }

  /** The entry that a header and those before it make together. */
  #describe(header: TarHeader): Entry {
    const pax = this.#pax
    const type = TYPES[header.type]
    if (type === undefined) throw refuse(`an entry of type "${header.type}"`)
    for (const key of pax.keys()) {
      if (/^(SCHILY|LIBARCHIVE)\.xattr\.(trusted|user)\.overlay\./.test(key)) throw refuse(`an entry sets "${key}"`)
    }
    const length = pax.get('size')
    const size = length === undefined ? header.size : Number(length)
    if (!Number.isSafeInteger(size) || size < 0) throw refuse(`an entry of ${length} bytes`)
    if (size > 0 && type !== 'file') throw refuse(`a ${type} with data`)
    const given = pax.get('GNU.sparse.name') ?? pax.get('path') ?? header.name
    // So does umoci call the root, and so do tar programs read it.
    const name = given === '/' && type === 'directory' ? '.' : this.#path(given)
    if (type !== 'directory' && name === '.') throw refuse('the root is no directory')
    const target = pax.get('linkpath') ?? header.linkname
    return { name, type, size, target: type === 'hardlink' ? this.#path(target) : target }
  }

  /** A path below the root, in its shortest form. */
  #path(path: string): string {
    if (path === '' || path.includes('\0')) throw refuse('an empty name')
    if (path.startsWith('/')) throw refuse(`"${path}" is absolute`)
    if (Buffer.byteLength(path) > this.#limits.path) throw refuse(`a path of ${path.length} characters`)
    const parts = path.split('/').filter(part => part !== '' && part !== '.')
    if (parts.includes('..')) throw refuse(`"${path}" leads upward`)
    if (parts.length > this.#limits.depth) throw refuse(`a path of ${parts.length} directories`)
    let parent = ''
    for (const part of parts.slice(0, -1)) {
      parent = parent === '' ? part : `${parent}/${part}`
      if (this.#symlinks.has(parent)) throw refuse(`"${path}" leads through the link "${parent}"`)
    }
    return parts.length === 0 ? '.' : parts.join('/')
  }

  #account(header: TarHeader, entry: Entry): void {
    const real = Number(this.#pax.get('GNU.sparse.realsize') ?? this.#pax.get('GNU.sparse.size') ?? header.realSize)
    this.entries += 1
    this.bytes += Math.max(entry.size, Number.isSafeInteger(real) ? real : Number.POSITIVE_INFINITY)
    if (this.entries > this.#limits.entries) throw refuse(`more than ${this.#limits.entries} entries`)
    if (this.bytes > this.#limits.bytes) throw refuse(`more than ${this.#limits.bytes} bytes`)
    if (entry.type === 'symlink') this.#symlinks.add(entry.name)
    else this.#symlinks.delete(entry.name)
  }
}

/** Adds a piece, to the last one where it follows that in memory: most of an archive goes on as it came. */
function pass(out: Buffer[], piece: Buffer): void {
  const last = out.at(-1)
  if (last?.buffer !== piece.buffer || last.byteOffset + last.length !== piece.byteOffset) out.push(piece)
  else out[out.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + piece.length)
}

function refuse(what: string): ContainerError {
  return new ContainerError('ERR_IMAGE', `Cannot unpack archive: ${what}`, { step: 'image.scan' })
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK
}

function pad(data: Buffer): Buffer {
  const whole = Buffer.alloc(padded(data.length))
  data.copy(whole)
  return whole
}

/** A C string in a block. */
function text(data: Buffer): string {
  const end = data.indexOf(0)
  return data.subarray(0, end === -1 ? data.length : end).toString('utf8')
}
