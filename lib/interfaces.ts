/** The interfaces of a running container: what they are, when they have addresses, and changes while it runs. */
import { existsSync } from 'node:fs'
import { throwIfAborted } from './abort.ts'
import { ContainerError } from './errors.ts'
import { bareLink, changeLinks, listLinks, type Where, watchLinks } from './links.ts'
import type { Waiting } from './lock.ts'
import type { Action } from './native/binding.ts'
import type { LinkSpec, LinkState } from './native/spec.ts'
import { type Family, formatAddress, fromBytes } from './network/address.ts'
import { demandName, formatMac, hostMac, type Owner, readTag, shaperName, tagOf } from './network/names.ts'
import { toByteRate } from './spec/network.ts'

export interface Interface {
  readonly name: string
  readonly hwaddr?: string
  readonly mtu: number
  /** 'UP', 'DOWN', 'LOWERLAYERDOWN', … RFC 2863 */
  readonly state: string
  /** With their prefix lengths. */
  readonly addresses: readonly string[]
  readonly rxBytes: number
  readonly txBytes: number
  /** The other end of a veth pair on the host. */
  readonly peer?: string
  /** Bits per second towards the container and from it, where they are limited. */
  readonly limits?: { readonly ingress?: number; readonly egress?: number }
}

/** A running container, as far as its network goes. */
export interface Subject {
  readonly name: string
  readonly lxcpath: string
  /** Its init, as a pid of the host. */
  readonly pid: number
  /** The caller has no rights of its own over the container's network namespace. */
  readonly joinUser?: boolean
}

const STATES = ['UNKNOWN', 'NOTPRESENT', 'DOWN', 'LOWERLAYERDOWN', 'TESTING', 'DORMANT', 'UP']
const TENTATIVE = 0x40
const DADFAILED = 0x08

const whereIs = ({ pid, joinUser }: Subject): Where => ({ pid, joinUser })
const actionOf = (verb: string, { name }: Subject): Action => ({ verb, container: name })

/** All interfaces with addresses and counters, lo among them. */
export async function interfaces(subject: Subject): Promise<readonly Interface[]> {
  const action = actionOf('look at the network of', subject)
  const [inside, host] = await Promise.all([listLinks(whereIs(subject), action), listLinks({}, action)])
  return inside.map(link => describe(link, host))
}

function describe(link: LinkState, host: readonly LinkState[]): Interface {
  const peer =
    link.kind === 'veth' ? host.find(({ index, peer }) => index === link.peer && peer === link.index) : undefined
  const shaper =
    peer === undefined || peer.alias === ''
      ? undefined
      : host.find(({ kind, alias }) => kind === 'ifb' && alias === peer.alias)
  const limits = {
    ...(Number(peer?.rate ?? 0) > 0 ? { ingress: Number(peer?.rate) * 8 } : {}),
    ...(Number(shaper?.rate ?? 0) > 0 ? { egress: Number(shaper?.rate) * 8 } : {}),
  }
  return {
    name: link.name,
    ...(link.mac.length === 6 ? { hwaddr: formatMac(link.mac) } : {}),
    mtu: link.mtu,
    state: STATES[link.operational] ?? 'UNKNOWN',
    addresses: link.addresses.map(({ address, prefix }) => `${formatAddress(fromBytes(address))}/${prefix}`),
    rxBytes: Number(link.rxBytes),
    txBytes: Number(link.txBytes),
    ...(peer === undefined ? {} : { peer: peer.name }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
  }
}

export interface AddressOptions extends Waiting {
  family?: Family
  interface?: string
}

/**
 * Its addresses, without those of lo and of the link only. With a timeout it waits until there is one, told by the kernel.
 * Throws ERR_TIMEOUT, ERR_ABORTED, and ERR_MONITOR_LOST when the container ends meanwhile.
 */
export async function addresses(subject: Subject, options: AddressOptions = {}): Promise<string[]> {
  const action = actionOf('read the addresses of', subject)
  if (options.timeout === undefined) return usable(await listLinks(whereIs(subject), action), options)
  const timeout = AbortSignal.timeout(options.timeout)
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal])
  for await (const links of watchLinks(whereIs(subject), action, signal)) {
    const found = usable(links, options)
    if (found.length > 0) return found
  }
  throwIfAborted(options.signal, `wait for an address of container "${subject.name}"`)
  throw new ContainerError(
    'ERR_TIMEOUT',
    `Cannot wait for an address of container "${subject.name}": it has none after ${options.timeout} ms`,
    {
      container: subject.name,
      hint: 'its image asks by DHCP and nobody answers, or nothing inside brings the interface up',
    },
  )
}

function usable(links: readonly LinkState[], { family, interface: name }: AddressOptions): string[] {
  return links
    .filter(link => link.name !== 'lo' && (name === undefined || link.name === name))
    .flatMap(link => link.addresses)
    .filter(({ scope, flags }) => scope === 0 && (flags & (TENTATIVE | DADFAILED)) === 0)
    .map(({ address }) => fromBytes(address))
    .filter(address => family === undefined || address.family === family)
    .map(formatAddress)
}

