/** What a managed network is made of: its options, their defaults, and what is written down. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ContainerError } from '../errors.ts'
import { hasProgram } from '../native/program.ts'
import {
  BITS,
  contains,
  type Family,
  formatAddress,
  formatSubnet,
  hostRange,
  lastOf,
  overlap,
  parseAddress,
  parseSubnet,
  type Subnet,
} from './address.ts'
import type { Forward } from './nat.ts'

type Range = readonly [first: string, last: string]

export interface NetworkOptions {
  /** The bridge's IPv4 address and prefix, '10.0.3.1/24'; 'auto' (the default) chooses a free /24 of 10.0.0.0/8; false: none. */
  ipv4?: string | false
  /** The same for IPv6; 'auto' makes a unique local /64 (RFC 4193); default false. */
  ipv6?: string | false
  /** First and last address that containers get; default: all of the subnet, or with DHCP its lower half. */
  range?: Range
  /** Containers reach the outside under the host's address; default true. Needs nft. */
  nat?: boolean
  /** Containers do not reach each other; default false. */
  isolation?: boolean
  /** Containers send under their own MAC and IP addresses only; default true. */
  filter?: boolean
  /** How names are resolved: by a shared hosts file (the default), by a dnsmasq on the bridge, or not at all. */
  dns?: 'hosts' | 'dnsmasq' | false
  /** The names' domain; default none. */
  domain?: string
  /** Addresses for images that ask by DHCP: true, or the first and last one. Needs dnsmasq; default false. */
  dhcp?: boolean | Range
  /** Bytes; default 1500. */
  mtu?: number
  /** Ports may have VLANs (lxc.net.N.veth.vlan.*); default false. */
  vlanFiltering?: boolean
}

/** An option in force; what `network.json` holds. */
export interface Settings {
  readonly subnets: readonly string[]
  readonly ranges: Partial<Readonly<Record<Family, Range>>>
  readonly nat: boolean
  readonly isolation: boolean
  readonly filter: boolean
  readonly dns: 'hosts' | 'dnsmasq' | false
  readonly domain?: string | undefined
  readonly dhcp?: Range | undefined
  readonly mtu: number
  readonly vlanFiltering: boolean
  readonly forwards: readonly Forward[]
}

export const OPTION_NAMES: readonly (keyof NetworkOptions)[] = [
  ...([
    'ipv4',
    'ipv6',
    'range',
    'nat',
    'isolation',
    'filter',
    'dns',
    'domain',
    'dhcp',
    'mtu',
    'vlanFiltering',
  ] as const),
]

/** lxc-net's defaults, /etc/default/lxc-net, for the name lxcbr0: with its dnsmasq, where that is installed. */
export function presetOf(name: string): NetworkOptions {
  if (name !== 'lxcbr0') return {}
  return { ipv4: '10.0.3.1/24', domain: 'lxc', ...(hasProgram('dnsmasq') ? { dns: 'dnsmasq', dhcp: true } : {}) }
}

/** The options in force. Throws ERR_INVALID_OPTION, ERR_NETWORK, ERR_TOOL_MISSING. */
export function defaults(name: string, options: NetworkOptions, used: readonly Subnet[]): Settings {
  const {
    ipv4 = 'auto',
    ipv6 = false,
    nat = true,
    isolation = false,
    filter = true,
    dns = 'hosts',
    mtu = 1500,
  } = options
  const four = ipv4 === false ? undefined : ipv4 === 'auto' ? freeSubnet(name, used) : own(ipv4, 4)
  const six = ipv6 === false ? undefined : ipv6 === 'auto' ? uniqueLocal(name) : own(ipv6, 6)
  const dhcp = dhcpRange(options.dhcp ?? false, four)
  demandTool(dns === 'dnsmasq' || dhcp !== undefined, 'dnsmasq', 'dns: "dnsmasq" and dhcp')
  demandTool(nat || isolation, 'nft', 'nat and isolation')
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65_535) throw wrong('mtu', String(mtu), 'an integer from 68 to 65535')
  if (options.domain !== undefined && !/^[a-z0-9-]+(\.[a-z0-9-]+)*$/i.test(options.domain))
    throw wrong('domain', options.domain, 'a domain name')
  return {
    subnets: [four, six].filter(subnet => subnet !== undefined).map(formatSubnet),
    ranges: ranges(options.range, four, dhcp),
    nat,
    isolation,
    filter,
    dns,
    domain: options.domain,
    dhcp,
    mtu,
    vlanFiltering: options.vlanFiltering ?? false,
    forwards: [],
  }
}

