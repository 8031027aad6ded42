/** Typed networks and their config lines, in both directions. */
import { ContainerError, nearest, refuseUnknown } from '../errors.ts'
import type { Config, ConfigKey, Entry } from './config.ts'

/** One interface of a container. */
export type Network =
  | { type: 'none' }
  | { type: 'empty' }
  | {
      type: 'veth'
      /** A bridge of the host. */
      link?: string
      name?: string
      hwaddr?: string
      ipv4?: string[]
      ipv6?: string[]
      gateway?: string
      mtu?: number
      vlan?: number
      limits?: { ingress?: string; egress?: string }
    }
  | { type: 'macvlan' | 'ipvlan'; link: string; mode?: string; name?: string; ipv4?: string[]; ipv6?: string[] }
  | { type: 'vlan'; link: string; id: number; name?: string }
  | { type: 'phys'; link: string; name?: string }

/** Where each option goes: a subkey, for each type that has the option. `gateway` and `limits` are cut out before. */
const SUBKEYS: Readonly<Record<Network['type'], Readonly<Record<string, string>>>> = {
  none: {},
  empty: {},
  veth: {
    link: 'link',
    name: 'name',
    hwaddr: 'hwaddr',
    ipv4: 'ipv4.address',
    ipv6: 'ipv6.address',
    gateway4: 'ipv4.gateway',
    gateway6: 'ipv6.gateway',
    mtu: 'mtu',
    vlan: 'veth.vlan.id',
    ingress: 'limit.ingress',
    egress: 'limit.egress',
  },
  macvlan: { link: 'link', mode: 'macvlan.mode', name: 'name', ipv4: 'ipv4.address', ipv6: 'ipv6.address' },
  ipvlan: { link: 'link', mode: 'ipvlan.mode', name: 'name', ipv4: 'ipv4.address', ipv6: 'ipv6.address' },
  vlan: { link: 'link', id: 'vlan.id', name: 'name' },
  phys: { link: 'link', name: 'name' },
}

/** Puts these interfaces in place of all that the config has. */
export function applyNetwork(config: Config, networks: readonly Network[]): void {
  config.clear('lxc.net').clear('caisson.net')
  for (const [index, network] of networks.entries()) {
    const options = flatten(network)
    config.set(`lxc.net.${index}.type`, network.type)
    if (network.type !== 'none' && network.type !== 'empty') config.set(`lxc.net.${index}.flags`, 'up')
    for (const [option, subkey] of Object.entries(SUBKEYS[network.type])) {
      for (const value of [options[option] ?? []].flat()) config.set(keyOf(index, subkey), value as never)
    }
  }
}

const keyOf = (index: number, subkey: string): ConfigKey =>
  `${subkey.startsWith('limit.') ? 'caisson' : 'lxc'}.net.${index}.${subkey}` as ConfigKey

/** The options of a network in one layer, a gateway under the name of its family. */
function flatten(network: Network): Readonly<Record<string, unknown>> {
  const subkeys = Object.hasOwn(SUBKEYS, network.type) ? Object.keys(SUBKEYS[network.type]) : unknownType(network.type)
  const { limits, gateway, ...rest } = { limits: undefined, gateway: undefined, ...network }
  if (network.type !== 'veth') refuseUnknown(network, ['type', ...subkeys], `a ${network.type} network`)
  refuseUnknown(rest, ['type', ...subkeys], `a ${network.type} network`)
  if (limits !== undefined) refuseUnknown(limits, ['ingress', 'egress'], 'the limits of a network')
  return {
    ...rest,
    ...(limits ?? {}),
    ...(gateway === undefined ? {} : { [gateway.includes(':') ? 'gateway6' : 'gateway4']: gateway }),
  }
}

function unknownType(type: string): never {
  const near = nearest(type, Object.keys(SUBKEYS))
  throw new ContainerError('ERR_INVALID_OPTION', `Unknown network type "${type}"`, {
    hint: near === undefined ? `types: ${Object.keys(SUBKEYS).join(', ')}` : `did you mean "${near}"?`,
  })
}

/**
 * The interfaces as options, from number 0 on without a gap, as far as options can say them; and what was said so.
 * Nothing at all when one of them says more.
 */
export function readNetwork(config: Config): { networks: Network[]; entries: readonly Entry[] } {
  const entries = [...config.entries('lxc.net'), ...config.entries('caisson.net')]
  const indexes = config.interfaces()
  const networks = indexes.map((index, position) =>
    index === position ? readInterface(entries.filter(entry => entry.index === index)) : undefined,
  )
  return networks.every(network => network !== undefined) ? { networks, entries } : { networks: [], entries: [] }
}

function readInterface(entries: readonly Entry[]): Network | undefined {
  const subkey = (entry: Entry): string => entry.name.replace(/^\w+\.net\.[0-9]+\./, '')
  const type = entries.find(entry => subkey(entry) === 'type')?.value as Network['type'] | undefined
  if (type === undefined) return undefined
  const plain = type === 'none' || type === 'empty'
  const option = Object.fromEntries(Object.entries(SUBKEYS[type]).map(([name, key]) => [key, name]))
  const read: Record<string, unknown> = { type }
  for (const entry of entries.filter(other => !['type', 'flags'].includes(subkey(other)))) {
    const name = option[subkey(entry)]
    if (name === undefined) return undefined
    if (entry.key.many) read[name] = [...((read[name] as string[] | undefined) ?? []), entry.text]
    else
      read[name] = typeof entry.value === 'number' && name !== 'ingress' && name !== 'egress' ? entry.value : entry.text
  }
  if (plain === entries.some(entry => subkey(entry) === 'flags')) return undefined
  return nest(read)
}

function nest({ gateway4, gateway6, ingress, egress, ...rest }: Record<string, unknown>): Network | undefined {
  if (gateway4 !== undefined && gateway6 !== undefined) return undefined
  if (gateway6 === 'auto' || gateway6 === 'dev' || rest.vlan === 'none') return undefined
  if (rest.type !== 'veth' && !('link' in rest) && rest.type !== 'none' && rest.type !== 'empty') return undefined
  const limits = { ...(ingress === undefined ? {} : { ingress }), ...(egress === undefined ? {} : { egress }) }
  const gateway = gateway4 ?? gateway6
  return {
    ...rest,
    ...(gateway === undefined ? {} : { gateway }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
  } as Network
}
