/**
 * Network interfaces: `lxc.net.N.*` becomes LinkSpecs, with every name, address and number resolved. Pure: what the host has
 * and what managed networks have handed out comes in. lxc.container.conf(5) NETWORK
 */
import type { Config, ConfigKey } from '../config/config.ts'
import { ContainerError, nearest } from '../errors.ts'
import type { LinkSpec, LinkState, RouteSpec } from '../native/spec.ts'
import {
  type Address,
  BITS,
  broadcastOf,
  contains,
  type Family,
  formatAddress,
  fromBytes,
  parseAddress,
  parseSubnet,
  type Subnet,
  toBytes,
} from '../network/address.ts'
import { demandName, guestMac, hostMac, hostName, type Owner, parseMac, shaperName, tagOf } from '../network/names.ts'
import type { UserNetwork } from '../network/user.ts'
import { hostScript, openVSwitch } from './network_programs.ts'
import { userLinks } from './network_user.ts'

/** What a managed network has given to one interface. */
export interface Assignment {
  readonly addresses: readonly Subnet[]
  readonly gateways: readonly Address[]
  /** Ports of the same network do not reach each other. */
  readonly isolated: boolean
  /** The container sends as itself only. */
  readonly filtered: boolean
}

export interface NetworkContext {
  readonly lxcpath: string
  readonly container: string
  /** Where helpers leave their pid. */
  readonly runDir?: string | undefined
  /** By the N of lxc.net.N. */
  readonly assigned: ReadonlyMap<number, Assignment>
  /** The names of the host's interfaces; absent: whether there is one is for the kernel to say. */
  readonly names?: ReadonlySet<string> | undefined
  /** The host's interfaces, where `needsLinks` said so. */
  readonly links?: readonly LinkState[] | undefined
  /** How a user without rights over the host's network reaches it; absent: the caller has such rights. */
  readonly user?: UserNetwork | undefined
  /** ovs-vsctl(8), where it is installed. */
  readonly openVSwitch?: string | undefined
  /** Told what a user without rights goes without, and what would help. */
  readonly warn?: ((lack: string, hint: string) => void) | undefined
}

type Build = (link: LinkSpec, net: Net) => LinkSpec[]

/** One lxc.net.N and what surrounds it. */
export interface Net {
  readonly config: Config
  readonly index: number
  readonly owner: Owner
  readonly context: NetworkContext
}

const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const
const IPVLAN_MODES = { l2: 0, l3: 1, l3s: 2 } as const
const IPVLAN_FLAGS = { bridge: 0, private: 1, vepa: 2 } as const

/** Whether resolving needs the list of the host's interfaces: what `auto` stands for, what phys lends, whose a taken name or a switch is. */
export function needsLinks(
  config: Config,
  hasOpenVSwitch: boolean,
  { lxcpath, container, names }: Pick<NetworkContext, 'lxcpath' | 'container' | 'names'>,
): boolean {
  return config.interfaces().some(index => {
    const type = config.value(`lxc.net.${index}.type`)
    const gateways = ([4, 6] as const).map(family => config.value(`lxc.net.${index}.ipv${family}.gateway`))
    const outer = config.value(`lxc.net.${index}.veth.pair`) ?? hostName({ lxcpath, container, index })
    const asks = hasOpenVSwitch || names?.has(outer) === true
    return type === 'phys' || gateways.includes('auto') || (type === 'veth' && asks)
  })
}

/** The interfaces of a container in the order of their numbers. Throws ERR_CONFIG_* with the place in the config, ERR_NETWORK. */
export function resolveLinks(config: Config, context: NetworkContext): LinkSpec[] {
  const links: LinkSpec[] = []
  const routed = new Set<Family>()
  for (const index of config.interfaces()) {
    const type = config.value(`lxc.net.${index}.type`)
    const build = type === undefined || type === 'none' ? undefined : BUILDERS[type]
    if (build === undefined) continue
    const net: Net = {
      config,
      index,
      context,
      owner: { lxcpath: context.lxcpath, container: context.container, index },
    }
    const begun = begin(net, links)
    const made = context.user !== undefined && type !== 'empty' ? userLinks(begun, net, links) : build(begun, net)
    for (const link of made) links.push({ ...link, routes: link.routes.filter(route => isFirst(route, routed)) })
  }
  refuseTwins(config, links)
  return links
}

/** One default route for each family: that of the first interface that has a gateway. */
function isFirst({ destination, prefix }: RouteSpec, routed: Set<Family>): boolean {
  if (prefix > 0) return true
  const { family } = fromBytes(destination)
  const first = !routed.has(family)
  routed.add(family)
  return first
}

