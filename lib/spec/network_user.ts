/** Interfaces of users without rights over the host's network: LXC's helper on a bridge, or their own connections through a process. */
import { ContainerError } from '../errors.ts'
import type { LinkSpec } from '../native/spec.ts'
import { fromBytes } from '../network/address.ts'
import type { UserNetwork } from '../network/user.ts'
import type { Net } from './network.ts'
import { userNetwork } from './network_programs.ts'

const HELPERS =
  'install the package "passt" (where no AppArmor profile keeps it out) or "slirp4netns", or LXC with a line for this user in /etc/lxc/lxc-usernet'

/** A veth becomes what a helper gives; without one the container has only lo, and the caller is told. Throws ERR_NETWORK. */
export function userLinks(link: LinkSpec, net: Net, before: readonly LinkSpec[]): LinkSpec[] {
  const { index, context, config } = net
  const type = config.value(`lxc.net.${index}.type`)
  if (type !== 'veth')
    throw refusal(net, `it is of type ${type}, which needs root`, 'without root there are veth and empty')
  const user = context.user as UserNetwork
  const connection = userNetwork(user, {
    ...net.owner,
    bridge: link.parent,
    name: link.name,
    runDir: context.runDir ?? '',
    mac: link.mac,
    mtu: link.mtu,
    addresses: link.addresses.map(({ address, prefix }) => ({ ...fromBytes(address), prefix })),
    gateways: link.routes.flatMap(({ gateway }) => (gateway.length === 0 ? [] : [fromBytes(gateway)])),
  })
  if (connection === undefined) {
    context.warn?.(
      `lxc.net.${index} of container "${context.container}" has only lo: a veth needs root or a helper`,
      HELPERS,
    )
    return []
  }
  const { up, down, configured } = connection
  const programs = { upPrograms: [...up, ...link.upPrograms], downPrograms: [...link.downPrograms, ...down] }
  if (!configured) return [{ ...link, parent: '', ...programs }]
  refuseMore(link, net, before)
  return [{ ...link, parent: '', up: false, mac: new Uint8Array(), addresses: [], routes: [], ...programs }]
}

/** What one process in user space cannot give. */
function refuseMore(link: LinkSpec, net: Net, before: readonly LinkSpec[]): void {
  if (before.some(other => other.kind === 'user' && other.name !== 'lo' && !other.up))
    throw refusal(net, 'a helper of users gives one interface', 'leave out the others')
  const pasta = (net.context.user as UserNetwork).pasta !== undefined
  if (!pasta && link.addresses.length > 0)
    throw refusal(net, 'slirp4netns has an address of its own', 'leave out the address, or install the package "passt"')
  const families = link.addresses.map(({ address }) => address.length)
  if (new Set(families).size < families.length)
    throw refusal(net, 'pasta gives one address of each family', 'leave out the others')
}

function refusal(
  { config, index }: { config: Net['config']; index: number },
  reason: string,
  hint: string,
): ContainerError {
  return new ContainerError('ERR_NETWORK', `Cannot make lxc.net.${index}: ${reason}`, {
    hint,
    ...config.where(`lxc.net.${index}.type`),
  })
}

/** The name servers of a container whose interface a helper has made; empty: the host's. Undefined: it is none of those. */
export function userResolvers(links: readonly LinkSpec[]): readonly string[] | undefined {
  const words = links
    .filter(({ kind, up }) => kind === 'user' && !up)
    .flatMap(({ upPrograms }) => upPrograms[0]?.argv ?? [])
  if (words.some(word => word.endsWith('/slirp4netns'))) return ['10.0.2.3']
  return words.some(word => word.endsWith('/pasta')) ? [] : undefined
}
