/**
 * Names that need no state: the same container's interface has the same name, hardware address and tag on the host at every
 * start, so that whoever finds one knows whose it is, and an orphan is replaced instead of being in the way.
 */
import { createHash } from 'node:crypto'
import { ContainerError } from '../errors.ts'

/** Which interface of which container. */
export interface Owner {
  readonly lxcpath: string
  readonly container: string
  /** The N of lxc.net.N. */
  readonly index: number
}

const hash = (text: string, digits: number): string => createHash('sha256').update(text).digest('hex').slice(0, digits)

/** Eight hex digits that stand for an lxcpath. */
export function pathHash(lxcpath: string): string {
  return hash(lxcpath, 8)
}

const ownHash = ({ lxcpath, container, index }: Owner): string => hash(`${lxcpath}\0${container}\0${index}`, 10)

/** The alias of what stands on the host. For an interface that is only lent, `origin` is its name. */
export function tagOf({ lxcpath, container, index }: Owner, origin?: string): string {
  return ['caisson', pathHash(lxcpath), container, index, ...(origin === undefined ? [] : [origin])].join(':')
}

/** What a tag says; undefined when it is none of ours. */
export function readTag(tag: string): { path: string; container: string; index: number; origin?: string } | undefined {
  const [mark, path, container, index, origin] = tag.split(':')
  if (mark !== 'caisson' || path === undefined || container === undefined || !/^[0-9]+$/.test(index ?? ''))
    return undefined
  return { path, container, index: Number(index), ...(origin === undefined ? {} : { origin }) }
}

/** The host's end of a veth pair: 'cs' and 10 hex digits. */
export function hostName(owner: Owner): string {
  return `cs${ownHash(owner)}`
}

/** The ifb interface that shapes what the container sends. */
export function shaperName(owner: Owner): string {
  return `cf${ownHash(owner)}`
}

const bytes = (hex: string): number[] => (hex.match(/../g) ?? []).map(pair => Number.parseInt(pair, 16))

/** LXC's prefix, 10:66:6a, and three bytes of the owner's hash. */
export function guestMac(owner: Owner): Uint8Array {
  return Uint8Array.from([0x10, 0x66, 0x6a, ...bytes(ownHash(owner)).slice(0, 3)])
}

/** Begins with fe: a bridge takes the lowest address among its ports, and shall not take this one. */
export function hostMac(owner: Owner): Uint8Array {
  return Uint8Array.from([0xfe, ...bytes(ownHash(owner))])
}

/** A managed bridge's own: it must not change with its ports. */
export function bridgeMac(name: string): Uint8Array {
  return Uint8Array.from([0x10, 0x66, 0x6a, ...bytes(hash(`bridge\0${name}`, 6))])
}

export function parseMac(text: string): Uint8Array {
  return Uint8Array.from(text.split(':').map(byte => Number.parseInt(byte, 16)))
}

export function formatMac(mac: Uint8Array): string {
  return [...mac].map(byte => byte.toString(16).padStart(2, '0')).join(':')
}

/** Refuses what the kernel would refuse, before anything is made. netdevice(7): 15 bytes, no blank, slash or colon. */
export function demandName(name: string, what: string): void {
  const bytes = Buffer.byteLength(name)
  if (bytes > 0 && bytes <= 15 && !/[\s/:%]/.test(name) && name !== '.' && name !== '..') return
  const reason = bytes > 15 ? 'it is longer than 15 bytes' : 'it is not the name of an interface'
  throw new ContainerError('ERR_NETWORK', `Cannot name ${what} "${name}": ${reason}`, {
    hint: 'names have 1 to 15 bytes without blanks, slashes, colons and percent signs',
  })
}