/** What all types share. */
function begin({ config, index, owner, context }: Net, before: readonly LinkSpec[]): LinkSpec {
  const addresses = addressesOf(config, index, context)
  const hwaddr = config.value(`lxc.net.${index}.hwaddr`)
  const link = config.value(`lxc.net.${index}.link`) ?? ''
  return {
    kind: 'user',
    name: config.value(`lxc.net.${index}.name`) ?? freeName(config, before),
    hostName: '',
    parent: link,
    tag: tagOf(owner),
    mac: hwaddr === undefined ? new Uint8Array() : parseMac(hwaddr),
    hostMac: new Uint8Array(),
    mtu: config.value(`lxc.net.${index}.mtu`) ?? 0,
    hostMtu: 0,
    up: config.has(`lxc.net.${index}.flags`),
    mode: 0,
    flags: 0,
    vlan: 0,
    vlanFiltering: false,
    rxQueues: 0,
    txQueues: 0,
    addresses: addresses.map(subnet => ({
      address: toBytes(subnet),
      prefix: subnet.prefix,
      broadcast: broadcastFor(config, index, subnet),
    })),
    routes: ([4, 6] as const).flatMap(family => gatewayRoute({ config, index, owner, context }, family, addresses)),
    hostRoutes: [],
    proxies: [],
    hostSettings: [],
    port: { isolated: false, tagged: [] },
    rate: { ingress: 0, egress: 0, shaper: '' },
    upPrograms: hostScript(config, index, 'up', owner, link),
    downPrograms: hostScript(config, index, 'down', owner, link),
  }
}

/** The first eth0, eth1, … that no interface has or wants. */
function freeName(config: Config, before: readonly LinkSpec[]): string {
  const wanted = config.interfaces().map(index => config.value(`lxc.net.${index}.name`))
  const taken = new Set([...before.map(({ name }) => name), ...wanted])
  for (let number = 0; ; number++) if (!taken.has(`eth${number}`)) return `eth${number}`
}

function addressesOf(config: Config, index: number, context: NetworkContext): Subnet[] {
  const given = [4, 6].flatMap(family => config.value(`lxc.net.${index}.ipv${family as Family}.address`))
  const own = given.map(({ address, prefix }) => parseSubnet(`${address}/${prefix}`))
  const assigned = context.assigned.get(index)?.addresses ?? []
  return [...own, ...assigned.filter(({ family }) => !own.some(subnet => subnet.family === family))]
}

function broadcastFor(config: Config, index: number, subnet: Subnet): Uint8Array {
  const line = config
    .value(`lxc.net.${index}.ipv4.address`)
    .find(({ address }) => address === formatAddress(subnet) && subnet.family === 4)
  const broadcast = line?.broadcast === undefined ? broadcastOf(subnet) : parseAddress(line.broadcast)
  return broadcast === undefined ? new Uint8Array() : toBytes(broadcast)
}

function gatewayRoute(net: Net, family: Family, addresses: readonly Subnet[]): RouteSpec[] {
  const destination = new Uint8Array(BITS[family] / 8)
  const given = net.config.value(`lxc.net.${net.index}.ipv${family}.gateway`)
  if (given === 'dev') return [{ destination, prefix: 0, gateway: new Uint8Array(), onLink: false }]
  const gateway =
    given === undefined
      ? assignedGateway(net, family)
      : given === 'auto'
        ? linkAddress(net, family)
        : parseAddress(given)
  if (gateway === undefined) return []
  const onLink = !addresses.some(subnet => contains(subnet, gateway))
  return [{ destination, prefix: 0, gateway: toBytes(gateway), onLink }]
}

function assignedGateway({ context, index }: Net, family: Family): Address | undefined {
  return context.assigned.get(index)?.gateways.find(gateway => gateway.family === family)
}

/** `auto`: the first global address of the interface that is linked to. */
function linkAddress(net: Net, family: Family): Address {
  const key: ConfigKey = `lxc.net.${net.index}.ipv${family}.gateway`
  const link = net.config.value(`lxc.net.${net.index}.link`)
  const state = net.context.links?.find(({ name }) => name === link)
  const address = state?.addresses.find(one => one.scope === 0 && one.address.length === BITS[family] / 8)
  if (address !== undefined) return fromBytes(address.address)
  const reason = state === undefined ? 'does not exist' : `has no IPv${family} address`
  throw new ContainerError('ERR_NETWORK', `Cannot use gateway "auto" of lxc.net.${net.index}: "${link}" ${reason}`, {
    hint: 'name the gateway itself, or give the link an address first',
    ...net.config.where(key),
  })
}

