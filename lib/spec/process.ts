/** The first process: command line, environment, ids, limits. */
import { personality } from '../config/arch.ts'
import type { Config } from '../config/config.ts'
import type { Variable } from '../config/environment.ts'
import { RESOURCES } from '../config/prlimit.ts'
import { ContainerError } from '../errors.ts'
import type { ProcessSpec, Rlimit } from '../native/spec.ts'

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Splits a command line at blanks; quotes hold words together and a backslash takes the next character as it is. */
export function splitCommand(text: string): string[] {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string
    if (c === '\\' && quote !== "'" && i + 1 < text.length) word = (word ?? '') + text[++i]
    else if (quote !== '') {
      if (c === quote) quote = ''
      else word += c
    } else if (c === '"' || c === "'") [quote, word] = [c, word ?? '']
    else if (c === ' ' || c === '\t') {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? '') + c
  }
  if (quote !== '')
    throw new ContainerError('ERR_CONFIG_VALUE', `Cannot split ${JSON.stringify(text)}: a quote is not closed`)
  return word === undefined ? words : [...words, word]
}

/** `KEY=value` lines, the later of a name winning. Bare names take the caller's value. */
export function environmentOf(
  base: Readonly<Record<string, string>>,
  variables: readonly Variable[],
  caller: NodeJS.ProcessEnv,
): string[] {
  const all = new Map(Object.entries(base))
  for (const { name, value } of variables) {
    const taken = value ?? caller[name]
    if (taken === undefined) {
      throw new ContainerError(
        'ERR_CONFIG_VALUE',
        `Cannot take over the environment variable "${name}": it is not set here`,
        {
          hint: `set it, or write lxc.environment = ${name}=value`,
        },
      )
    }
    all.set(name, taken)
  }
  return [...all].map(([name, value]) => `${name}=${value}`)
}

/**
 * No core dump: with 1 no file is written and, unlike with 0, no program of a core_pattern is run, which would be the host's, with a
 * stranger's bytes (core(5); fs/coredump.c has 1 as the mark of a handler that crashes itself). Who wants the handler to run can lower his
 * own to 0: this is for programs that crash, not against one that means it.
 */
export const NO_CORE: Rlimit = { resource: RESOURCES.core, soft: 1n, hard: 1n, bestEffort: true }

/** What holds unless lxc.prlimit.* says otherwise: descriptors as systemd has them, so that select(2) works and servers may ask for more. */
const RLIMITS: readonly Rlimit[] = [
  NO_CORE,
  { resource: RESOURCES.nofile, soft: 1024n, hard: 524_288n, bestEffort: true },
]

/** The resource limits of a config (lxc.prlimit.*), over the defaults. */
export function resolveRlimits(config: Config): Rlimit[] {
  const named = namedRlimits(config)
  return [...RLIMITS.filter(({ resource }) => !named.some(one => one.resource === resource)), ...named]
}

function namedRlimits(config: Config): Rlimit[] {
  return config.entries('lxc.prlimit').map(({ name, value }) => {
    const resource = name.slice('lxc.prlimit.'.length)
    const { soft, hard } = value as { soft: bigint | 'unlimited'; hard: bigint | 'unlimited' }
    const number = (limit: bigint | 'unlimited') => (limit === 'unlimited' ? 2n ** 64n - 1n : limit)
    const known = (RESOURCES as Readonly<Record<string, number>>)[resource]
    return { resource: known ?? Number(resource), soft: number(soft), hard: number(hard), bestEffort: false }
  })
}

/** The process of a start: `command` replaces lxc.init.cmd. */
export function resolveProcess(
  config: Config,
  command: readonly string[] | undefined,
  caller: NodeJS.ProcessEnv,
): ProcessSpec {
  const argv = command === undefined ? splitCommand(config.value('lxc.init.cmd')) : [...command]
  if (argv.length === 0) throw new ContainerError('ERR_INVALID_OPTION', 'Cannot start: the command is empty')
  const variables = [...config.value('lxc.environment'), ...config.value('lxc.environment.runtime')]
  const architecture = config.value('lxc.arch')
  return {
    argv,
    environment: environmentOf({ PATH: DEFAULT_PATH, container: 'lxc', TERM: 'linux' }, variables, caller),
    cwd: config.value('lxc.init.cwd') ?? '',
    uid: config.value('lxc.init.uid'),
    gid: config.value('lxc.init.gid'),
    groups: [...config.value('lxc.init.groups')],
    rlimits: resolveRlimits(config),
    ...(architecture === undefined ? {} : { personality: personality(architecture) }),
    terminal: false,
    columns: 0,
    rows: 0,
  }
}
