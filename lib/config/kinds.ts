/**
 * Kinds of value: how the text of a config value is read, written and described. Pure; every key of the table names one.
 *
 * `print(parse(text))` means the same as `text`, and `parse(print(value))` equals `value`. A kind never sees an empty
 * text: what emptiness does belongs to the key.
 */
import { nearest } from '../errors.ts'
import { mistake } from './mistake.ts'

/** `T` is what the text means; `Input` is what a program may hand to `Config.set` in its place. */
export interface Kind<T = unknown, Input = unknown> {
  /** Completes "must be …". */
  readonly describe: string
  parse(text: string): T
  print(value: T): string
  /** All words it accepts, for completion and "did you mean"; absent when they cannot be listed. */
  readonly words?: readonly string[]
  /** `get` gives the text as it was written, because LXC does. */
  readonly verbatim?: boolean
  /** Only for the type checker. */
  readonly input?: Input
}

export type ValueOfKind<K> = K extends Kind<infer T, infer _> ? T : never
export type InputOfKind<K> = K extends Kind<infer _, infer Input> ? Input : never

/** Any text; LXC hands it on as it is. */
export function text(describe = 'text', most = 4096): Kind<string, string> {
  return {
    describe,
    verbatim: true,
    parse(value) {
      if (Buffer.byteLength(value) > most) throw mistake(`${quote(value)} is longer than ${most} bytes`)
      return value
    },
    print: value => value,
  }
}

/** One of a few words, spelled exactly. */
export function word<const W extends string>(...words: readonly W[]): Kind<W, W> {
  return {
    describe: `one of ${words.join(', ')}`,
    words,
    parse(value) {
      if ((words as readonly string[]).includes(value)) return value as W
      throw mistake(`${quote(value)} is not one of ${words.join(', ')}`, didYouMean(value, words))
    },
    print: value => value,
  }
}

/** LXC reads numbers with strtoul(…, 0): decimal, 0x… hexadecimal, 0… octal. */
const NUMBER = /^[+]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/

function readNumber(value: string): number | undefined {
  const digits = value.replace(/^[+]/, '')
  if (!NUMBER.test(value)) return undefined
  return /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits)
}

/** A whole number from `least` to `most`. */
export function whole(least = 0, most = 4294967295, describe?: string): Kind<number, number | `${number}`> {
  const domain = describe ?? `a whole number from ${least} to ${most}`
  return {
    describe: domain,
    parse(value) {
      const negative = least < 0 && value.startsWith('-')
      const number = readNumber(negative ? value.slice(1) : value)
      if (number === undefined) throw mistake(`${quote(value)} is not ${domain}`)
      const signed = negative ? 0 - number : number
      if (signed < least || signed > most) throw mistake(`${quote(value)} is not ${domain}`)
      return signed
    },
    print: String,
  }
}

/** `0` or `1`; LXC has no other spelling. */
export const bool: Kind<boolean, boolean | 0 | 1 | '0' | '1'> = {
  describe: '0 or 1',
  words: ['0', '1'],
  parse(value) {
    const number = readNumber(value)
    if (number === 0 || number === 1) return number === 1
    const hint = /^(true|yes|on|false|no|off)$/i.test(value) ? 'LXC writes booleans as 0 and 1' : undefined
    throw mistake(`${quote(value)} is not 0 or 1`, hint)
  },
  print: value => (value ? '1' : '0'),
}

/** A path; repeated slashes and `/./` collapse, as in LXC, and nothing else is changed: no `~`, no variables. */
export const path: Kind<string, string> = {
  describe: 'a path of at most 4095 bytes',
  parse: readPath,
  print: value => value,
}

function readPath(value: string): string {
  if (Buffer.byteLength(value) > 4095) throw mistake('a path is longer than 4095 bytes')
  return simplify(value)
}

/** `//`, `/./` and a trailing `/` say nothing. */
export function simplify(value: string): string {
  const parts = value.split('/').filter((part, index) => index === 0 || (part !== '' && part !== '.'))
  return parts.length === 1 && parts[0] === '' ? '/' : parts.join('/')
}

/** A path below some directory: not absolute, and not upwards. */
export const relativePath: Kind<string, string> = {
  describe: 'a relative path without ".."',
  parse(value) {
    if (value.startsWith('/')) throw mistake(`${quote(value)} is absolute`, 'write the path relative to the hierarchy')
    if (value.includes('..')) throw mistake(`${quote(value)} contains ".."`, 'LXC refuses that anywhere in the path')
    return readPath(value)
  },
  print: value => value,
}

/** One directory name. */
export const directoryName: Kind<string, string> = {
  ...text('one directory name', 255),
  parse(value) {
    if (value.includes('/') || value === '.' || value === '..')
      throw mistake(`${quote(value)} is not one directory name`)
    return value
  },
}

/** A name of an Internet host as uname(2) keeps it: 64 bytes. */
export const hostname: Kind<string, string> = text('a host name of at most 64 bytes', 64)

/** A key that takes no value at all; only its emptiness does something. */
export const nothing: Kind<never, ''> = {
  describe: 'empty',
  parse(value) {
    throw mistake(`${quote(value)} is not empty`, 'this key has no value; written empty, it clears')
  },
  print: () => '',
}

/** A value in a message, cut where it gets long. */
export function quote(value: string): string {
  return JSON.stringify(value.length > 64 ? `${value.slice(0, 61)}…` : value)
}

/** A hint with the nearest word, or none. */
export function didYouMean(value: string, known: readonly string[]): string | undefined {
  const near = nearest(value, known)
  return near === undefined ? undefined : `did you mean ${quote(near)}?`
}
