/**
 * Config files: their lines, and the files they include.
 *
 * Reading is a generator that asks for files, so that one parser serves both a synchronous and an asynchronous caller.
 * What is read stays as it was, byte by byte, until somebody changes it.
 */
import { closeSync, createReadStream, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { ContainerError } from '../errors.ts'
import { decode } from './encoding.ts'
import { LegacyNames } from './legacy.ts'
import { readLine, type Setting } from './line.ts'
import { locate, mistake, type Place } from './mistake.ts'

/** One line, and with `included` the lines of the files it includes. */
export interface Line {
  readonly raw: string
  /** How it ends; the last line of a file may have no end. */
  readonly end: '' | '\n' | '\r\n'
  readonly setting?: Setting
  readonly included?: readonly Line[]
  readonly file?: string
  readonly number?: number
}

/** Something worth saying that stops nobody. */
export interface Diagnostic extends Place {
  /** `legacy`: an old name; `foreign`: a line that LXC passes over; `unknown` and `value`: kept in lenient mode. */
  readonly kind: 'legacy' | 'foreign' | 'unknown' | 'value'
  readonly message: string
  readonly hint?: string | undefined
}

export interface ReadOptions {
  /** Keep unknown keys and wrong values, and report them, where strict reading (the default) throws. */
  readonly lenient?: boolean
  /** Read included files too (the default); without them their lines say nothing. */
  readonly includes?: boolean
}

/** What the parser asks for; the answer to `list` is undefined where there is no directory. */
export type Request = { readonly read: string } | { readonly list: string }
type Answer = Buffer | string[] | undefined
type Reader<T> = Generator<Request, T, Answer>

/** Limits that no honest config meets; they bound what a hostile one can cost. */
const MOST_BYTES = 16 * 1024 * 1024
const MOST_FILES = 1024
const DEEPEST = 32

/** Reads one config: the file or text it was begun with, and all that is included. */
export class ConfigReader {
  readonly diagnostics: Diagnostic[] = []
  readonly #legacy = new LegacyNames()
  readonly #lenient: boolean
  readonly #includes: boolean
  readonly #open: string[] = []
  #files = 0
  #bytes = 0

  constructor(options: ReadOptions = {}) {
    this.#lenient = options.lenient ?? false
    this.#includes = options.includes ?? true
  }

  /** The lines of a file. */
  *file(name: string, from: Place = {}): Reader<Line[]> {
    const path = resolve(name)
    if (this.#open.includes(path)) throw locate(mistake(`"${name}" includes itself`), 'Cannot read config', from)
    if (this.#open.length >= DEEPEST)
      throw locate(mistake('includes are nested too deeply'), 'Cannot read config', from)
    this.#files += 1
    if (this.#files > MOST_FILES) throw locate(mistake(`more than ${MOST_FILES} files`), 'Cannot read config', from)
    const bytes = (yield { read: name }) as Buffer
    this.#open.push(path)
    const lines = yield* this.text(decode(bytes), name)
    this.#open.pop()
    return lines
  }

  /** The lines of a text. */
  *text(text: string, file?: string): Reader<Line[]> {
    this.#bytes += Buffer.byteLength(text)
    if (this.#bytes > MOST_BYTES) throw locate(mistake('the config is too large'), 'Cannot read config', { file })
    this.#legacy.findStorageType(text)
    const lines: Line[] = []
    for (const [index, { raw, end }] of splitLines(text).entries()) {
      const line = yield* this.#line({ raw, end, ...(file === undefined ? {} : { file }), number: index + 1 })
      if (line !== undefined) lines.push(line)
    }
    return lines
  }

  *#line(line: Line): Reader<Line | undefined> {
    const place = { file: line.file, line: line.number, column: 1 }
    const reading = this.#read(line.raw, place)
    if (reading === 'foreign') {
      this.#say(
        'foreign',
        place,
        `the line is passed over: ${JSON.stringify(line.raw.slice(0, 64))}`,
        'keys begin with "lxc."',
      )
    }
    if (typeof reading === 'string') return line
    const current = this.#modernize(line, reading)
    if (current?.setting?.key !== 'lxc.include' || current.setting.value === '' || !this.#includes) return current
    return {
      ...current,
      included: yield* this.include(current.setting.value, { ...place, column: reading.valueColumn }),
    }
  }

  /** The lines of a file, or of every `*.conf` of a directory in the order of their names. */
  *include(name: string, from: Place): Reader<Line[]> {
    try {
      const names = (yield { list: name }) as string[] | undefined
      if (names === undefined) return name.endsWith('/') ? [] : yield* this.file(name, from)
      const lines: Line[] = []
      for (const entry of names.filter(entry => /.\.conf$/.test(entry)).sort()) {
        lines.push(...(yield* this.file(`${name.replace(/\/+$/, '')}/${entry}`, from)))
      }
      return lines
    } catch (error) {
      if (error instanceof ContainerError || !(error instanceof Error)) throw error
      throw unreadable(name, error, from)
    }
  }

  #read(raw: string, place: Place): ReturnType<typeof readLine> {
    try {
      return readLine(raw)
    } catch (error) {
      const wrong = locate(error, 'Cannot read config', place)
      if (!this.#lenient) throw wrong
      this.#say('value', place, wrong.message)
      return 'foreign'
    }
  }

  /** The line under its new name; undefined where it means nothing any more. */
  #modernize(line: Line, setting: Setting): Line | undefined {
    const place = { file: line.file, line: line.number, column: setting.keyColumn }
    const translated = this.#translate(setting, place)
    if (translated === undefined) return { ...line, setting }
    if ('dropped' in translated) {
      this.#say('legacy', place, `"${setting.key}" is dropped: ${translated.dropped}`)
      return undefined
    }
    const { key, value } = translated
    if (key !== setting.key) this.#say('legacy', place, `"${setting.key}" is named "${key}" since LXC 2.1`)
    return { ...line, raw: rewrite(line.raw, setting, key, value), setting: { ...setting, key, value } }
  }

  #translate(setting: Setting, place: Place): ReturnType<LegacyNames['translate']> {
    try {
      return this.#legacy.translate(setting.key, setting.value)
    } catch (error) {
      throw locate(error, 'Cannot read config', place)
    }
  }

  #say(kind: Diagnostic['kind'], place: Place, message: string, hint?: string): void {
    this.diagnostics.push({ kind, message, hint, ...place })
  }
}

/** The line with another key and value; its blanks and quotes stay. */
function rewrite(raw: string, setting: Setting, key: string, value: string): string {
  const keyStart = setting.keyColumn - 1
  const valueStart = setting.valueColumn - 1
  const between = raw.slice(keyStart + setting.key.length, valueStart)
  return raw.slice(0, keyStart) + key + between + value + raw.slice(valueStart + setting.value.length)
}

function splitLines(text: string): { raw: string; end: Line['end'] }[] {
  return [...text.matchAll(/([^\n]*?)(\r?\n|$)/gy)]
    .map(match => ({ raw: match[1] as string, end: match[2] as Line['end'] }))
    .filter(({ raw, end }) => raw !== '' || end !== '')
}

/** The text of lines; with `encode` exactly the bytes they were read from. */
export function printLines(lines: readonly Line[]): string {
  return lines.map(({ raw, end }) => raw + end).join('')
}

/** Runs a reader with synchronous file operations. */
export function readNow<T>(reader: Reader<T>): T {
  return drive(reader, request => {
    if ('read' in request) return readFile(request.read)
    return isDirectory(statSync(request.list, { throwIfNoEntry: false })) ? readdirSync(request.list) : undefined
  })
}

/** Nothing of it outlives the call that fills it; a list of containers reads hundreds of configs. */
let piece: Buffer | undefined

/** At most a byte more than a config may have: pipes, devices and files of /proc tell no size before. */
function readFile(name: string): Buffer {
  const descriptor = openSync(name, 'r')
  try {
    piece ??= Buffer.alloc(65536)
    const bytes: Buffer[] = []
    for (let left = MOST_BYTES + 1; left > 0; left -= bytes.at(-1)?.length ?? 0) {
      const length = readSync(descriptor, piece, 0, Math.min(left, piece.length), null)
      if (length === 0) break
      bytes.push(Buffer.from(piece.subarray(0, length)))
    }
    return Buffer.concat(bytes)
  } finally {
    closeSync(descriptor)
  }
}

function drive<T>(reader: Reader<T>, answer: (request: Request) => Answer): T {
  let step = reader.next()
  while (!step.done) {
    const request = step.value
    try {
      step = reader.next(answer(request))
    } catch (error) {
      step = reader.throw(error)
    }
  }
  return step.value
}

/** Runs a reader with asynchronous file operations. */
export async function read<T>(reader: Reader<T>): Promise<T> {
  let step = reader.next()
  while (!step.done) {
    const answer = await fetchAnswer(step.value).then(
      value => ({ value }),
      (error: unknown) => ({ error }),
    )
    step = 'error' in answer ? reader.throw(answer.error) : reader.next(answer.value)
  }
  return step.value
}

async function fetchAnswer(request: Request): Promise<Answer> {
  if ('read' in request) {
    const bytes: Buffer[] = []
    for await (const piece of createReadStream(request.read, { end: MOST_BYTES })) bytes.push(piece as Buffer)
    return Buffer.concat(bytes)
  }
  const found = await stat(request.list).catch(() => undefined)
  return isDirectory(found) ? readdir(request.list) : undefined
}

const isDirectory = (found: { isDirectory(): boolean } | undefined): boolean => found?.isDirectory() ?? false

/** A file that could not be read, with the kernel's reason. */
export function unreadable(name: string, error: NodeJS.ErrnoException, from: Place = {}): ContainerError {
  const reason = error.message.replace(/, (open|stat|scandir|read).*$/, '')
  return new ContainerError(error.code ?? 'ERR_CONFIG_SYNTAX', `Cannot read config "${name}": ${reason}`, {
    errno: error.errno,
    syscall: error.syscall,
    path: name,
    file: from.file,
    line: from.line,
    column: from.column,
    cause: error,
  })
}
