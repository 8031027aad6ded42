/**
 * Typed options and the config they stand for, in both directions. A container made with options has the same file as
 * one made with the lines; raw lines come last and win.
 */
import { ContainerError, refuseUnknown } from '../errors.ts'
import type { CapabilityName } from './capability.ts'
import type { Config, ConfigKey } from './config.ts'
import { compileLimits, keepLimits, type LimitHost, type Limits } from './limits.ts'
import { mountLine } from './mount_entry.ts'
import { applyNetwork, type Network } from './network_options.ts'

/** `range` ids from `container` on are those from `host` on. */
export interface IdMapEntry {
  type: 'uid' | 'gid' | 'both'
  container: number
  host: number
  range: number
}
/** A mount that the container starts with. */
export interface MountEntry {
  source: string
  /** Below the container's root. */
  target: string
  /** The file system; a bind mount has none. */
  type?: string
  options?: readonly string[]
  create?: 'dir' | 'file'
  optional?: boolean
  relative?: boolean
  idmap?: 'container' | string
}
export type SeccompAction = 'allow' | 'kill' | 'kill-process' | 'trap' | 'log' | 'notify' | { errno: number | string }
export interface SeccompRule {
  syscall: string | readonly string[]
  action: SeccompAction
  args?: readonly {
    index: 0 | 1 | 2 | 3 | 4 | 5
    op: '==' | '!=' | '<' | '<=' | '>' | '>=' | '&'
    value: number | bigint
    mask?: number | bigint
  }[]
  arch?: readonly string[]
}
export const HOOKS = [
  'pre-start',
  'pre-mount',
  'mount',
  'autodev',
  'start-host',
  'start',
  'stop',
  'post-stop',
  'clone',
  'destroy',
] as const
export type HookName = (typeof HOOKS)[number]

/** What a container is made of, beside its template and storage. */
export interface ConfigOptions {
  rootfs?: string | { path: string; readonly?: boolean } | { overlay: { lower: string[]; upper?: string } }
  hostname?: string
  /** 'auto' takes a free range of the caller's subordinate ids; false means privileged. */
  idmap?: 'auto' | false | readonly IdMapEntry[]
  mounts?: readonly MountEntry[]
  network?: readonly Network[]
  limits?: Limits
  capabilities?: { drop: readonly string[] } | { keep: readonly string[] }
  /** 'default', a policy in LXC's text form, structured rules, or false. */
  seccomp?: 'default' | false | { policy: string } | { rules: readonly SeccompRule[]; defaultAction: SeccompAction }
  apparmor?: 'generated' | 'unconfined' | (string & {})
  environment?: Record<string, string>
  hooks?: Partial<Record<HookName, readonly string[]>>
  /**
   * What the options stand on, the last one winning: names of Profiles, of presets ('default', 'nesting') and of configs that LXC ships
   * ('userns'), and paths of config files and of profiles (.json).
   */
  profiles?: readonly string[]
  /** Raw `lxc.*` lines, applied last and in order. */
  config?: string | Iterable<readonly [key: string, value: string]>
}

/** What options refer to and do not say. */
export interface OptionContext {
  /** The directory of the container: policies and overlays are put there. */
  readonly directory: string
  readonly host?: LimitHost
  /** The ids that `idmap: 'auto'` stands for. */
  readonly idmap?: readonly IdMapEntry[]
  /** Where a profile is that is given by its name. */
  profile?(name: string): string
}

/** A file that the config refers to and that has to be written into the directory. */
export interface OptionFile {
  readonly path: string
  readonly content: string
}

type Apply = (config: Config, value: never, context: OptionContext) => OptionFile[] | undefined

/** A row for each option, in the order of the lines; an include may be overridden by everything behind it. */
const OPTIONS: Readonly<Record<keyof ConfigOptions, Apply>> = {
  profiles: (config, names: readonly string[], context) => {
    const shipped = context.profile ?? ((name: string) => `/usr/share/lxc/config/${name}.conf`)
    for (const name of names) config.set('lxc.include', name.includes('/') ? name : shipped(name))
    return undefined
  },
  rootfs: applyRootfs,
  hostname: (config, name: string) => void config.set('lxc.uts.name', name),
  idmap: applyIdmap,
  mounts: (config, mounts: readonly MountEntry[]) => {
    for (const mount of mounts) config.set('lxc.mount.entry', printMount(mount))
    return undefined
  },
  network: (config, networks: readonly Network[]) => void applyNetwork(config, networks),
  limits: (config, limits: Limits, { host }) => {
    keepLimits(config, compileLimits(limits, host))
    return undefined
  },
  capabilities: applyCapabilities,
  seccomp: applySeccomp,
  apparmor: (config, profile: string) => void config.set('lxc.apparmor.profile', profile),
  environment: (config, variables: Record<string, string>) => {
    for (const [name, value] of Object.entries(variables)) config.set('lxc.environment', `${name}=${value}`)
    return undefined
  },
  hooks: (config, hooks: Partial<Record<HookName, readonly string[]>>) => {
    refuseUnknown(hooks, HOOKS, 'hooks')
    for (const name of HOOKS) for (const command of hooks[name] ?? []) config.set(`lxc.hook.${name}`, command)
    return undefined
  },
  config: (config, lines: string | Iterable<readonly [string, string]>) => {
    if (typeof lines === 'string') config.append(lines)
    else for (const [key, value] of lines) config.set(key as 'lxc.uts.name', value)
    return undefined
  },
}