/** Moves an interface of the host into the container. Throws ENODEV, EEXIST, ERR_NETWORK. */
export async function attachInterface(subject: Subject, host: string, name = host): Promise<void> {
  demandName(host, 'an interface')
  demandName(name, 'an interface')
  await changeLinks(whereIs(subject), { create: [lent(subject, host, name)] }, actionOf(`attach "${host}" to`, subject))
}

/** Moves an interface of the container to the host. Throws ERR_NETWORK when the container has none of that name. */
export async function detachInterface(subject: Subject, name: string, host = name): Promise<void> {
  demandName(name, 'an interface')
  demandName(host, 'an interface')
  const action = actionOf(`detach "${name}" from`, subject)
  const inside = await listLinks(whereIs(subject), action)
  const found = inside.find(link => link.name === name)
  if (found === undefined || name === 'lo') {
    throw new ContainerError(
      'ERR_NETWORK',
      `Cannot detach "${name}" from container "${subject.name}": it has no such interface`,
      {
        container: subject.name,
        hint: `its interfaces are ${inside.map(link => link.name).join(', ')}`,
      },
    )
  }
  await changeLinks(whereIs(subject), { remove: [{ ...lent(subject, host, name), tag: found.alias }] }, action)
}

const ownerOf = ({ lxcpath, name }: Subject, index: number): Owner => ({ lxcpath, container: name, index })

/** Interfaces that were attached while it ran have no number in the config. */
const UNNUMBERED = 0x7fffffff

function lent(subject: Subject, host: string, name: string): LinkSpec {
  return bareLink({ kind: 'phys', name, hostName: host, tag: tagOf(ownerOf(subject, UNNUMBERED), host), up: false })
}

/** Makes interfaces of the config in the running container. */
export async function addLinks(subject: Subject, links: readonly LinkSpec[]): Promise<void> {
  await changeLinks(whereIs(subject), { create: [...links] }, actionOf('add an interface to', subject))
}

export async function removeLinks(subject: Subject, links: readonly LinkSpec[]): Promise<void> {
  await changeLinks(whereIs(subject), { remove: [...links] }, actionOf('remove an interface from', subject))
}

/** Sets the rates of a veth in bits per second, seen from the container; 0 lifts a limit. Both are set. Throws ERR_NETWORK. */
export async function limitInterface(
  subject: Subject,
  name: string,
  limits: { ingress?: number; egress?: number },
): Promise<void> {
  const action = actionOf(`limit "${name}" of`, subject)
  const found = (await interfaces(subject)).find(link => link.name === name)
  const host = await listLinks({}, action)
  const peer = host.find(link => link.name === found?.peer)
  const index = Number(peer?.alias.split(':')[3] ?? UNNUMBERED)
  if (peer === undefined) {
    throw new ContainerError(
      'ERR_NETWORK',
      `Cannot limit "${name}" of container "${subject.name}": it has no end on the host`,
      {
        container: subject.name,
        hint: 'rates are for veth interfaces',
      },
    )
  }
  const owner = ownerOf(subject, index)
  const rate = {
    ingress: toByteRate(limits.ingress ?? 0),
    egress: toByteRate(limits.egress ?? 0),
    shaper: shaperName(owner),
  }
  const link = bareLink({ kind: 'veth', hostName: peer.name, hostMac: hostMac(owner), tag: peer.alias, rate })
  await changeLinks({}, { shape: [link] }, action)
}

/**
 * After a monitor was killed: removes what its container left on the host, known by its tag alone, and takes back what was lent, out of
 * the namespace that is kept on `pin` for that. False when there was nothing.
 */
export async function removeOrphans(container: { name: string; lxcpath: string }, pin: string): Promise<boolean> {
  const action = { verb: 'clean up after', container: container.name }
  const prefix = tagOf({ lxcpath: container.lxcpath, container: container.name, index: 0 }).replace(/0$/, '')
  const tagged = (links: readonly LinkState[]): LinkSpec[] =>
    links.filter(({ alias }) => alias.startsWith(prefix)).map(orphan)
  const kept = existsSync(pin)
  if (kept) {
    // A file that is no namespace is one that was left by a reboot.
    const inside = await listLinks({ file: pin }, action).then(tagged, () => [])
    if (inside.length > 0) await changeLinks({ file: pin }, { remove: inside }, action)
    await changeLinks({}, { unpin: pin }, action)
  }
  const remove = tagged(await listLinks({}, action))
  if (remove.length > 0) await changeLinks({}, { remove }, action)
  return kept || remove.length > 0
}

/** What is enough to remove it. The tag of what was lent ends with the name that it had. */
function orphan({ name, alias }: LinkState): LinkSpec {
  const origin = readTag(alias)?.origin
  return bareLink({ kind: origin === undefined ? 'veth' : 'phys', name, hostName: origin ?? name, tag: alias })
}
