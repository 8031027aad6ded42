/**
 * IPv4 and IPv6 addresses and subnets as numbers: what is inside what, what overlaps, which one is next. RFC 4291, RFC 5952
 */
import { isIPv4, isIPv6 } from 'node:net'
import { ContainerError } from '../errors.ts'

export type Family = 4 | 6

/** An address: its value is that of its 32 or 128 bits. */
export interface Address {
  readonly family: Family
  readonly value: bigint
}

/** An address and the length of its network's prefix. */
export interface Subnet extends Address {
  readonly prefix: number
}

export const BITS: Readonly<Record<Family, number>> = { 4: 32, 6: 128 }

/** Reads '10.0.3.1' or 'fd00::1'. Throws ERR_NETWORK. */
export function parseAddress(text: string): Address {
  if (isIPv4(text)) return { family: 4, value: text.split('.').reduce((sum, byte) => sum * 256n + BigInt(byte), 0n) }
  if (isIPv6(text) && !text.includes('%')) return { family: 6, value: parseGroups(text) }
  throw new ContainerError('ERR_NETWORK', `Cannot use address "${text}": it is neither IPv4 nor IPv6`, {
    hint: 'write it like 10.0.3.5 or fd00::5, without a zone',
  })
}

function parseGroups(text: string): bigint {
  const dotted = /^(.*:)([0-9.]+\.[0-9.]+)$/.exec(text)
  if (dotted !== null) {
    const low = parseAddress(dotted[2] as string).value
    return parseGroups(`${dotted[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`)
  }
  const [head, tail] = text.split('::').map(part => (part === '' ? [] : part.split(':')))
  const missing = 8 - (head?.length ?? 0) - (tail?.length ?? 0)
  const groups = tail === undefined ? (head ?? []) : [...(head ?? []), ...Array<string>(missing).fill('0'), ...tail]
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n)
}

/** Reads '10.0.3.1/24'; without a prefix length it is a single host. Throws ERR_NETWORK. */
export function parseSubnet(text: string): Subnet {
  const [address, length, ...rest] = text.split('/') as [string, string?, ...string[]]
  const parsed = parseAddress(address)
  const prefix = length === undefined ? BITS[parsed.family] : Number(length)
  if (rest.length === 0 && /^[0-9]+$/.test(length ?? '0') && prefix <= BITS[parsed.family]) return { ...parsed, prefix }
  throw new ContainerError('ERR_NETWORK', `Cannot use subnet "${text}": its prefix length is not one`, {
    hint: `a prefix length of IPv${parsed.family} is 0 to ${BITS[parsed.family]}`,
  })
}

/** '10.0.3.5', 'fd00::5': the one way of RFC 5952. */
export function formatAddress({ family, value }: Address): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map(shift => (value >> shift) & 255n).join('.')
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16))
  const longest = groups
    .map((_, start) => ({ start, length: groups.slice(start).findIndex(group => group !== '0') }))
    .map(run => (run.length < 0 ? { ...run, length: 8 - run.start } : run))
    .reduce((best, run) => (run.length > best.length ? run : best))
  if (longest.length < 2) return groups.join(':')
  return `${groups.slice(0, longest.start).join(':')}::${groups.slice(longest.start + longest.length).join(':')}`
}

export function formatSubnet(subnet: Subnet): string {
  return `${formatAddress(subnet)}/${subnet.prefix}`
}

/** 4 or 16 bytes, as they stand in a packet. */
export function toBytes({ family, value }: Address): Uint8Array {
  const size = BITS[family] / 8
  return Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * (size - 1 - i))) & 255n))
}

export function fromBytes(bytes: Uint8Array): Address {
  return { family: bytes.length === 4 ? 4 : 6, value: bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n) }
}

const hostMask = ({ family, prefix }: Subnet): bigint => (1n << BigInt(BITS[family] - prefix)) - 1n

/** The subnet's own address: that with no bit behind the prefix. */
export function networkOf(subnet: Subnet): Subnet {
  return { ...subnet, value: subnet.value & ~hostMask(subnet) }
}

/** The last address of the subnet. */
export function lastOf(subnet: Subnet): Address {
  return { family: subnet.family, value: subnet.value | hostMask(subnet) }
}

/** IPv4 only; networks of one or two hosts have none (RFC 3021). */
export function broadcastOf(subnet: Subnet): Address | undefined {
  return subnet.family === 4 && subnet.prefix < 31 ? lastOf(subnet) : undefined
}

export function contains(subnet: Subnet, address: Address): boolean {
  return subnet.family === address.family && (subnet.value & ~hostMask(subnet)) === (address.value & ~hostMask(subnet))
}

export function overlap(a: Subnet, b: Subnet): boolean {
  return a.prefix <= b.prefix ? contains(a, b) : contains(b, a)
}

/** What may be given to hosts: from the second address of the subnet to the last but the broadcast one. */
export function hostRange(subnet: Subnet): { readonly first: bigint; readonly last: bigint } {
  const { value } = networkOf(subnet)
  const last = lastOf(subnet).value
  if (subnet.prefix >= BITS[subnet.family] - 1) return { first: value, last }
  return { first: value + 1n, last: subnet.family === 4 ? last - 1n : last }
}
