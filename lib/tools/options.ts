/**
 * The options of the lxc-* tools as tables, and reading a command line by them.
 *
 * As with getopt_long(3): long names may be cut short, options and other words may be mixed, and `--` ends the options. Of a
 * tool that runs a command, the command's first word ends them, too, so that its options need no `--`.
 */
import { parseArgs } from 'node:util'
import { nearest } from '../errors.ts'

/** One option of a tool. */
export interface Option {
  /** The one letter that stands for it. */
  readonly short?: string
  /** What its value is, in capitals; without it the option is a switch. */
  readonly value?: string
  /** It may stand without its value; given, the value is written `-sVALUE` or `--name=VALUE`. */
  readonly optional?: true
  /** It may be given several times. */
  readonly multiple?: true
  /** The words that its value may be, for shell completion. */
  readonly words?: readonly string[]
  readonly help: string
}
export type OptionTable = Readonly<Record<string, Option>>

type ValueOf<O extends Option> = O extends { multiple: true }
  ? readonly string[]
  : O extends { optional: true }
    ? string | true
    : O extends { value: string }
      ? string
      : true

/** What was given, by the names of the table. */
export type Values<T extends OptionTable> = { readonly [K in keyof T]?: ValueOf<T[K]> }

/** What other words than options a tool takes: none, any, or a command with options of its own. */
export type Words = 'none' | 'any' | 'command'

/** What every tool understands, unless its own table uses the letter otherwise. */
export const SHARED = {
  name: { short: 'n', value: 'NAME', help: 'the container; the first word that is no option does as well' },
  lxcpath: { short: 'P', value: 'PATH', multiple: true, help: 'where the containers are, instead of lxc.lxcpath' },
  logfile: { short: 'o', value: 'FILE', help: 'append what happens to this file' },
  logpriority: { short: 'l', value: 'LEVEL', help: 'how much of it: TRACE to FATAL; default ERROR' },
  quiet: { short: 'q', help: 'say nothing about failures' },
  rcfile: { value: 'FILE', help: 'use this config instead of the container’s' },
  version: { help: 'print the version and end' },
  help: { short: '?', help: 'print this and end' },
  usage: { help: 'print a short usage and end' },
} as const satisfies OptionTable

/** A mistake on the command line. */
export class UsageError extends Error {}

/** The table of a tool together with what is shared; its own rows win, and so do its own letters. */
export function withShared(own: OptionTable): OptionTable {
  const letters = new Set(Object.values(own).map(({ short }) => short))
  const shared = Object.entries<Option>(SHARED).map(([name, { short, ...option }]) => {
    const free = short !== undefined && !letters.has(short)
    return [name, free ? { ...option, short } : option] as const
  })
  const help = letters.has('h') ? [] : [['h', { short: 'h', help: '' }] as const]
  return { ...Object.fromEntries([...shared, ...help]), ...own }
}

/** A command line, read. */
export interface Given {
  readonly values: Readonly<Record<string, string | true | readonly string[]>>
  /** The words that are no options: the name first, unless `--name` gave it. */
  readonly words: readonly string[]
}

/** Reads a command line. `named`: the tool is about one container. Throws UsageError. */
export function readArguments(args: readonly string[], own: OptionTable, words: Words, named: boolean): Given {
  const table = withShared(own)
  const spelled = spellOut([...args], table, words, named)
  const { tokens, end } = tokenize(spelled, table, words, named)
  const values: Record<string, string | true | string[]> = {}
  for (const token of tokens) {
    if (token.kind !== 'option' || token.index >= end) continue
    const option = table[token.name] as Option
    const value = readValue(token.name, token.rawName, option, token.value)
    if (option.multiple) values[token.name] = [...((values[token.name] as string[]) ?? []), value as string]
    else values[token.name] = value
  }
  if (values.h) values.help = true
  const before = tokens.flatMap(token => (token.kind === 'positional' && token.index < end ? [token.value] : []))
  const rest = spelled.slice(spelled[end] === '--' ? end + 1 : end)
  return { values, words: [...before, ...rest] }
}

function readValue(name: string, raw: string, option: Option, value: string | undefined): string | true {
  if (option.value === undefined && value !== undefined) throw new UsageError(`option --${name} takes no value`)
  if (option.value !== undefined && value === undefined && !option.optional)
    throw new UsageError(`option ${raw} needs a value: ${option.value}`)
  return value ?? true
}

/** The tokens of a command line, and the index of the word from which on everything is the command's. */
function tokenize(args: string[], table: OptionTable, words: Words, named: boolean) {
  const options = Object.fromEntries(
    Object.entries(table).map(([name, { short, value, optional }]) => [
      name,
      {
        type: value === undefined || optional ? ('boolean' as const) : ('string' as const),
        ...(short === undefined ? {} : { short }),
      },
    ]),
  )
  const { tokens } = parseArgs({ args, options, strict: false, allowPositionals: true, tokens: true })
  let missing = named
  for (const token of tokens) {
    if (token.kind === 'option-terminator') return { tokens, end: token.index }
    if (token.kind === 'option' && token.name === 'name') missing = false
    if (token.kind !== 'positional') continue
    if (words === 'command' && !missing) return { tokens, end: token.index }
    missing = false
  }
  return { tokens, end: args.length }
}

/** Writes cut and glued options in full, one after the other, since how one is read changes what follows. */
function spellOut(args: string[], table: OptionTable, words: Words, named: boolean): string[] {
  const { tokens, end } = tokenize(args, table, words, named)
  for (const token of tokens) {
    if (token.kind !== 'option' || token.index >= end) continue
    const option = table[token.name]
    const word = args[token.index] as string
    if (option?.optional && /^-[^-]./.test(word) && word[1] === option.short) {
      args[token.index] = `--${token.name}=${word.slice(2)}`
      return spellOut(args, table, words, named)
    }
    if (option !== undefined) continue
    args[token.index] = word.replace(token.rawName, `--${complete(token.name, token.rawName, table)}`)
    return spellOut(args, table, words, named)
  }
  return args
}

/** The one long name that begins so. */
function complete(name: string, raw: string, table: OptionTable): string {
  const known = Object.keys(table).filter(each => each !== 'h')
  const candidates = raw.startsWith('--') ? known.filter(each => each.startsWith(name)) : []
  if (candidates.length === 1) return candidates[0] as string
  if (candidates.length > 1)
    throw new UsageError(`option ${raw} may be ${candidates.map(one => `--${one}`).join(', ')}`)
  const near = raw.startsWith('--') ? nearest(name, known) : undefined
  throw new UsageError(`unknown option ${raw}${near === undefined ? '' : `; did you mean --${near}?`}`)
}
