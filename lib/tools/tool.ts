/** What an lxc-* tool is, and how one is run: its table is read, its failures become sentences and exit codes. */
import { appendFileSync, realpathSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config/config.ts'
import type { Container } from '../container.ts'
import { ContainerError } from '../errors.ts'
import type { Completing } from './completion.ts'
import { describe, usage } from './help.ts'
import {
  type Given,
  type OptionTable,
  readArguments,
  type SHARED,
  UsageError,
  type Values,
  type Words,
} from './options.ts'

/** A tool: one of the files lxc-*.ts. */
export interface Tool<T extends OptionTable = OptionTable> {
  readonly name: string
  /** One line: what it does. */
  readonly summary: string
  /** What follows the name and the options in its usage. */
  readonly synopsis?: string
  readonly options: T
  /** Whether it is about one container, whose name has to be given. Default true. */
  readonly named?: boolean
  readonly words?: Words
  /** It does its work, whatever is wrong with the container's config. */
  readonly lenient?: true
  /** More for `--help`, in paragraphs. */
  readonly details?: string
  /** Which containers it can do something with, for shell completion; default: all. */
  readonly containers?: 'all' | 'active' | 'stopped'
  /** What the words behind the name are, for shell completion. */
  readonly wordsAre?: Completing
  /** What each exit code means; default: 0 it was done, 1 it was not. */
  readonly exitCodes?: Readonly<Record<string, string>>
  /** Calls of it, with what each does. */
  readonly examples: readonly (readonly [call: string, does: string])[]
  /** Does it; the exit code, or the signal by which this program is to end. */
  run(call: Call<T>): Promise<number | NodeJS.Signals>
}

/** One call of a tool. */
export interface Call<T extends OptionTable> {
  readonly options: Values<T> & Values<Omit<typeof SHARED, keyof T>>
  /** The container's name; empty for tools that are not about one. */
  readonly name: string
  /** `--lxcpath`, the first of several. */
  readonly lxcpath: string | undefined
  /** All of them; one that is undefined stands for lxc.lxcpath. */
  readonly lxcpaths: readonly (string | undefined)[]
  readonly words: readonly string[]
  /** The container that is meant. `undefined`: with `--rcfile` it need not be on disk. */
  open(options?: { undefined?: true }): Promise<Container>
  /** Prints one line. */
  say(line: string): void
  /** One line on stderr, under the tool's name. */
  warn(line: string): void
  /** One line for the log file. */
  log(level: Level, line: string): void
}

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'NOTICE', 'WARN', 'ERROR', 'CRIT', 'ALERT', 'FATAL'] as const
export type Level = (typeof LEVELS)[number]

/** Keeps the types of the table. */
export function defineTool<T extends OptionTable>(tool: Tool<T>): Tool<T> {
  return tool
}

/** Runs the tool when its file is the program that was started, by whichever link. */
export function main<T extends OptionTable>(meta: ImportMeta, tool: Tool<T>): void {
  const program = process.argv[1]
  if (program !== undefined && realpathSync(program) === fileURLToPath(meta.url)) start(tool)
}

/** Runs the tool with this process's command line, and ends the process with its exit code. */
export function start<T extends OptionTable>(tool: Tool<T>): void {
  // A reader that has seen enough (`lxc-ls | head`) is no failure.
  process.stdout.on('error', error => process.exit((error as NodeJS.ErrnoException).code === 'EPIPE' ? 0 : 1))
  // A remark of the library is one of the tool's; Node would add how its programmer finds out more.
  process.removeAllListeners('warning')
  process.on('warning', ({ message }) => void process.stderr.write(`${tool.name}: ${message}\n`))
  runTool(tool, process.argv.slice(2)).then(end => process.stdout.write('', () => finish(end)))
}

function finish(end: number | NodeJS.Signals): void {
  if (typeof end === 'number') process.exit(end)
  process.removeAllListeners(end)
  process.kill(process.pid, end)
  // A signal that ends no process by itself, as SIGCHLD, has the exit code that a shell would give it.
  setTimeout(() => process.exit(128 + constants.signals[end]), 100)
}

/** Runs a tool with a command line; the exit code, or the signal by which the process is to end. */
export async function runTool<T extends OptionTable>(
  tool: Tool<T>,
  args: readonly string[],
): Promise<number | NodeJS.Signals> {
  let call: Call<T> | undefined
  try {
    const given = readArguments(args, tool.options, tool.words ?? 'none', tool.named ?? true)
    const answer = await answerQuestions(tool, given)
    if (answer !== undefined) return answer
    call = makeCall(tool, given)
    return await tool.run(call)
  } catch (error) {
    return fail(tool, error, call)
  }
}

