/**
 * Config: the `lxc.*` keys of one container, in order, with comments kept.
 *
 * A config is its lines. `get` and `value` tell what the lines amount to, included files among them; `set` and `clear`
 * change as few of its own lines as possible and never an included file.
 */

import { randomInt } from 'node:crypto'
import { open, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ContainerError } from '../errors.ts'
import { encode } from './encoding.ts'
import {
  ConfigReader,
  type Diagnostic,
  type Line,
  printLines,
  type ReadOptions,
  read,
  readNow,
  unreadable,
} from './file.ts'
import { nothing } from './kinds.ts'
import { printLine, readLine, type Setting } from './line.ts'
import { locate, type Place } from './mistake.ts'
import type { ConfigInput, ConfigKey, ConfigText, ConfigValue, FamilyKey, Found } from './names.ts'
import { find } from './names.ts'
import { drawHardwareAddress } from './net_values.ts'
import { type Entry, interpret, State, unknownKey } from './state.ts'

export type { Diagnostic, ReadOptions } from './file.ts'
export type { ConfigInput, ConfigKey, ConfigText, ConfigValue, FamilyKey } from './names.ts'
export { completions, completionsOfValue, isConfigKey, nearestKey } from './names.ts'
export type { Entry } from './state.ts'

/** The `lxc.*` keys of one container. */
export class Config {
  /** What was worth saying about the lines read so far: old names, lines passed over, what lenient reading kept. */
  readonly diagnostics: Diagnostic[] = []
  /** Where `save` writes: the file that was loaded first. */
  file: string | undefined
  #lines: readonly Line[] = []
  #state: State | undefined

  /** The config of a text. Included files are read synchronously. */
  static parse(text: string, options: ReadOptions & { file?: string } = {}): Config {
    const config = new Config()
    config.file = options.file
    const reader = new ConfigReader(options)
    config.#take(readNow(reader.text(text, options.file)), reader, options)
    return config
  }

  /** The config of a file. Throws ERR_CONFIG_* with file, line and column, or the kernel's reason why it is unreadable. */
  static async read(file: string, options: ReadOptions = {}): Promise<Config> {
    const config = new Config()
    await config.load(file, options)
    return config
  }

  /** The same, synchronously. */
  static readNow(file: string, options: ReadOptions = {}): Config {
    const config = new Config()
    const reader = new ConfigReader(options)
    try {
      config.#take(readNow(reader.file(file)), reader, options)
    } catch (error) {
      throw error instanceof ContainerError ? error : unreadable(file, error as NodeJS.ErrnoException)
    }
    config.file = file
    return config
  }

  /** Adds the lines of a file to those that are there, as lxc_container.load_config does. Old names are a warning of the process, once. */
  async load(file: string, options: ReadOptions = {}): Promise<void> {
    const reader = new ConfigReader(options)
    const lines = await read(reader.file(file)).catch((error: unknown) => {
      throw error instanceof ContainerError ? error : unreadable(file, error as NodeJS.ErrnoException)
    })
    this.#take(lines, reader, options)
    this.file ??= file
    warnOfOldNames(file, reader.diagnostics)
  }

  /** Adds lines of text at the end, as if they stood in the file. */
  append(text: string, options: ReadOptions & { file?: string } = {}): this {
    const reader = new ConfigReader(options)
    this.#take(readNow(reader.text(text, options.file)), reader, options)
    return this
  }

  /** The value in LXC's text form; a list key gives an array; undefined when unset. */
  get<K extends ConfigKey>(key: K): ConfigText<K> {
    const found = named(key, 'get')
    const texts = this.#now().get(found.name).map(textOf)
    return (found.key.many && texts.length > 0 ? texts : texts[0]) as ConfigText<K>
  }

  /** What the value means: a number, a boolean, a list, a structure; the default when unset. */
  value<K extends ConfigKey>(key: K): ConfigValue<K> {
    const found = named(key, 'get')
    const values = this.#now()
      .get(found.name)
      .map(entry => entry.value)
    const value = found.key.many ? values : values.length > 0 ? values[0] : found.key.default
    return value as ConfigValue<K>
  }

