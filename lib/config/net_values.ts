/** Values of `lxc.net.N.*`: interface names, hardware and IP addresses, routes. */
import { isIPv4, isIPv6, SocketAddress } from 'node:net'
import { type Kind, quote, whole } from './kinds.ts'
import { mistake } from './mistake.ts'

/** A kernel interface name: 15 bytes (IFNAMSIZ - 1). LXC cuts longer ones silently; here they are refused. */
export const interfaceName: Kind<string, string> = {
  describe: 'an interface name of at most 15 bytes',
  verbatim: true,
  parse(value) {
    if (Buffer.byteLength(value) > 15) throw mistake(`${quote(value)} is longer than 15 bytes`, 'choose a shorter name')
    if (/[/\s:]/.test(value) || value === '.' || value === '..')
      throw mistake(`${quote(value)} is not an interface name`)
    return value
  },
  print: value => value,
}

/** For a phys network a trailing `+` stands for every interface of the host that begins so. */
export const linkName: Kind<string, string> = {
  ...interfaceName,
  describe: 'an interface of the host; for type phys a trailing + stands for any ending',
  parse: value => (value.endsWith('+') ? `${interfaceName.parse(value.slice(0, -1))}+` : interfaceName.parse(value)),
}

/** Six bytes; `x` stands for a random digit. */
export const hardwareAddress: Kind<string, string> = {
  describe: 'a MAC address like 10:66:6a:xx:xx:xx, in which each x becomes a random digit',
  parse(value) {
    if (!/^[0-9a-fA-FxX]{1,2}(:[0-9a-fA-FxX]{1,2}){5}$/.test(value))
      throw mistake(`${quote(value)} is not a MAC address`)
    return value
  },
  print: value => value,
}

/** Replaces each `x`; `digit` gives a number from 0 to 15. The first byte is made a unicast one, as in LXC. */
export function drawHardwareAddress(template: string, digit: () => number): string {
  return template.replace(/[xX]/g, (_, index: number) => (digit() & (index === 1 ? 0x0e : 0x0f)).toString(16))
}

/** An address with its prefix length; `broadcast` is undefined for /31 and /32, which have none. */
export interface InterfaceAddress {
  readonly address: string
  readonly prefix: number
  readonly broadcast?: string
}

const BITS = { 4: 32, 6: 128 } as const

/** An address, or a network, with its prefix length; IPv6 in its shortest form, as inet_ntop(3) has it. */
function readPrefix(text: string, family: 4 | 6): { address: string; prefix: number | undefined } {
  const [address, prefix, ...rest] = text.split('/') as [string, string?, ...string[]]
  const valid = family === 4 ? isIPv4(address) : isIPv6(address) && !address.includes('%')
  if (!valid || rest.length > 0) throw mistake(`${quote(text)} is not an IPv${family} address`)
  const canonical = family === 4 ? address : new SocketAddress({ address, family: 'ipv6' }).address
  return { address: canonical, prefix: prefix === undefined ? undefined : whole(0, BITS[family]).parse(prefix) }
}

const toNumber = (address: string): number => address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)
const toAddress = (number: number): string => [24, 16, 8, 0].map(shift => (number >>> shift) & 255).join('.')

/** Before prefix lengths, the first byte told it (RFC 791): A /8, B /16, C /24; others are single hosts. */
function classPrefix(address: string): number {
  const first = toNumber(address) >>> 24
  if (first < 128) return 8
  if (first < 192) return 16
  return first < 224 ? 24 : 32
}

function broadcastOf(address: string, prefix: number): string | undefined {
  return prefix > 30 ? undefined : toAddress((toNumber(address) | (0xffffffff >>> prefix)) >>> 0)
}

