/** `--help` and `--usage`, from the tables. */
import { type Option, type OptionTable, SHARED, withShared } from './options.ts'
import type { Tool } from './tool.ts'

const LEFT = 30
const WIDTH = 100
const INDENT = '  '

const EXIT_CODES = { 0: 'it was done', 1: 'it was not; stderr says why' }

/** `Usage: lxc-stop [options] NAME`. */
export function usage<T extends OptionTable>(tool: Tool<T>): string {
  return ['Usage:', tool.name, ...((tool.named ?? true) ? ['NAME'] : []), '[options]', tool.synopsis]
    .filter(Boolean)
    .join(' ')
}

/** The whole help: what it does, its own options, those that all tools share, exit codes, examples. */
export function describe<T extends OptionTable>(tool: Tool<T>): string {
  const table = withShared(tool.options)
  const line = (name: string) => row(spell(name, table[name] as Option), (table[name] as Option).help)
  const own = Object.keys(tool.options)
  const shared = Object.keys(SHARED).filter(name => !own.includes(name) && (name !== 'name' || (tool.named ?? true)))
  const codes = Object.entries<string>(tool.exitCodes ?? EXIT_CODES)
  return [
    usage(tool),
    '',
    ...wrap(tool.summary, WIDTH),
    ...section('Description:', paragraphs(tool.details ?? '')),
    ...section('Options:', own.flatMap(line)),
    ...section('Options of all tools:', shared.flatMap(line)),
    ...section(
      'Exit codes:',
      codes.flatMap(([code, meaning]) => row(code, meaning, 8)),
    ),
    ...section(
      'Examples:',
      tool.examples.flatMap(([call, does]) => [`${INDENT}${call}`, ...indent(wrap(does, WIDTH - 6), 6)]),
    ),
  ].join('\n')
}

/** A heading with what stands below it; nothing without that. */
const section = (heading: string, lines: readonly string[]) => (lines.length === 0 ? [] : ['', heading, ...lines])

const indent = (lines: readonly string[], by: number) => lines.map(line => (line === '' ? '' : ' '.repeat(by) + line))

/** Paragraphs are filled; one that is indented stays as it is. */
function paragraphs(text: string): string[] {
  const all = text.trim().split(/\n{2,}/)
  const filled = all.map(one => (one.startsWith(' ') ? one.split('\n') : wrap(one.replaceAll('\n', ' '), WIDTH - 2)))
  return text.trim() === '' ? [] : filled.flatMap((lines, at) => [...(at > 0 ? [''] : []), ...indent(lines, 2)])
}

/** How an option is written: `-t, --timeout=SEC`. */
function spell(name: string, { short, value, optional }: Option): string {
  const long = value === undefined ? `--${name}` : optional ? `--${name}[=${value}]` : `--${name}=${value}`
  return short === undefined ? `    ${long}` : `-${short}, ${long}`
}

function row(term: string, help: string, width = LEFT): string[] {
  const left = INDENT + term
  const [first = '', ...more] = wrap(help, WIDTH - width)
  const start = left.length < width ? [left.padEnd(width) + first] : [left, ' '.repeat(width) + first]
  return [...start, ...indent(more, width)]
}

function wrap(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) as string
    if (last === '') lines[lines.length - 1] = word
    else if (last.length + word.length < width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