  /** Whether a key is set, be it to its default. */
  has(key: ConfigKey): boolean {
    return this.#now().get(named(key, 'get').name).length > 0
  }

  /** Every value in force below a prefix, in the order of the lines, with its place. */
  entries(prefix?: string): Entry[] {
    const order = new Map(flatten(this.#lines).map((line, index) => [line, index]))
    const entries = this.#now()
      .all()
      .filter(({ name }) => isBelow(name, prefix))
    return entries.sort((a, b) => (order.get(a.line) ?? 0) - (order.get(b.line) ?? 0))
  }

  /** The numbers of the network interfaces, ascending; that is the order in which they are made. */
  interfaces(): number[] {
    const indexes = this.#now()
      .all()
      .flatMap(({ index }) => (index === undefined ? [] : [index]))
    return [...new Set(indexes)].sort((a, b) => a - b)
  }

  /** Where the value of a key stands, for messages; empty when it is unset or was set by a program. */
  where(key: ConfigKey): Place {
    const line = this.#now().get(named(key, 'get').name).at(-1)?.line
    return line === undefined ? {} : { file: line.file, line: line.number, column: line.setting?.valueColumn }
  }

  /**
   * Sets, or for a list key appends. An empty text does what an empty line does in a file: it clears, also what an
   * included file has set. Throws ERR_CONFIG_UNKNOWN_KEY or ERR_CONFIG_VALUE.
   */
  set<K extends ConfigKey>(key: K, value: ConfigInput<K>): this {
    const found = named(key, 'set')
    const texts = (Array.isArray(value) ? value : [value]).map(print)
    if (!found.key.many && texts.length !== 1) {
      throw new ContainerError('ERR_CONFIG_VALUE', `Cannot set "${key}": it has one value, not ${texts.length}`)
    }
    const separator = { blank: ' ', comma: ',' }[found.key.split as string]
    const lines = separator === undefined || texts.length === 0 ? texts : [texts.join(separator)]
    for (const text of lines) this.#assign(found, text)
    return this
  }

  /**
   * Clears a key, every key below a prefix that is none ('lxc.net.0', 'lxc.hook'), or everything. As in LXC the capabilities to drop
   * and to keep go together, and with its type the whole interface.
   */
  clear(key?: ConfigKey | FamilyKey | `lxc.net.${number}` | (string & {})): this {
    if (key === undefined) return this.#replace([])
    const prefixes = clearedWith(key)
    const isCleared = (name: string): boolean => name === key || prefixes.some(prefix => isBelow(name, prefix))
    const kept = this.#lines.filter(({ setting }) => setting === undefined || !isCleared(nameOf(setting)))
    const state = evaluate(kept)
    const names = state.names().filter(isCleared)
    const lines = [...new Set(names.map(name => wholeInterface(name, prefixes)))].map(name => clearingLine(name, state))
    return this.#replace(lines.reduce<readonly Line[]>((all, line) => join(all, [line]), kept))
  }

  /** The names of the keys that are set, in order. */
  keys(prefix?: string): string[] {
    return this.#now()
      .names()
      .filter(name => isBelow(name, prefix))
  }

  /**
   * Replaces each `x` of the hardware addresses by a random digit, so that saving keeps the address. `digit` gives a
   * number from 0 to 15.
   */
  drawHardwareAddresses(digit: () => number = () => randomInt(16)): this {
    for (const index of this.interfaces()) {
      const template = this.get(`lxc.net.${index}.hwaddr`)
      if (template !== undefined && /x/i.test(template)) {
        this.set(`lxc.net.${index}.hwaddr`, drawHardwareAddress(template, digit))
      }
    }
    return this
  }

  /** A config with the same lines; changes of one do not show in the other. */
  copy(): Config {
    const copy = new Config()
    copy.file = this.file
    copy.diagnostics.push(...this.diagnostics)
    return copy.#replace(this.#lines)
  }

  /** A file that LXC itself would accept; byte by byte what was read, where nothing was changed. */
  toString(): string {
    return printLines(this.#lines)
  }

  /** Writes the file anew and puts it in place of the old one at once; owner and mode stay, new files have 0644. */
  async save(file: string | undefined = this.file): Promise<void> {
    if (file === undefined) {
      throw new ContainerError('ERR_INVALID_OPTION', 'Cannot save the config: it has no file', { hint: 'name one' })
    }
    await writeSafely(await realpath(file).catch(() => file), encode(this.toString()))
    this.file ??= file
  }

  #now(): State {
    this.#state ??= evaluate(this.#lines)
    return this.#state
  }

  #take(lines: readonly Line[], reader: ConfigReader, options: ReadOptions): void {
    const accepted = lines.map(line => accept(line, options.lenient ? reader.diagnostics : undefined))
    this.#replace(join(this.#lines, accepted))
    this.diagnostics.push(...reader.diagnostics)
  }

  #replace(lines: readonly Line[]): this {
    this.#lines = lines
    this.#state = undefined
    return this
  }

