/** What the lines of a config amount to: later ones replace, append or clear, each key in its own way. */
import { ContainerError } from '../errors.ts'
import type { Line } from './file.ts'
import type { Key } from './key.ts'
import { didYouMean } from './kinds.ts'
import { RENAMED } from './legacy.ts'
import type { Setting } from './line.ts'
import { mistake } from './mistake.ts'
import { type Found, find, nearestKey } from './names.ts'

/** One value in force. */
export interface Entry extends Found {
  /** As it was written, without what shares its line. */
  readonly text: string
  readonly value: unknown
  readonly line: Line
}

/** Values in force, by name; those of one name in order. Map order is that of the first assignment. */
export class State {
  readonly #entries = new Map<string, Entry[]>()

  get(name: string): readonly Entry[] {
    return this.#entries.get(name) ?? []
  }

  names(): string[] {
    return [...this.#entries.keys()]
  }

  /** All values in the order of their lines. */
  all(): Entry[] {
    return [...this.#entries.values()].flat()
  }

  /** Throws a mistake for an unknown key or a value outside its domain, and then has changed nothing. */
  apply(line: Line, setting: Setting): void {
    const { found, values } = interpret(setting)
    if (values === undefined) this.#clear(found, line)
    else this.#assign(found, line, values)
  }

  #assign(found: Found, line: Line, values: readonly Value[]): void {
    const { key, name } = found
    if (key.begins) this.#forgetInterface(found.index)
    const entries = key.many ? (this.#entries.get(name) ?? []) : []
    for (const value of values) append(entries, enter(found, value, line))
    this.#entries.set(name, entries)
  }

  #clear(found: Found, line: Line): void {
    const { key, name, pattern } = found
    if (found.whole) this.#forgetPattern(pattern)
    else if (pattern === 'lxc.net') this.#forgetInterface()
    else if (key.begins || pattern === 'lxc.net.[i]') this.#forgetInterface(found.index)
    else this.#forget(other => other === name || (key.clears?.includes(other) ?? false))
    if (typeof key.empty === 'object') {
      const { value } = key.empty
      this.#entries.set(name, [enter(found, { text: key.kind.print(value), value }, line)])
    }
  }

  #forget(which: (name: string) => boolean): void {
    for (const name of this.#entries.keys()) if (which(name)) this.#entries.delete(name)
  }

  /** One interface, or all. */
  #forgetInterface(index?: number): void {
    this.#forget(name => {
      const own = this.#entries.get(name)?.[0]?.index
      return own !== undefined && (index === undefined || own === index)
    })
  }

  #forgetPattern(pattern: string): void {
    this.#forget(name => this.#entries.get(name)?.[0]?.pattern === pattern)
  }
}

/** One of the values that share a line. */
export interface Value {
  readonly text: string
  readonly value: unknown
}

/** What a setting says; without values it clears. */
interface Meaning {
  readonly found: Found
  readonly values: readonly Value[] | undefined
}

/** A line is read when it comes and applied again after every change of the config. */
const meanings = new WeakMap<Setting, Meaning>()

/** Throws a mistake for an unknown key or a value outside its domain. */
export function interpret(setting: Setting): Meaning {
  const known = meanings.get(setting)
  if (known !== undefined) return known
  const { key: name, value } = setting
  const found = find(name)
  if (found === undefined) throw unknownKey(name)
  if (found.whole && value !== '') throw mistake(`"${name}" has no value of its own`, `name one of its keys: ${name}.…`)
  if (value === '' && found.key.empty === 'refuse') {
    throw mistake('the value is empty', 'LXC has no empty value for this key')
  }
  const meaning = { found, values: value === '' ? undefined : readValues(found.key, value) }
  meanings.set(setting, meaning)
  return meaning
}

/** Field by field: a spread of the row costs more than all the rest of reading a config. */
function enter({ name, pattern, key, index, member }: Found, { text, value }: Value, line: Line): Entry {
  return { name, pattern, key, index, member, text, value, line }
}

/** The values that share a line. */
export function readValues(key: Key, text: string): Value[] {
  if (key.split === undefined) return [{ text, value: key.kind.parse(text) }]
  const separator = key.split === 'blank' ? /[^ \t]+/g : /[^,]+/g
  return [...text.matchAll(separator)].map(({ 0: word, index }) => {
    const trimmed = word.trim()
    try {
      return { text: trimmed, value: key.kind.parse(trimmed) }
    } catch (error) {
      if (!(error instanceof ContainerError)) throw error
      throw mistake(error.message.split('\n')[0] as string, error.hint, index + word.indexOf(trimmed))
    }
  })
}

/** Adds to a list, in place: a copy for each value would cost the square of a long list. */
function append(entries: Entry[], next: Entry): void {
  const { slot, reset } = next.key
  if (reset !== undefined && next.value === reset) entries.length = 0
  const same = slot === undefined ? -1 : entries.findIndex(entry => slot(entry.value) === slot(next.value))
  if (same >= 0) entries.splice(same, 1)
  entries.push(next)
}

/** With the key that is probably meant. */
export function unknownKey(name: string): ContainerError {
  const renamed = Object.hasOwn(RENAMED, name) ? RENAMED[name] : undefined
  const near = nearestKey(name)
  const hint = renamed === undefined ? near && didYouMean(name, [near]) : `its name is "${renamed}" since LXC 2.1`
  return new ContainerError('ERR_CONFIG_UNKNOWN_KEY', `there is no key "${name}"`, { hint })
}
