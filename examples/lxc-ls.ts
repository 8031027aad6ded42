#!/usr/bin/env node
/** lxc-ls(1) */
import { ContainerError } from '../lib/errors.ts'
import type { State } from '../lib/events.ts'
import { readInits } from '../lib/nested.ts'
import type { Stats } from '../lib/stats.ts'
import { UsageError, type Values } from '../lib/tools/options.ts'
import { ContainerRow, type Row, withNested } from '../lib/tools/rows.ts'
import { columns, table } from '../lib/tools/text.ts'
import { defineTool, main, readNumber } from '../lib/tools/tool.ts'

const COLUMN_NAMES = 'NAME STATE PID RAM SWAP AUTOSTART GROUPS INTERFACE IPV4 IPV6 UNPRIVILEGED'.split(' ')

const OPTIONS = {
  line: { short: '1', help: 'one name on each line' },
  fancy: { short: 'f', help: 'a table with state, autostart, groups, addresses' },
  'fancy-format': {
    short: 'F',
    value: 'COLUMNS',
    words: COLUMN_NAMES,
    help: 'with --fancy: the columns of the table, separated by commas',
  },
  active: { help: 'only those that have processes' },
  running: { help: 'only those that are RUNNING' },
  frozen: { help: 'only those that are FROZEN' },
  stopped: { help: 'only those that are STOPPED' },
  defined: { help: 'only those that have a config' },
  nesting: {
    value: 'DEPTH',
    optional: true,
    help: 'and those inside running ones, so many levels deep; without a value five',
  },
  groups: { short: 'g', value: 'GROUPS', help: 'only those in one of these groups, separated by commas' },
  filter: { value: 'REGEX', help: 'only those whose name matches' },
} as const

export const tool = defineTool({
  name: 'lxc-ls',
  summary: 'Lists the containers.',
  named: false,
  words: 'any',
  synopsis: '[REGEX]',
  options: OPTIONS,
  details: `Columns: ${COLUMN_NAMES.join(' ')}. One inside another is marked by a backslash; what it uses is counted with that.`,
  exitCodes: { 0: 'they were listed', 1: 'there is no such column, or the expression is none' },
  examples: [
    ['lxc-ls --fancy', 'a table'],
    ['lxc-ls -f -F NAME,STATE,RAM --running', 'other columns, of those that run'],
    ["lxc-ls -1 --filter='^web'", 'names, one on each line'],
  ],
  async run({ options, words, lxcpaths, say }) {
    const wanted = options['fancy-format'] === undefined ? DEFAULT : readColumns(options['fancy-format'])
    const deepest = readDepth(options.nesting)
    const states = chosenStates(options)
    const found: Row[] = []
    for (const path of lxcpaths) found.push(...(await find(path, options)))
    if (states !== undefined || options.fancy || deepest > 0) await each(found, row => row.look())
    const processes = deepest > 0 ? readInits() : []
    const rows = found.flatMap(row => withNested(row, deepest, processes))
    const isMeant = chooser(options, states, words[0])
    const shown = rows.filter(isMeant)
    if (shown.length === 0) return 0
    if (options.fancy) {
      const cells = await each(shown, row => Promise.all(wanted.map(column => COLUMNS[column](row))))
      for (const line of table([wanted, ...cells])) say(line)
      return 0
    }
    const names = shown.map(({ name }) => name)
    for (const line of options.line || !process.stdout.isTTY ? names : columns(names, process.stdout.columns)) say(line)
    return 0
  },
})

/** The containers of an lxcpath, by name. */
async function find(path: string | undefined, options: Values<typeof OPTIONS>): Promise<Row[]> {
  const { Container } = await import('../lib/container.ts')
  const state = options.defined ? 'defined' : options.active && !options.stopped ? 'active' : 'all'
  const all = await Container.list({ state, ...(path === undefined ? {} : { path }) })
  return all.map(container => new ContainerRow(container))
}

/** Whether one is in a state, a group, and of a name that was asked for. */
function chooser(options: Values<typeof OPTIONS>, states: readonly State[] | undefined, word: string | undefined) {
  const pattern = readPattern(options.filter ?? word)
  const groups = options.groups?.split(',')
  return (row: Row) =>
    pattern.test(row.name) &&
    (states?.includes(row.state) ?? true) &&
    (groups?.some(group => row.groups.includes(group)) ?? true)
}

/** `--nesting` alone is five deep, as in LXC. */
function readDepth(nesting: string | true | undefined): number {
  return nesting === undefined ? 0 : nesting === true ? 5 : readNumber(nesting, 'nesting')
}

/** As many as are asked about at a time: each costs a process of ours for a moment. */
const AT_ONCE = 16

async function each<T>(rows: readonly Row[], act: (row: Row) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let at = 0; at < rows.length; at += AT_ONCE)
    results.push(...(await Promise.all(rows.slice(at, at + AT_ONCE).map(act))))
  return results
}

const mebibytes = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(2)}MB`
/** What only a running container has; one that ends meanwhile has none. */
const ifRunning = (read: (row: Row) => Promise<string>) => async (row: Row) =>
  row.pid === undefined ? '' : read(row).catch(missing)

function missing(error: Error): string {
  if (error instanceof ContainerError) return ''
  throw error
}

const ips = (family: 4 | 6) => ifRunning(async row => (await row.ips(family)).join(', '))
const memory = (of: (memory: Stats['memory']) => number) =>
  ifRunning(async row => {
    const stats = await row.stats()
    return stats === undefined ? '' : mebibytes(of(stats.memory))
  })

const COLUMNS = {
  NAME: async ({ name, depth }: Row) => (depth === 0 ? name : `${'\\'.padStart(depth)}${name}`),
  STATE: async ({ state }: Row) => state,
  PID: async ({ pid }: Row) => String(pid ?? ''),
  RAM: memory(({ current }) => current),
  SWAP: memory(({ swap = 0 }) => swap),
  AUTOSTART: async ({ autostart }: Row) => (autostart ? '1' : '0'),
  GROUPS: async ({ groups }: Row) => groups.join(', '),
  INTERFACE: ifRunning(async row =>
    (await row.interfaces()).flatMap(({ name }) => (name === 'lo' ? [] : [name])).join(', '),
  ),
  IPV4: ips(4),
  IPV6: ips(6),
  UNPRIVILEGED: async ({ unprivileged }: Row) => String(unprivileged),
} satisfies Record<string, (row: Row) => Promise<string>>
type Column = keyof typeof COLUMNS

const DEFAULT: Column[] = ['NAME', 'STATE', 'AUTOSTART', 'GROUPS', 'IPV4', 'IPV6', 'UNPRIVILEGED']

function readColumns(text: string): Column[] {
  return text.split(',').map(word => {
    const column = word.trim().toUpperCase()
    if (column in COLUMNS) return column as Column
    throw new UsageError(`unknown column ${word}: known are ${Object.keys(COLUMNS).join(', ')}`)
  })
}

function readPattern(text = ''): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function chosenStates(options: { running?: true; frozen?: true; stopped?: true; active?: true; defined?: true }) {
  const states: State[] = [
    ...(options.running ? (['RUNNING'] as const) : []),
    ...(options.frozen ? (['FROZEN'] as const) : []),
    ...(options.stopped ? (['STOPPED'] as const) : []),
  ]
  return states.length === 0 || options.defined ? undefined : states
}

main(import.meta, tool)
