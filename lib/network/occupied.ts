/** Which names and subnets a host has, and that a new network's are none of them. */
import { ContainerError } from '../errors.ts'
import type { LinkState } from '../native/spec.ts'
import { formatSubnet, fromBytes, networkOf, overlap, parseSubnet, type Subnet } from './address.ts'

/** What an interface has of the world: the subnets of its addresses, but for those of the link and of this host alone. */
export function subnetsOf(link: LinkState): Subnet[] {
  return link.addresses
    .filter(({ scope }) => scope === 0)
    .map(({ address, prefix }) => ({ ...fromBytes(address), prefix }))
}

/** Throws ERR_NETWORK. */
export function refuseOverlap(name: string, subnets: readonly string[], used: readonly Subnet[]): void {
  for (const text of subnets) {
    const clash = used.find(other => overlap(parseSubnet(text), other))
    if (clash === undefined) continue
    throw new ContainerError(
      'ERR_NETWORK',
      `Cannot create network "${name}": ${text} overlaps ${formatSubnet(networkOf(clash))}, which the host has`,
      { hint: 'choose another subnet, or leave it out to have a free one chosen' },
    )
  }
}

/** The refusal of a name that somebody has. */
export function taken(name: string, state: string): ContainerError {
  return new ContainerError('ERR_NETWORK', `Cannot create network "${name}": ${state}`, {
    hint: 'choose another name, or open the network that there is',
  })
}
