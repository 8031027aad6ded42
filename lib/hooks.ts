/** The hooks that no monitor runs: lxc.hook.clone and lxc.hook.destroy. They are told what the others are told (lib/spec/hook.ts). */
import type { Config } from './config/config.ts'
import { ContainerError } from './errors.ts'
import { type ProgramOptions, runProgram } from './native/program.ts'
import { type HookSubject, hookPrograms } from './spec/hook.ts'

/** As long as the hooks of a start have (lib/spec/spec.ts). */
const HOOK_MS = 60_000

export interface HookRun {
  /** Variables beside those that every hook has. */
  readonly env?: Readonly<Record<string, string>>
  /** Words after those that every hook gets. */
  readonly words?: readonly string[]
  readonly signal?: AbortSignal | undefined
  /** How a program is run; default: on the host, as it is. */
  run?(program: string, args: readonly string[], options: ProgramOptions): Promise<unknown>
}

/** Runs the programs of one hook, one after the other. Throws ERR_TOOL_FAILED with its last words, ERR_TIMEOUT, ERR_ABORTED. */
export async function runHooks(
  config: Config,
  name: 'clone' | 'destroy',
  subject: HookSubject,
  { env = {}, words = [], signal, run = runProgram }: HookRun,
): Promise<void> {
  for (const { argv, environment } of hookPrograms(config, name, subject)) {
    const [program, ...args] = argv as [string, ...string[]]
    const own = Object.fromEntries(
      environment.map(entry => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
    )
    const late = AbortSignal.timeout(HOOK_MS)
    const signals = signal === undefined ? [late] : [late, signal]
    const options = { env: { ...own, ...env }, cwd: '/', signal: AbortSignal.any(signals), label: `lxc.hook.${name}` }
    await run(program, [...args, ...words], options).catch((error: Error) => {
      throw late.aborted ? timedOut(name, subject.name, program, error) : error
    })
  }
}

function timedOut(name: string, container: string, program: string, cause: Error): ContainerError {
  return new ContainerError(
    'ERR_TIMEOUT',
    `Cannot finish lxc.hook.${name} of container "${container}": ${program} took longer than ${HOOK_MS / 1000} s`,
    {
      container,
      path: program,
      cause,
    },
  )
}