// ── the types ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const BUILDERS: Readonly<Record<'veth' | 'macvlan' | 'ipvlan' | 'vlan' | 'phys' | 'empty', Build>> = {
  empty: link => (link.upPrograms.length + link.downPrograms.length === 0 ? [] : [{ ...link, name: 'lo', parent: '' }]),
  veth: (link, net) => [vethLink(present(link, net), net)],
  macvlan: (link, net) => [
    {
      ...demandParent(link, net),
      kind: 'macvlan',
      mode: MACVLAN_MODES[net.config.value(`lxc.net.${net.index}.macvlan.mode`)],
    },
  ],
  ipvlan: (link, net) => [
    {
      ...demandParent(link, net),
      kind: 'ipvlan',
      mode: IPVLAN_MODES[net.config.value(`lxc.net.${net.index}.ipvlan.mode`)],
      flags: IPVLAN_FLAGS[net.config.value(`lxc.net.${net.index}.ipvlan.isolation`)],
      ...layerTwo(net, link, link.parent),
    },
  ],
  vlan: (link, net) => [{ ...demandParent(link, net), kind: 'vlan', vlan: demandVlan(net) }],
  phys: (link, net) => physLinks(demandLink(link, net), net),
}

const demandParent = (link: LinkSpec, net: Net): LinkSpec => present(demandLink(link, net), net)

function demandLink(link: LinkSpec, { config, index }: Net): LinkSpec {
  if (link.parent !== '') return link
  throw new ContainerError('ERR_CONFIG_VALUE', `Cannot make lxc.net.${index}: it has no link`, {
    hint: `add "lxc.net.${index}.link = INTERFACE", an interface of the host`,
    ...config.where(`lxc.net.${index}.type`),
  })
}

/** What a link is made from must be there, unless a hook of the config may make it first. */
function present(link: LinkSpec, { config, index, context: { names } }: Net): LinkSpec {
  const { parent } = link
  if (names === undefined || parent === '' || names.has(parent) || config.has('lxc.hook.pre-start')) return link
  const near = nearest(parent, [...names])
  throw new ContainerError('ERR_NETWORK', `Cannot make lxc.net.${index}: the host has no interface "${parent}"`, {
    hint: near === undefined ? `its interfaces are ${[...names].join(', ')}` : `did you mean "${near}"?`,
    ...config.where(`lxc.net.${index}.link`),
  })
}

/** The host's end may replace an orphan of its own, and nothing else. */
function refuseTaken(name: string, tag: string, { config, index, owner, context: { links = [] } }: Net): void {
  const there = links.find(link => link.name === name)
  const unnamed = there?.alias === '' && Buffer.compare(there.mac, hostMac(owner)) === 0
  if (there === undefined || there.alias === tag || unnamed) return
  throw new ContainerError('ERR_NETWORK', `Cannot make lxc.net.${index}: the host has another interface "${name}"`, {
    hint: 'choose another lxc.net.N.veth.pair, or leave it out',
    ...config.where(`lxc.net.${index}.veth.pair`),
  })
}

function demandVlan({ config, index }: Net): number {
  const id = config.value(`lxc.net.${index}.vlan.id`)
  if (id !== undefined) return id
  throw new ContainerError('ERR_CONFIG_VALUE', `Cannot make lxc.net.${index}: it has no VLAN id`, {
    hint: `add "lxc.net.${index}.vlan.id = 1 … 4094"`,
    ...config.where(`lxc.net.${index}.type`),
  })
}

function vethLink(link: LinkSpec, net: Net): LinkSpec {
  const { config, index, owner, context } = net
  const assigned = context.assigned.get(index)
  const router = config.value(`lxc.net.${index}.veth.mode`) === 'router'
  const name = config.value(`lxc.net.${index}.veth.pair`) ?? hostName(owner)
  demandName(name, `the host's end of lxc.net.${index}`)
  refuseTaken(name, link.tag, net)
  const mac = link.mac.length === 0 ? guestMac(owner) : link.mac
  const switched = context.links?.find(state => state.name === link.parent)?.kind === 'openvswitch'
  const vlan = config.value(`lxc.net.${index}.veth.vlan.id`)
  const ports = switched ? openVSwitch(context.openVSwitch ?? '', link.parent, name, vlan) : { up: [], down: [] }
  return {
    ...link,
    kind: 'veth',
    hostName: name,
    parent: router || switched ? '' : link.parent,
    mac,
    hostMac: hostMac(owner),
    rxQueues: config.value(`lxc.net.${index}.veth.n_rxqueues`) ?? 0,
    txQueues: config.value(`lxc.net.${index}.veth.n_txqueues`) ?? 0,
    port: {
      isolated: assigned?.isolated ?? false,
      vlan: switched || vlan === undefined ? undefined : vlan === 'none' ? 0 : vlan,
      tagged: config.value(`lxc.net.${index}.veth.vlan.tagged.id`).map(Number),
    },
    filter: assigned?.filtered ? { mac, addresses: link.addresses.map(({ address }) => address) } : undefined,
    rate: rateOf(net),
    ...(router ? routed(link, net, name) : { hostRoutes: extraRoutes(net) }),
    upPrograms: [...ports.up, ...link.upPrograms],
    downPrograms: [...link.downPrograms, ...ports.down],
  }
}

