/**
 * Shell completion of the lxc-* tools, from their tables and from the table of config keys. Names of containers are asked for when they
 * are needed, with the lxcpath that the line names; all else stands in the script.
 */
import { completions, completionsOfValue } from '../config/names.ts'
import { type Option, withShared } from './options.ts'
import type { Tool } from './tool.ts'

/** What completes a value: a shell function of the script, or words. */
export type Completing =
  | 'containers'
  | 'files'
  | 'directories'
  | 'keys'
  | 'snapshots'
  | 'interfaces'
  | readonly string[]

/** What the values of options are, by how the tables write them. */
const BY_VALUE: Readonly<Record<string, Completing>> = {
  FILE: 'files',
  PATH: 'directories',
  DIR: 'directories',
  'NAME|PID': 'containers',
  KEY: 'keys',
  'KEY=VALUE': 'keys',
  SNAPSHOT: 'snapshots',
  LEVEL: ['TRACE', 'DEBUG', 'INFO', 'NOTICE', 'WARN', 'ERROR', 'CRIT', 'ALERT', 'FATAL'],
}

/** One way to write an option, of all tools in one shape. */
export interface Completed {
  readonly long: string
  readonly short: string | undefined
  readonly help: string
  /** Undefined: it takes no value. */
  readonly value: string | undefined
  readonly optional: boolean
  readonly multiple: boolean
  /** What may stand there; none: anything. */
  readonly completing: Completing | undefined
}

/** The options of a tool. */
export function completedOptions(tool: Tool): Completed[] {
  const named = tool.named ?? true
  return Object.entries(withShared(tool.options))
    .filter(([name]) => name !== 'h' && (named || name !== 'name' || name in tool.options))
    .map(([long, option]) => ({
      long,
      short: option.short,
      help: option.help,
      value: option.value,
      optional: option.optional ?? false,
      multiple: option.multiple ?? false,
      completing: completingOf(long, option),
    }))
}

function completingOf(long: string, { value, words }: Option): Completing | undefined {
  if (words !== undefined) return words
  if (long === 'name') return 'containers'
  return value === undefined ? undefined : BY_VALUE[value]
}

/** What completes the words that are no options: the container, and then what the tool says. */
export const completedWords = ({ named = true, wordsAre }: Tool): readonly Completing[] => [
  ...(named ? ['containers' as const] : []),
  ...(wordsAre === undefined ? [] : [wordsAre]),
]

/** The options of lxc-ls that list the containers a tool can do something with. */
export const listing = ({ containers = 'all' }: Tool): string =>
  ({ all: '', active: '--active', stopped: '--stopped' })[containers]

/** All config keys, and the values of those that take one of some words. */
export function keys(): { readonly names: readonly string[]; readonly values: ReadonlyMap<string, readonly string[]> } {
  const names = completions()
  const values = names.map(name => [name, completionsOfValue(name)] as const).filter(([, words]) => words.length > 0)
  return { names, values: new Map(values) }
}

/** A word of a shell that is nothing but itself. */
export const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