  #assign(found: Found, text: string): void {
    const line = settingLine(found, text)
    const at = found.key.many || text === '' ? -1 : this.#lines.indexOf(this.#now().get(found.name)[0]?.line as Line)
    if (at >= 0) {
      const { end } = this.#lines[at] as Line
      this.#replace(this.#lines.with(at, { ...line, end }))
    } else if (found.key.begins && text !== '') {
      const own = new Set(this.entries().flatMap(({ index, line }) => (index === found.index ? [line] : [])))
      const first = this.#lines.findIndex(other => own.has(other))
      const split = first < 0 ? this.#lines.length : first
      this.#replace(join(join(this.#lines.slice(0, split), [line]), this.#lines.slice(split)))
    } else this.#replace(join(this.#lines, [line]))
  }
}

const warned = new Set<string>()

/** One warning of the process for each file: `process.on('warning')` gets it, and Node prints it where nobody listens. */
function warnOfOldNames(file: string, diagnostics: readonly Diagnostic[]): void {
  const old = diagnostics.filter(({ kind }) => kind === 'legacy')
  if (old.length === 0 || warned.has(file)) return
  warned.add(file)
  const lines = old.map(({ line, message }) => `line ${line}: ${message}`)
  process.emitWarning(
    `${file} has names of before LXC 2.1: ${lines[0]}${old.length > 1 ? `, and ${old.length - 1} more` : ''}`,
    {
      type: 'ConfigWarning',
      code: 'CAISSON_OLD_NAMES',
      detail: `${lines.join('\n')}\nlxc-update-config writes the new ones`,
    },
  )
}

function named(key: string, verb: 'get' | 'set'): Found {
  const found = find(key)
  if (found !== undefined && !found.whole) return found
  throw locate(unknownKey(key), `Cannot ${verb} "${key}"`, {})
}

const nameOf = (setting: Setting): string => find(setting.key)?.name ?? setting.key

function isBelow(name: string, prefix: string | undefined): boolean {
  return prefix === undefined || name === prefix || name.startsWith(prefix.endsWith('.') ? prefix : `${prefix}.`)
}

function print(value: unknown): string {
  if (typeof value === 'boolean') return value ? '1' : '0'
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  throw new ContainerError('ERR_CONFIG_VALUE', `Cannot set a config value to a ${typeof value}`)
}

function textOf({ key, text, value }: Entry): string {
  return key.kind.verbatim ? text : key.kind.print(value)
}

function flatten(lines: readonly Line[]): Line[] {
  return lines.flatMap(line => [line, ...flatten(line.included ?? [])])
}

function evaluate(lines: readonly Line[]): State {
  const state = new State()
  for (const line of flatten(lines)) if (line.setting !== undefined) state.apply(line, line.setting)
  return state
}

