/**
 * Hooks (lxc.hook.*): programs that run at points of a container's life. A value is a command line, split into words here; no shell reads
 * it. What a hook is told comes as arguments (lxc.hook.version 0) or as variables (1); its environment is whole: a fixed PATH, what is
 * listed in `environment` below, and lxc.environment.hooks. The container's own variables (lxc.environment) never reach a program of the
 * host (CVE-2025-23266).
 */
import type { Config } from '../config/config.ts'
import { ContainerError } from '../errors.ts'
import { findProgram } from '../native/program.ts'
import type { HookSpec } from '../native/spec.ts'
import { DEFAULT_PATH, environmentOf, splitCommand } from './process.ts'

/** All ten. The monitor runs those that are a HookSpec's point; cloning is ours, and so is destroying what is not ephemeral. */
export const HOOKS = [
  'pre-start',
  'start-host',
  'pre-mount',
  'mount',
  'autodev',
  'start',
  'stop',
  'post-stop',
  'clone',
  'destroy',
] as const
export type HookName = (typeof HOOKS)[number]

/** Run while the container's root is attached somewhere but is not yet "/". */
const IN_SIGHT_OF_ROOT: readonly HookName[] = ['pre-mount', 'mount', 'autodev']

/** Where the root is attached for them in the container's own mount namespace; the host never sees it there. hier(7) */
const ATTACHED_AT = '/mnt'

export interface HookSubject {
  readonly name: string
  readonly configFile: string
  /** The caller's environment, for variables that lxc.environment.hooks takes over by name. */
  readonly environment: NodeJS.ProcessEnv
}

/** Where the root has to be attached so that hooks can name it; '' when there are none that do. */
export function rootForHooks(config: Config): string {
  const wanted = IN_SIGHT_OF_ROOT.some(name => config.value(`lxc.hook.${name}`).length > 0)
  return wanted ? (config.value('lxc.rootfs.mount') ?? ATTACHED_AT) : ''
}

/** The programs of one hook, ready to run: words and the whole environment. Throws ERR_CONFIG_VALUE, ERR_TOOL_MISSING. */
export function hookPrograms(
  config: Config,
  name: HookName,
  subject: HookSubject,
): { argv: string[]; environment: string[] }[] {
  const key = `lxc.hook.${name}` as const
  const version = config.value('lxc.hook.version')
  return config.value(key).map(line => {
    const [program, ...words] = splitCommand(line)
    if (program === undefined)
      throw new ContainerError(
        'ERR_CONFIG_VALUE',
        `Cannot use ${key} = ${JSON.stringify(line)}: it names no program`,
        config.where(key),
      )
    const told = version === 0 ? [subject.name, 'lxc', name] : []
    return {
      argv: [resolveProgram(config, name, program), ...words, ...told],
      environment: environment(config, name, subject, version),
    }
  })
}

/** A program inside is named by its path there; one of the host is found once, in the system's directories. */
function resolveProgram(config: Config, name: HookName, program: string): string {
  if (program.startsWith('/')) return program
  if (name !== 'start' && !program.includes('/')) return findProgram(program)
  throw new ContainerError(
    'ERR_CONFIG_VALUE',
    `Cannot use ${JSON.stringify(program)} as lxc.hook.${name}: not an absolute path`,
    {
      hint: 'name the program by its absolute path',
      ...config.where(`lxc.hook.${name}`),
    },
  )
}

function environment(config: Config, name: HookName, subject: HookSubject, version: number): string[] {
  const rootfs = config.get('lxc.rootfs.path')
  const console = config.value('lxc.console.path')
  const log = config.value('lxc.console.logfile')
  const base: Record<string, string> = {
    LXC_NAME: subject.name,
    LXC_CONFIG_FILE: subject.configFile,
    LXC_CGNS_AWARE: '1',
    LXC_HOOK_VERSION: String(version),
    LXC_LOG_LEVEL: String(config.value('lxc.log.level')),
    ...(typeof rootfs === 'string' ? { LXC_ROOTFS_PATH: rootfs } : {}),
    LXC_ROOTFS_MOUNT: rootForHooks(config) || ATTACHED_AT,
    ...(console === undefined ? {} : { LXC_CONSOLE: console }),
    ...(log === undefined ? {} : { LXC_CONSOLE_LOGPATH: log }),
    ...(version === 1 ? { LXC_HOOK_TYPE: name, LXC_HOOK_SECTION: 'lxc' } : {}),
  }
  const given = environmentOf(base, config.value('lxc.environment.hooks'), subject.environment)
  return [...given.filter(entry => !entry.startsWith('PATH=')), `PATH=${DEFAULT_PATH}`]
}

/** The hooks that the monitor runs. */
export function resolveHooks(config: Config, subject: HookSubject): HookSpec[] {
  const byEnvironment = config.value('lxc.hook.version') === 1
  return HOOKS.flatMap(point => {
    // A container is destroyed by its monitor only when it is ephemeral.
    if (point === 'clone' || (point === 'destroy' && !config.value('lxc.ephemeral'))) return []
    return hookPrograms(config, point, subject).map(program => ({ point, ...program, byEnvironment }))
  })
}