function rateOf({ config, index, owner }: Net): LinkSpec['rate'] {
  const [ingress, egress] = (['ingress', 'egress'] as const).map(
    way => config.value(`caisson.net.${index}.limit.${way}`) ?? 0,
  )
  return { ingress: toByteRate(ingress ?? 0), egress: toByteRate(egress ?? 0), shaper: shaperName(owner) }
}

/** Bits per second, of which the kernel counts whole bytes; a limit below one byte is still a limit. */
export function toByteRate(bits: number): number {
  return bits === 0 ? 0 : Math.max(1, Math.round(bits / 8))
}

function extraRoutes({ config, index }: Net): RouteSpec[] {
  return ([4, 6] as const).flatMap(family =>
    config.value(`lxc.net.${index}.veth.ipv${family}.route`).map(({ address, prefix }) => ({
      destination: toBytes(parseAddress(address)),
      prefix,
      gateway: new Uint8Array(),
      onLink: false,
    })),
  )
}

/** Mode router: no bridge; the host has a route to each address, and answers for the gateway on its end of the pair. */
function routed(link: LinkSpec, net: Net, name: string): Partial<LinkSpec> {
  const own = link.addresses.map(({ address }) => ({
    destination: address,
    prefix: address.length * 8,
    gateway: new Uint8Array(),
    onLink: false,
  }))
  const gateways = link.routes.filter(({ gateway }) => gateway.length > 0)
  const families = new Set(link.addresses.map(({ address }) => fromBytes(address).family))
  return {
    hostRoutes: [...own, ...extraRoutes(net)],
    proxies: [
      ...gateways.map(({ gateway }) => ({ link: '', address: gateway })),
      ...layerTwo(net, link, link.parent).proxies,
    ],
    hostSettings: [...families].flatMap(family => [
      { path: `/proc/sys/net/ipv${family}/conf/${name}/forwarding`, value: '1' },
      { path: `/proc/sys/net/ipv${family}/neigh/${name}/proxy_delay`, value: '0' },
      ...(family === 6 ? [{ path: `/proc/sys/net/ipv6/conf/${name}/proxy_ndp`, value: '1' }] : []),
    ]),
  }
}

/** lxc.net.N.l2proxy: the parent answers ARP and neighbour solicitations for the container's addresses. */
function layerTwo({ config, index }: Net, link: LinkSpec, parent: string): Pick<LinkSpec, 'proxies'> {
  if (!config.value(`lxc.net.${index}.l2proxy`) || parent === '') return { proxies: [] }
  return { proxies: link.addresses.map(({ address }) => ({ link: parent, address })) }
}

/** A link `eth+` lends every interface whose name begins with eth. */
function physLinks(link: LinkSpec, { config, index, owner, context }: Net): LinkSpec[] {
  const all = context.links ?? []
  const many = link.parent.endsWith('+')
  const wanted = (name: string): boolean => (many ? name.startsWith(link.parent.slice(0, -1)) : name === link.parent)
  const found = all.filter(({ name }) => wanted(name) && name !== 'lo')
  if (found.length === 0) {
    throw new ContainerError('ERR_NETWORK', `Cannot lend "${link.parent}": the host has no such interface`, {
      hint: `its interfaces are ${all.map(({ name }) => name).join(', ')}`,
      ...config.where(`lxc.net.${index}.link`),
    })
  }
  const named = config.has(`lxc.net.${index}.name`) && !many
  return found.map(state => ({
    ...link,
    kind: 'phys',
    name: named ? link.name : many || !config.has(`lxc.net.${index}.name`) ? state.name : link.name,
    hostName: state.name,
    parent: '',
    tag: tagOf(owner, state.name),
    hostMac: link.mac.length > 0 ? state.mac : new Uint8Array(),
    hostMtu: link.mtu > 0 ? state.mtu : 0,
  }))
}

function refuseTwins(config: Config, links: readonly LinkSpec[]): void {
  for (const side of ['name', 'hostName'] as const) {
    const names = links.map(link => link[side]).filter(name => name !== '')
    const twin = names.find((name, at) => names.indexOf(name) !== at)
    if (twin === undefined) continue
    const index = config
      .interfaces()
      .findLast(n => config.value(`lxc.net.${n}.${side === 'name' ? 'name' : 'veth.pair'}`) === twin)
    throw new ContainerError('ERR_CONFIG_CONFLICT', `Cannot name two interfaces "${twin}"`, {
      hint: 'each needs a name of its own',
      ...(index === undefined ? {} : config.where(`lxc.net.${index}.name`)),
    })
  }
}
