/**
 * Profiles: options under a name, as LXD has them. Several are laid over each other, the last one wins, and what the
 * container's own options say comes last of all. Devices have names; `none` takes away one that a profile before has given.
 */
import { ContainerError, nearest, refuseUnknown } from '../errors.ts'
import type { Network } from './network_options.ts'
import type { ConfigOptions, MountEntry } from './options.ts'

/** A mount or an interface under a name of its own, or the end of one that was inherited. */
export type Device = { mount: MountEntry } | { network: Network } | 'none'

/** What a profile may say: everything but what belongs to one container alone. */
export interface Profile
  extends Pick<ConfigOptions, 'limits' | 'capabilities' | 'seccomp' | 'apparmor' | 'environment' | 'hooks'> {
  description?: string
  devices?: Readonly<Record<string, Device>>
  /** Raw `lxc.*` lines, before those of the container. */
  config?: readonly (readonly [key: string, value: string])[]
}

/** Profiles laid over each other. */
export type Expanded = Omit<Profile, 'description'>

const OPTIONS = ['limits', 'capabilities', 'seccomp', 'apparmor', 'environment', 'hooks', 'config'] as const
const KNOWN = [...OPTIONS, 'description', 'devices'] as const

/** Those that are there from the beginning; one of that name in a store is taken instead. */
export const PRESETS: Readonly<Record<string, Profile>> = {
  default: {
    description: 'an interface on the bridge lxcbr0, as LXC and LXD have it',
    devices: { eth0: { network: { type: 'veth', link: 'lxcbr0', name: 'eth0' } } },
  },
  nesting: {
    description: 'containers in the container',
    apparmor: 'generated',
    config: [
      ['lxc.apparmor.allow_nesting', '1'],
      ['caisson.seccomp', 'nesting'],
      // A user namespace may mount /proc and /sys only where it sees one of which nothing is hidden, user_namespaces(7).
      ['lxc.mount.entry', 'proc dev/.lxc/proc proc create=dir,optional 0 0'],
      ['lxc.mount.entry', 'sys dev/.lxc/sys sysfs create=dir,optional 0 0'],
    ],
  },
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/

/** Refuses what is no name of a profile or of a device. */
export function checkProfileName(name: string, what = 'a profile'): void {
  if (typeof name === 'string' && NAME.test(name)) return
  throw invalid(
    `Cannot use ${JSON.stringify(name)} as the name of ${what}`,
    'letters, digits, "_", "." and "-", up to 64',
  )
}

/** Refuses what is no profile, before anything of it is kept or used. */
export function checkProfile(name: string, profile: Profile): void {
  if (typeof profile !== 'object' || profile === null || Array.isArray(profile))
    throw invalid(`Cannot use profile "${name}": it is not an object`)
  refuseUnknown(profile, KNOWN, `the profile "${name}"`)
  checkDevices(profile.devices ?? {}, `profile "${name}"`)
  if (profile.config !== undefined && !profile.config.every(line => Array.isArray(line) && line.length === 2))
    throw invalid(`Cannot use profile "${name}": "config" is a list of [key, value]`)
}

/** Refuses devices that are neither a mount, an interface nor 'none'. */
export function checkDevices(devices: Readonly<Record<string, Device>>, owner: string): void {
  for (const [name, device] of Object.entries(devices)) {
    checkProfileName(name, 'a device')
    if (device === 'none') continue
    const kinds = typeof device === 'object' && device !== null ? Object.keys(device) : []
    if (kinds.length === 1 && ['mount', 'network'].includes(kinds[0] as string)) continue
    const near = nearest(kinds[0] ?? '', ['mount', 'network', 'none'])
    const hint = near === undefined ? "{ mount: … }, { network: … } or 'none'" : `did you mean "${near}"?`
    throw invalid(`Cannot use device "${name}" of ${owner}: it is no device`, hint)
  }
}

/** Lays profiles over each other: limits, variables, hooks and devices one by one, raw lines in their order. */
export function layProfiles(profiles: readonly Expanded[]): Expanded {
  let all: Expanded = {}
  for (const profile of profiles) all = over(all, profile)
  return all
}

function over(below: Expanded, above: Expanded): Expanded {
  const merged: Record<string, unknown> = { ...below, devices: { ...below.devices, ...above.devices } }
  for (const name of OPTIONS) {
    const [before, after] = [below[name], above[name]]
    if (after === undefined) continue
    if (name === 'config') merged.config = [...(below.config ?? []), ...(above.config ?? [])]
    else if (name === 'limits' || name === 'environment' || name === 'hooks')
      merged[name] = { ...(before as object), ...(after as object) }
    else merged[name] = after
  }
  return merged
}

/** The options of a container on its profiles: its own come last and win; its mounts and networks stand behind the devices. */
export function onProfiles(
  options: ConfigOptions & { devices?: Readonly<Record<string, Device>> },
  profiles: readonly Profile[],
): ConfigOptions {
  const { devices = {}, config = [], ...own } = options
  checkDevices(devices, 'the container')
  const base = layProfiles([...profiles.map(({ description: _, ...profile }) => profile), { devices }])
  const there = Object.values(base.devices ?? {}).filter(device => device !== 'none')
  const mounts = there.flatMap(device => ('mount' in device ? [device.mount] : []))
  const network = there.flatMap(device => ('network' in device ? [device.network] : []))
  const { devices: _, config: lines = [], ...inherited } = base
  const expanded: ConfigOptions = {
    ...inherited,
    ...own,
    ...merged(inherited, own, 'limits'),
    ...merged(inherited, own, 'environment'),
    ...merged(inherited, own, 'hooks'),
  }
  if (mounts.length + (own.mounts?.length ?? 0) > 0) expanded.mounts = [...mounts, ...(own.mounts ?? [])]
  if (network.length + (own.network?.length ?? 0) > 0) expanded.network = [...network, ...(own.network ?? [])]
  const text = typeof config === 'string' ? config : [...config]
  if (lines.length > 0 || text.length > 0)
    expanded.config = typeof text === 'string' ? joined(lines, text) : [...lines, ...text]
  return expanded
}

const joined = (lines: NonNullable<Profile['config']>, text: string): string =>
  [...lines.map(([key, value]) => `${key} = ${value}`), text].join('\n')

function merged<K extends 'limits' | 'environment' | 'hooks'>(below: Expanded, above: ConfigOptions, name: K): object {
  if (below[name] === undefined && above[name] === undefined) return {}
  return { [name]: { ...below[name], ...above[name] } }
}

function invalid(message: string, hint?: string): ContainerError {
  return new ContainerError('ERR_INVALID_OPTION', message, hint === undefined ? {} : { hint })
}