/** The names of the options that become config lines. */
export const CONFIG_OPTIONS = Object.keys(OPTIONS) as readonly (keyof ConfigOptions)[]

/**
 * Writes options into a config, over what it says already: lists of the old are kept, except ids, capabilities and
 * networks, which an option replaces. Gives the files that have to be written beside it. Throws ERR_CONFIG_VALUE with the
 * key, ERR_INVALID_OPTION.
 */
export function applyOptions(config: Config, options: ConfigOptions, context: OptionContext): OptionFile[] {
  return CONFIG_OPTIONS.flatMap(name => {
    const value = options[name]
    return value === undefined ? [] : (OPTIONS[name](config, value as never, context) ?? [])
  })
}

function applyRootfs(config: Config, rootfs: NonNullable<ConfigOptions['rootfs']>, context: OptionContext): undefined {
  if (typeof rootfs === 'string') config.set('lxc.rootfs.path', rootfs)
  else if ('path' in rootfs) {
    config.set('lxc.rootfs.path', rootfs.path)
    if (rootfs.readonly !== undefined) config.set('lxc.rootfs.options', rootfs.readonly ? 'ro' : 'rw')
  } else {
    const { lower, upper = `${context.directory}/overlay/delta` } = rootfs.overlay
    config.set('lxc.rootfs.path', ['overlay', ...lower, upper].join(':'))
  }
}

function applyIdmap(config: Config, idmap: NonNullable<ConfigOptions['idmap']>, context: OptionContext): undefined {
  config.clear('lxc.idmap')
  const entries = idmap === 'auto' ? context.idmap : idmap || []
  if (entries === undefined) {
    throw new ContainerError('ERR_NO_SUBORDINATE_IDS', 'Cannot choose an id map: no free range of ids was found', {
      hint: 'give the range as option "idmap", or idmap: false for a privileged container',
    })
  }
  for (const { type, container, host, range } of entries) {
    if (type !== 'gid') config.set('lxc.idmap', `u ${container} ${host} ${range}`)
    if (type !== 'uid') config.set('lxc.idmap', `g ${container} ${host} ${range}`)
  }
}

function applyCapabilities(config: Config, given: NonNullable<ConfigOptions['capabilities']>): undefined {
  config.clear('lxc.cap.drop').clear('lxc.cap.keep')
  if ('keep' in given) config.set('lxc.cap.keep', given.keep.length === 0 ? 'none' : (given.keep as CapabilityName[]))
  else if (given.drop.length > 0) config.set('lxc.cap.drop', given.drop as CapabilityName[])
}

function applySeccomp(config: Config, given: NonNullable<ConfigOptions['seccomp']> | false, context: OptionContext) {
  config.clear('lxc.seccomp.profile').clear('caisson.seccomp')
  if (given === 'default' || given === false) {
    config.set('caisson.seccomp', given === false ? 'none' : given)
    return undefined
  }
  const structured = 'rules' in given
  const path = `${context.directory}/seccomp${structured ? '.json' : ''}`
  config.set((structured ? 'caisson.seccomp' : 'lxc.seccomp.profile') satisfies ConfigKey, path)
  return [{ path, content: structured ? `${JSON.stringify(given, printBigint, 2)}\n` : given.policy }]
}

const printBigint = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `0x${value.toString(16)}` : value

/** The line of a mount. Without a type it is a bind mount. */
export function printMount(mount: MountEntry): string {
  const { source, target, type, options = [], optional, relative, ...rest } = mount
  const bind = type === undefined && !options.some(option => option === 'bind' || option === 'rbind')
  return mountLine.print({
    source,
    target,
    type: type ?? 'none',
    options: bind ? ['bind', ...options] : options,
    ...(optional ? { optional } : {}),
    ...(relative ? { relative } : {}),
    ...rest,
  })
}