/** `a.b.c.d[/prefix] [broadcast]`. */
export const ipv4Address: Kind<InterfaceAddress, string> = {
  describe: 'an IPv4 address, with a prefix length and a broadcast address if need be: 10.0.3.5/24 10.0.3.255',
  parse(text) {
    const [first, given, ...rest] = text.split(/[ \t]+/) as [string, string?, ...string[]]
    if (rest.length > 0) throw mistake(`${quote(text)} has more than an address and a broadcast address`)
    const { address, prefix = classPrefix(address) } = readPrefix(first, 4)
    if (given !== undefined && !isIPv4(given)) throw mistake(`${quote(given)} is not an IPv4 address`)
    const broadcast = given ?? broadcastOf(address, prefix)
    return { address, prefix, ...(broadcast === undefined ? {} : { broadcast }) }
  },
  print: ({ address, prefix, broadcast }) =>
    `${address}/${prefix}${broadcast === broadcastOf(address, prefix) ? '' : ` ${broadcast}`}`,
}

/** `address[/prefix]`; without a prefix length /64. */
export const ipv6Address: Kind<InterfaceAddress, string> = {
  describe: 'an IPv6 address, with a prefix length if it is not 64',
  parse(text) {
    const { address, prefix = 64 } = readPrefix(text, 6)
    return { address, prefix }
  },
  print: ({ address, prefix }) => `${address}/${prefix}`,
}

/** Where packets for elsewhere go: an address, `auto` (that of the link), or `dev` (straight to the interface). */
export function gateway(family: 4 | 6): Kind<string, 'auto' | 'dev' | (string & {})> {
  return {
    describe: `an IPv${family} address, auto (the address of the link) or dev (a device route)`,
    words: ['auto', 'dev'],
    parse(text) {
      if (text === 'auto' || text === 'dev') return text
      const { address, prefix } = readPrefix(text, family)
      if (prefix === undefined) return address
      throw mistake(`${quote(text)} is not an IPv${family} address`, 'a gateway has no prefix length')
    },
    print: value => value,
  }
}

/** `network/prefix`: the host routes it to the container. */
export function route(family: 4 | 6): Kind<InterfaceAddress, `${string}/${number}`> {
  return {
    describe: `an IPv${family} network with its prefix length`,
    parse(text) {
      const { address, prefix } = readPrefix(text, family)
      if (prefix === undefined) throw mistake(`${quote(text)} has no prefix length`)
      return { address, prefix }
    },
    print: ({ address, prefix }) => `${address}/${prefix}`,
  }
}

/** A VLAN of a bridge port, or none. IEEE 802.1Q, bridge(8) */
export const bridgeVlan: Kind<number | 'none', number | `${number}` | 'none'> = {
  describe: 'a VLAN id from 0 to 4094, or none',
  words: ['none'],
  parse: text => (text === 'none' ? text : vlan.parse(text)),
  print: String,
}

/** A VLAN id. */
export const vlan = whole(0, 4094, 'a VLAN id from 0 to 4094')

/** Any value sets the interface up; LXC knows no other flag. */
export const upFlag: Kind<'up', 'up'> = {
  describe: 'up',
  words: ['up'],
  parse: () => 'up',
  print: value => value,
}

const RATES: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, Mbit: 1e6, Gbit: 1e9 }

/** Bits per second; units are powers of 1000, as on the wire. */
export const bitRate: Kind<number, `${number}${'bit' | 'kbit' | 'Mbit' | 'Gbit'}`> = {
  describe: 'a rate like 10Mbit: a number with bit, kbit, Mbit or Gbit',
  parse(text) {
    const match = /^([0-9]+(?:\.[0-9]+)?)(bit|kbit|Mbit|Gbit)$/.exec(text)
    const rate = match === null ? 0 : Math.round(Number(match[1]) * (RATES[match[2] as string] as number))
    if (rate < 1 || !Number.isSafeInteger(rate))
      throw mistake(`${quote(text)} is not a rate`, 'write for example "10Mbit"')
    return rate
  },
  print(rate) {
    const unit = ['Gbit', 'Mbit', 'kbit'].find(name => rate % (RATES[name] as number) === 0) ?? 'bit'
    return `${rate / (RATES[unit] as number)}${unit}`
  },
}