function own(text: string, family: Family): Subnet {
  const subnet = parseSubnet(text)
  if (subnet.family === family && subnet.prefix < BITS[family] - 1) {
    const { first, last } = hostRange(subnet)
    if (subnet.value >= first && subnet.value <= last) return subnet
  }
  throw wrong(
    `ipv${family}`,
    text,
    `the bridge's own address in a subnet with room for others, like ${family === 4 ? '10.0.3.1/24' : 'fd00::1/64'}`,
  )
}

/** A /24 of 10.0.0.0/8 that nobody uses; which one depends on the name, so that it is the same again. */
function freeSubnet(name: string, used: readonly Subnet[]): Subnet {
  const start = createHash('sha256').update(name).digest().readUInt16BE()
  for (let step = 0; step < 65_536; step++) {
    const value = (10n << 24n) | (BigInt((start + step) % 65_536) << 8n) | 1n
    const subnet: Subnet = { family: 4, value, prefix: 24 }
    if (!used.some(other => overlap(other, subnet))) return subnet
  }
  throw new ContainerError('ERR_NETWORK', `Cannot create network "${name}": no /24 of 10.0.0.0/8 is free`, {
    hint: 'name a subnet with the option ipv4',
  })
}

/** fd, and 56 bits that depend on the name: RFC 4193 wants them random, and the same at each start is better here. */
function uniqueLocal(name: string): Subnet {
  const bits = createHash('sha256').update(`ipv6\0${name}`).digest().readBigUInt64BE() >> 8n
  return { family: 6, value: (((0xfdn << 56n) | bits) << 64n) | 1n, prefix: 64 }
}

function dhcpRange(dhcp: boolean | Range, subnet: Subnet | undefined): Range | undefined {
  if (dhcp === false) return undefined
  if (subnet === undefined) throw wrong('dhcp', 'true', 'used with an IPv4 subnet')
  if (dhcp !== true) return within('dhcp', dhcp, subnet)
  const { last } = hostRange(subnet)
  const middle = (hostRange(subnet).first + lastOf(subnet).value) / 2n + 1n
  return [formatAddress({ family: 4, value: middle }), formatAddress({ family: 4, value: last })]
}

function ranges(given: Range | undefined, subnet: Subnet | undefined, dhcp: Range | undefined): Settings['ranges'] {
  if (subnet === undefined) return {}
  if (given !== undefined) return { 4: within('range', given, subnet) }
  if (dhcp === undefined) return {}
  const { first } = hostRange(subnet)
  const below = { family: 4 as const, value: parseAddress(dhcp[0]).value - 1n }
  if (below.value < first) throw wrong('dhcp', dhcp.join('–'), 'a part of the subnet that leaves addresses below it')
  return { 4: [formatAddress({ family: 4, value: first }), formatAddress(below)] }
}

function within(option: string, range: Range, subnet: Subnet): Range {
  const [first, last] = range.map(parseAddress)
  if (
    first !== undefined &&
    last !== undefined &&
    [first, last].every(address => contains(subnet, address)) &&
    first.value <= last.value
  )
    return range
  throw wrong(option, range.join('–'), `a first and a last address in ${formatSubnet(subnet)}`)
}

function wrong(option: string, value: string, wanted: string): ContainerError {
  return new ContainerError('ERR_INVALID_OPTION', `Cannot use "${value}" as ${option} of a network`, {
    hint: `it must be ${wanted}`,
  })
}

function demandTool(needed: boolean, tool: string, what: string): void {
  if (!needed || hasProgram(tool)) return
  throw new ContainerError('ERR_TOOL_MISSING', `Cannot create the network: ${tool} is not installed`, {
    hint: `${what} need it: install the package "${tool === 'nft' ? 'nftables' : tool}", or turn them off`,
  })
}

/** What a network's directory says; undefined when there is no network. */
export async function readSettings(directory: string): Promise<Settings | undefined> {
  const text = await readFile(join(directory, 'network.json'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
    throw error
  })
  if (text === undefined) return undefined
  const { version, ...settings } = JSON.parse(text) as Settings & { version: number }
  if (version === 1) return settings
  throw new ContainerError(
    'ERR_PROTOCOL',
    `Cannot read ${directory}/network.json: it is of another version of the library`,
  )
}