async function answerQuestions<T extends OptionTable>(tool: Tool<T>, { values }: Given): Promise<number | undefined> {
  const own = (name: string) => values[name] === true && !(name in tool.options)
  const text = own('help') ? describe(tool) : own('usage') ? usage(tool) : own('version') ? await readVersion() : ''
  if (text === '') return undefined
  process.stdout.write(`${text}\n`)
  return 0
}

async function readVersion(): Promise<string> {
  return (await import('../version.ts')).version
}

function makeCall<T extends OptionTable>(tool: Tool<T>, given: Given): Call<T> {
  const words = [...given.words]
  const named = tool.named ?? true
  const called = given.values.name as string | undefined
  const name = named ? (called ?? words.shift()) : (called ?? '')
  if (name === undefined) throw new UsageError('missing container name, use --name option')
  if (words.length > 0 && (tool.words ?? 'none') === 'none')
    throw new UsageError(`unexpected ${JSON.stringify(words[0])}: ${tool.name} takes no more than options`)
  const options = given.values as unknown as Call<T>['options']
  const lxcpaths = (given.values.lxcpath as readonly string[] | undefined) ?? [undefined]
  const [lxcpath] = lxcpaths
  return {
    options,
    name,
    lxcpath,
    lxcpaths,
    words,
    open: async ({ undefined: mayBeUndefined = false } = {}) => {
      const { Container: Containers } = await import('../container.ts')
      const path = lxcpath === undefined ? {} : { path: lxcpath }
      const file = given.values.rcfile
      if (typeof file === 'string' && mayBeUndefined)
        return Containers.open(name, { ...path, config: await readConfig(file) })
      const container = await Containers.open(name, { ...path, lenient: tool.lenient ?? false })
      if (typeof file === 'string') await replaceConfig(container, file)
      return container
    },
    say: line => void process.stdout.write(`${line}\n`),
    warn: line => void process.stderr.write(`${tool.name}: ${line}\n`),
    log: makeLog(tool.name, name, given.values),
  }
}

/** The keys of the file, and nothing of the container's own. */
async function replaceConfig(container: Container, file: string): Promise<void> {
  container.config.clear()
  await container.config.load(file)
}

async function readConfig(file: string): Promise<Config> {
  const { Config: Configs } = await import('../config/config.ts')
  return Configs.read(file)
}

/** LXC's log lines: `lxc-start web 20260131235959.123 ERROR    text`. */
function makeLog(tool: string, name: string, values: Given['values']): (level: Level, line: string) => void {
  const { logfile } = values
  const wanted = String(values.logpriority ?? 'ERROR').toUpperCase()
  const least = LEVELS.findIndex(level => level === wanted || level.slice(0, 4) === wanted.slice(0, 4))
  if (least < 0) throw new UsageError(`unknown log priority ${wanted}: it is one of ${LEVELS.join(', ')}`)
  if (typeof logfile !== 'string' || logfile === 'none') return () => undefined
  return (level, line) => {
    if (LEVELS.indexOf(level) < least) return
    const at = new Date().toISOString().replace(/[-:TZ]/g, '')
    appendFileSync(logfile, `${tool} ${name} ${at} ${level.padEnd(8)} ${line}\n`, { mode: 0o640 })
  }
}

/** Hints of the library speak of its methods; these say the same of the tools. */
const HINTS: Readonly<Record<string, string>> = {
  ERR_CONTAINER_NOT_FOUND: 'lxc-ls names those that exist; --lxcpath says where to look',
  ERR_CONTAINER_RUNNING: 'stop it first with lxc-stop',
  ERR_CONTAINER_NOT_RUNNING: 'start it first with lxc-start',
  ERR_CONTAINER_FROZEN: 'thaw it first with lxc-unfreeze',
}

function textOf(error: Error): string {
  if (error instanceof UsageError) return error.message
  if (!(error instanceof ContainerError)) return error.stack ?? error.message
  const hint = HINTS[error.code]
  return hint === undefined ? error.message : `${error.message.split('\n  hint: ', 1)[0]}\n  hint: ${hint}`
}

/** `lxc-start: web: Cannot start …`, and the hint on a line of its own. */
function fail<T extends OptionTable>(tool: Tool<T>, error: unknown, call: Call<T> | undefined): number {
  if (!(error instanceof Error)) throw error
  const name = call?.name ? `${call.name}: ` : ''
  const text = textOf(error)
  call?.log('ERROR', text.replaceAll('\n', ' '))
  if (!call?.options.quiet) {
    process.stderr.write(`${tool.name}: ${name}${text}\n`)
    if (error instanceof UsageError) process.stderr.write(`  hint: ${tool.name} --help names the options\n`)
  }
  return 1
}

/** A number of seconds, or another natural number, from an option. */
export function readNumber(text: string, option: string, least = 0): number {
  const number = Number(text)
  if (text.trim() !== '' && Number.isInteger(number) && number >= least) return number
  throw new UsageError(`--${option} takes a whole number from ${least} on, not ${JSON.stringify(text)}`)
}