/** The line, if its setting has a sense; without a list for what is wrong with it, throws. */
function accept(line: Line, wrong: Diagnostic[] | undefined): Line {
  const included = line.included?.map(inner => accept(inner, wrong))
  const { setting, ...raw } = line
  if (setting === undefined) return line
  try {
    interpret(setting)
    return included === undefined ? line : { ...line, included }
  } catch (error) {
    const unknown = error instanceof ContainerError && error.code === 'ERR_CONFIG_UNKNOWN_KEY'
    const place = { file: line.file, line: line.number, column: unknown ? setting.keyColumn : setting.valueColumn }
    const located = locate(error, `Cannot set "${setting.key}"`, place)
    if (wrong === undefined) throw located
    const [message] = located.message.split('\n  hint: ') as [string]
    wrong.push({ kind: unknown ? 'unknown' : 'value', message, hint: located.hint, ...place, column: located.column })
    return raw
  }
}

/** Both, with a line break between them. */
function join(before: readonly Line[], after: readonly Line[]): readonly Line[] {
  const last = before.at(-1)
  if (last === undefined || last.end !== '' || after.length === 0) return [...before, ...after]
  return [...before.slice(0, -1), { ...last, end: before.find(({ end }) => end !== '')?.end ?? '\n' }, ...after]
}

function settingLine(found: Found, text: string): Line {
  try {
    const raw = printLine(found.name, text)
    const setting = readLine(raw) as Setting
    const line: Line = { raw, end: '\n', setting }
    interpret(setting)
    if (found.name !== 'lxc.include' || text === '') return line
    return { ...line, included: readNow(new ConfigReader().include(text, {})).map(inner => accept(inner, undefined)) }
  } catch (error) {
    throw locate(error, `Cannot set "${found.name}"`, {})
  }
}

/**
 * What goes with a key, as in LXC: both lists of capabilities, the whole interface with its type. A key with a value of
 * its own is no prefix: `lxc.autodev` does not take `lxc.autodev.tmpfs.size` with it.
 */
function clearedWith(key: string): readonly string[] {
  const found = find(key)
  if (found?.key.begins) return [`lxc.net.${found.index}`, `caisson.net.${found.index}`]
  const family = found === undefined || found.whole || found.key.kind === nothing
  return [...(family ? [key] : []), ...(found?.key.clears ?? [])]
}

/** One line undoes a whole interface, where all of it is to go. */
function wholeInterface(name: string, prefixes: readonly string[]): string {
  const index = find(name)?.index
  return index !== undefined && prefixes.some(prefix => isBelow(`lxc.net.${index}`, prefix)) ? `lxc.net.${index}` : name
}

/** The line that undoes what an included file has set. Some keys have another default than what an empty value means. */
function clearingLine(name: string, state: State): Line {
  const found = state.get(name)[0] ?? (find(name) as Found)
  const { empty, kind } = found.key
  if (empty === 'refuse') {
    throw new ContainerError('ERR_CONFIG_CONFLICT', `Cannot clear "${name}": an included file sets it`, {
      hint: 'LXC has no line that unsets this key: remove it from the included file, or set it to another value',
    })
  }
  return settingLine(found, typeof empty === 'object' ? kind.print(found.key.default) : '')
}

async function writeSafely(file: string, bytes: Buffer): Promise<void> {
  const temporary = `${file}.${process.pid}.${randomInt(2 ** 32)}.tmp`
  const old = await stat(file).catch(() => undefined)
  try {
    await using handle = await open(temporary, 'wx', 0o644)
    await handle.writeFile(bytes)
    await handle.sync()
    if (old !== undefined) {
      await handle.chmod(old.mode & 0o7777)
      if (old.uid !== process.getuid?.() || old.gid !== process.getgid?.()) await handle.chown(old.uid, old.gid)
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await using directory = await open(dirname(file))
  await directory.sync()
}
