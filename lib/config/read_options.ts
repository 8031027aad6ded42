/** A config as typed options: what they can say is said by them, everything else by raw lines. */

import type { CgroupSetting } from './cgroup_keys.ts'
import type { Config, Entry } from './config.ts'
import type { Variable } from './environment.ts'
import type { IdMapLine } from './idmap.ts'
import { compileLimits, type Limits } from './limits.ts'
import type { MountLine } from './mount_entry.ts'
import { readNetwork } from './network_options.ts'
import { type ConfigOptions, HOOKS, type HookName, type IdMapEntry, type MountEntry } from './options.ts'

/** What a reader found, and the entries that it has thereby said. */
interface Part {
  readonly options: ConfigOptions
  readonly said: readonly Entry[]
}

/** Readers, one for each concern; what none of them says becomes a raw line. */
const READERS: readonly ((config: Config) => Part)[] = [
  readHostname,
  readRootfs,
  readIdmap,
  readMounts,
  config => {
    const { networks, entries } = readNetwork(config)
    return { options: networks.length === 0 ? {} : { network: networks }, said: entries }
  },
  readLimits,
  readCapabilities,
  readApparmor,
  readEnvironment,
  readHooks,
]

/** Options that, written into an empty config, mean the same. Included files become part of them. */
export function readOptions(config: Config): ConfigOptions {
  const parts = READERS.map(read => read(config))
  const said = new Set(parts.flatMap(part => part.said))
  const rest = config.entries().filter(entry => !said.has(entry) && entry.name !== 'lxc.include')
  const raw = rest.map(({ name, text }) => [name, text] as const)
  return Object.assign({}, ...parts.map(part => part.options), raw.length === 0 ? {} : { config: raw })
}

const nothing: Part = { options: {}, said: [] }

function part(said: readonly Entry[], options: ConfigOptions): Part {
  return said.length === 0 ? nothing : { options, said }
}

function readHostname(config: Config): Part {
  const said = config.entries('lxc.uts.name')
  return part(said, { hostname: said[0]?.text ?? '' })
}

function readRootfs(config: Config): Part {
  const said = config.entries('lxc.rootfs.path')
  return part(said, { rootfs: said[0]?.text ?? '' })
}

function readIdmap(config: Config): Part {
  const said = config.entries('lxc.idmap')
  return part(said, { idmap: said.map(({ value }): IdMapEntry => ({ ...(value as IdMapLine) })) })
}

function readMounts(config: Config): Part {
  const said = config.entries('lxc.mount.entry')
  return part(said, { mounts: said.map(({ value }) => mountOption(value as MountLine)) })
}

/** A bind mount is one without a type. */
function mountOption({ type, options, ...rest }: MountLine): MountEntry {
  if (type !== 'none' || options[0] !== 'bind') return { ...rest, type, options }
  return { ...rest, ...(options.length === 1 ? {} : { options: options.slice(1) }) }
}

function readCapabilities(config: Config): Part {
  const [drop, keep] = [config.entries('lxc.cap.drop'), config.entries('lxc.cap.keep')]
  if (drop.length > 0 && keep.length > 0) return nothing
  if (drop.length > 0) return part(drop, { capabilities: { drop: drop.map(({ text }) => text) } })
  return part(keep, { capabilities: { keep: keep.map(({ text }) => text) } })
}

function readApparmor(config: Config): Part {
  const said = config.entries('lxc.apparmor.profile')
  return part(said, { apparmor: said[0]?.text ?? '' })
}

/** A variable taken over from the caller, or set twice, is a raw line, and then all of them are: they have an order. */
function readEnvironment(config: Config): Part {
  const said = config.entries('lxc.environment').filter(({ name }) => name === 'lxc.environment')
  const variables = said.map(({ value }) => value as Variable)
  const names = new Set(variables.map(({ name }) => name))
  const plain = variables.every(
    ({ name, value }) => value !== undefined && name !== '__proto__' && !/^[0-9]+$/.test(name),
  )
  if (!plain || names.size < variables.length) return nothing
  return part(said, { environment: Object.fromEntries(variables.map(({ name, value }) => [name, value ?? ''])) })
}

function readHooks(config: Config): Part {
  const named = HOOKS.map(name => [name, config.entries(`lxc.hook.${name}`)] as const).filter(
    ([, said]) => said.length > 0,
  )
  const hooks = Object.fromEntries(named.map(([name, said]) => [name, said.map(({ text }) => text)]))
  return part(
    named.flatMap(([, said]) => said),
    { hooks: hooks as Partial<Record<HookName, string[]>> },
  )
}

/** How a value of a cgroup file reads as a limit. */
const LIMITS: Readonly<Record<string, (value: string) => Limits>> = {
  'memory.max': value => ({ memory: Number(value) }),
  'memory.high': value => ({ memorySoft: Number(value) }),
  'memory.swap.max': value => ({ swap: value === '0' ? false : Number(value) }),
  'cpu.max': value => {
    const [quota = Number.NaN, period = Number.NaN] = value.split(' ').map(Number)
    return { cpu: period === 100_000 ? quota / period : `${quota / 1000}ms/${period / 1000}ms` }
  },
  'cpuset.cpus': value => ({ cpuset: value }),
  'cpu.weight': value => ({ cpuWeight: Number(value) }),
  'pids.max': value => ({ pids: Number(value) }),
  'io.weight': value => ({ ioWeight: Number(value.replace(/^default /, '')) }),
}

/** Only what comes out as it went in, and is set once. */
function readLimits(config: Config): Part {
  const entries = config.entries('lxc.cgroup2').filter(({ name }) => config.entries(name).length === 1)
  const read = entries.flatMap(entry => {
    const limits = limitOf({ file: entry.member ?? '', value: entry.text })
    return limits === undefined ? [] : [{ entry, limits }]
  })
  return part(
    read.map(({ entry }) => entry),
    { limits: Object.assign({}, ...read.map(({ limits }) => limits)) },
  )
}

function limitOf({ file, value }: CgroupSetting): Limits | undefined {
  if (!Object.hasOwn(LIMITS, file)) return undefined
  const limits = LIMITS[file]?.(value) ?? {}
  try {
    return compileLimits(limits).some(setting => setting.file === file && setting.value === value) ? limits : undefined
  } catch {
    return undefined
  }
}
