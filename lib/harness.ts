/**
 * Sandboxes for tests: one for each test, with its files, gone at its end; what was run in it is told when the test fails.
 *
 * The runner is whoever calls the function with a context: node:test, tap, vitest and those that are like them. What each calls what we need
 * is in one table, {@link RunnerContext}; a runner without any of it gets the log on standard error.
 */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { ContainerError, refuseUnknown } from './errors.ts'
import type { Files } from './files.ts'
import type { ContainerProcess, ExecResult } from './process.ts'
import { type Sandbox, type SandboxRunOptions, sandbox } from './sandbox.ts'
import { SANDBOX_OPTIONS, type SandboxOptions } from './spec/sandbox_options.ts'

/** The directory that belongs to the test: writable, empty but for `files`, and where programs start. */
export const WORK = '/work'

/** What the context of a test may offer. */
export interface RunnerContext {
  /** node:test */
  diagnostic?(message: string): void
  /** tap */
  comment?(message: string): void
  /** tap: whether no assertion has failed. Its assertions do not throw. */
  passing?(): boolean
}

export interface HarnessOptions extends SandboxOptions {
  /** What lies in /work at the beginning: contents by path, relative to it. */
  files?: Readonly<Record<string, string | Uint8Array>>
  /** Bytes that /work may hold, or '64M'; default '256M'. */
  size?: number | string
  /** A directory of the host that gets a copy of /work when the test fails. */
  keep?: string
}

const OPTIONS = [...SANDBOX_OPTIONS, 'files', 'size', 'keep'] as const

/** The sandbox of one test. */
export class TestSandbox {
  readonly #box: Sandbox
  readonly #runs: string[] = []

  constructor(box: Sandbox) {
    this.#box = box
  }

  /** Files of the sandbox. */
  get files(): Files {
    return this.#box.files
  }

  /** Runs a program, in /work unless `cwd` says otherwise; as {@link Sandbox.run}. */
  run(command: readonly string[], options: SandboxRunOptions = {}): ContainerProcess {
    const running = this.#box.run(command, { cwd: WORK, ...options })
    const place = this.#runs.push(`$ ${command.join(' ')}\n`) - 1
    const tell = (text: string) => {
      this.#runs[place] += text
    }
    // The rejection is the caller's; here it is only what the log says.
    void Promise.resolve(running).then(
      result => tell(describe(result)),
      (error: ContainerError) => tell(error.cause === undefined ? error.message : describe(error.cause as ExecResult)),
    )
    return running
  }

  /** What was run so far, how it ended, and what it wrote. */
  get log(): string {
    return this.#runs.join('\n')
  }
}

/** The most of an output that goes into a log: the end of it, where the reason is. */
const TAIL = 8_192

function describe({ exitCode, signal, timedOut, oomKilled, stdout, stderr }: ExecResult): string {
  const why = [timedOut ? 'timed out' : '', oomKilled ? 'out of memory' : ''].filter(Boolean)
  const end = [signal === null ? `exit code ${exitCode}` : `killed by ${signal}`, ...why].join(', ')
  const tail = (text: string) => (text.length > TAIL ? `…${text.slice(-TAIL)}` : text).replaceAll(/^(?=.)/gm, '  ')
  return `${tail(stdout)}${tail(stderr)}  [${end}]\n`
}

/**
 * A test function for any runner: it makes a sandbox, puts the files there, calls `body`, and closes the sandbox. When `body` throws, or an
 * assertion has failed, the log of what was run is attached to the test.
 *
 * Throws ERR_INVALID_OPTION, and in the test what sandbox() throws.
 */
export function inSandbox<C>(
  options: HarnessOptions,
  body: (box: TestSandbox, context: C) => unknown,
): (context: C) => Promise<void> {
  refuseUnknown(options, OPTIONS, 'the sandbox of a test')
  for (const name of Object.keys(options.files ?? {})) checkName(name)
  return async context => {
    const { files = {}, size = '256M', keep, tmpfs = [], ...rest } = options
    await using box = await sandbox({ ...rest, tmpfs: [...tmpfs, { target: WORK, size }] })
    const mine = new TestSandbox(box)
    await furnish(box, files)
    let passed = false
    try {
      await body(mine, context)
      passed = (context as RunnerContext | undefined)?.passing?.() ?? true
    } finally {
      if (!passed) await attachTo(context as RunnerContext | undefined, mine, keep)
    }
  }
}

/** A name stays below /work. */
function checkName(name: string): void {
  const parts = name.split('/')
  if (name !== '' && !parts.includes('..') && !parts.includes('') && !parts.includes('.')) return
  throw new ContainerError(
    'ERR_INVALID_OPTION',
    `Cannot put ${JSON.stringify(name)} into a sandbox: not a path below ${WORK}`,
    {
      hint: `give names relative to ${WORK}, as "src/main.c"`,
    },
  )
}

async function furnish(box: Sandbox, files: NonNullable<HarnessOptions['files']>): Promise<void> {
  const directories = new Set(Object.keys(files).map(name => path.posix.dirname(name)))
  directories.delete('.')
  if (directories.size > 0) await box.run(['/bin/mkdir', '-p', '--', ...directories], { cwd: WORK })
  for (const [name, content] of Object.entries(files)) await box.files.write(path.posix.join(WORK, name), content)
}

/** A failure to keep the files must not hide why the test failed: it is told with the log. */
async function attachTo(context: RunnerContext | undefined, box: TestSandbox, keep: string | undefined): Promise<void> {
  const kept = keep === undefined ? '' : await keepFiles(box, keep)
  const text = `what was run in the sandbox:\n${box.log}${kept}`
  // A line each: in TAP a newline within a comment would be written as `\\n`.
  for (const line of text.trimEnd().split('\n')) {
    // tap has a property of node:test's name.
    if (typeof context?.comment === 'function') context.comment(line)
    else if (typeof context?.diagnostic === 'function') context.diagnostic(line)
    else process.stderr.write(`${line}\n`)
  }
}

async function keepFiles(box: TestSandbox, keep: string): Promise<string> {
  try {
    await mkdir(keep, { recursive: true })
    await box.files.pull(WORK, keep)
    return `its files are in ${keep}\n`
  } catch (error) {
    return `its files could not be kept: ${(error as Error).message}\n`
  }
}
