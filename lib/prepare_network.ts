/** What a start needs of the network before it is resolved: managed networks are up, addresses handed out, the host looked at. */
import { readFileSync } from 'node:fs'
import type { Config } from './config/config.ts'
import { ContainerError } from './errors.ts'
import { listLinks } from './links.ts'
import { ManagedNetwork, type NetworkPlace } from './managed_network.ts'
import { nameFiles, resolverFile } from './name_files.ts'
import { findProgram, hasProgram } from './native/program.ts'
import type { LinkSpec, LinkState, MountSpec } from './native/spec.ts'
import { parseAddress, type Subnet } from './network/address.ts'
import { formatMac, guestMac, parseMac } from './network/names.ts'
import { findUserNetwork } from './network/user.ts'
import { type Assignment, needsLinks, resolveLinks } from './spec/network.ts'
import { userResolvers } from './spec/network_user.ts'

export interface PreparedNetwork {
  readonly links: LinkSpec[]
  /** /etc/hosts, /etc/hostname and /etc/resolv.conf of managed networks. */
  readonly mounts: MountSpec[]
}

/** Whose network. */
export interface NetworkSubject extends NetworkPlace {
  readonly name: string
  readonly lxcpath: string
  readonly runDir: string
  /** The caller may change the host's network. */
  readonly root: boolean
  /** It is all there already: nothing is asked of the host. */
  readonly present?: boolean
}

/** Takes what the config asks for. Throws ERR_NETWORK, ERR_CONFIG_* before anything is made in the kernel. */
export async function prepareNetwork(config: Config, subject: NetworkSubject): Promise<PreparedNetwork> {
  const { name: container, lxcpath, root } = subject
  const switched = hasProgram('ovs-vsctl')
  const networks = root ? await managedNetworks(config, subject) : new Map<number, ManagedNetwork>()
  const assigned = new Map<number, Assignment>()
  for (const [index, network] of networks)
    assigned.set(index, await assign(config, network, { lxcpath, container, index }))
  const names = subject.present ? undefined : hostNames()
  const context = { lxcpath, container, assigned, names }
  const links = resolveLinks(config, {
    ...context,
    runDir: subject.runDir,
    links: needsLinks(config, switched, context) ? await look() : undefined,
    user: root ? undefined : findUserNetwork(),
    openVSwitch: switched ? findProgram('ovs-vsctl') : undefined,
    warn: (lack, detail) => process.emitWarning(lack, { type: 'ContainerWarning', code: 'ERR_NETWORK', detail }),
  })
  if (!subject.present) demandProxies(config, links)
  const hostname = config.value('lxc.uts.name') ?? container
  const mounts = await nameFiles([...new Set(networks.values())], { runDir: subject.runDir, hostname })
  const servers = root ? undefined : userResolvers(links)
  return { links, mounts: servers === undefined ? mounts : [await resolverFile(subject.runDir, servers, [])] }
}

/** Proxies answer only where the kernel is a router; whether it may be one is the host's to say. ip-sysctl */
function demandProxies(config: Config, links: readonly LinkSpec[]): void {
  for (const { address, link } of links.flatMap(({ proxies }) => proxies).filter(({ link }) => link !== '')) {
    const wanted =
      address.length === 4 ? ['ipv4/conf/LINK/forwarding'] : ['ipv6/conf/LINK/forwarding', 'ipv6/conf/LINK/proxy_ndp']
    const lacking = wanted
      .map(name => `net/${name.replace('LINK', link)}`)
      .find(name => readFileSync(`/proc/sys/${name}`, 'utf8').trim() === '0')
    if (lacking === undefined) continue
    const index = config.interfaces().find(n => config.value(`lxc.net.${n}.l2proxy`))
    throw new ContainerError('ERR_NETWORK', `Cannot answer for the container on "${link}": ${lacking} is off`, {
      hint: `sysctl ${lacking.replaceAll('/', '.')}=1, or leave out lxc.net.N.l2proxy`,
      ...(index === undefined ? {} : config.where(`lxc.net.${index}.l2proxy`)),
    })
  }
}

const look = (): Promise<LinkState[]> => listLinks({}, { verb: 'look at the host’s interfaces' })

/** The names of the host's interfaces, at no more cost than reading a file. proc_pid_net(5) */
function hostNames(): ReadonlySet<string> {
  const lines = readFileSync('/proc/self/net/dev', 'utf8').split('\n').slice(2)
  return new Set(lines.map(line => line.slice(0, line.lastIndexOf(':')).trim()).filter(name => name !== ''))
}

/** Gives back what a container had of all networks: when it is destroyed. */
export async function releaseNetwork(subject: Omit<NetworkSubject, 'root' | 'runDir'>): Promise<void> {
  const { name: container, lxcpath, path } = subject
  const networks = await ManagedNetwork.list(path === undefined ? {} : { path })
  for (const network of networks) await network.release({ lxcpath, container })
}

async function managedNetworks(config: Config, { path }: NetworkSubject): Promise<Map<number, ManagedNetwork>> {
  const found = new Map<number, ManagedNetwork>()
  for (const index of config.interfaces()) {
    const link = config.value(`lxc.net.${index}.link`)
    const bridged =
      config.value(`lxc.net.${index}.type`) === 'veth' && config.value(`lxc.net.${index}.veth.mode`) === 'bridge'
    const network =
      bridged && link !== undefined ? await ManagedNetwork.find(link, path === undefined ? {} : { path }) : undefined
    if (network === undefined) continue
    await network.ensure()
    found.set(index, network)
  }
  return found
}

/** Addresses that the config names are the container's, if nobody has them; for families without one the network chooses. */
async function assign(
  config: Config,
  network: ManagedNetwork,
  owner: { lxcpath: string; container: string; index: number },
): Promise<Assignment> {
  const { index } = owner
  const hwaddr = config.value(`lxc.net.${index}.hwaddr`)
  const mac = hwaddr === undefined ? guestMac(owner) : parseMac(hwaddr)
  const asker = { ...owner, mac: formatMac(mac), hostname: config.value('lxc.uts.name') }
  const given = ([4, 6] as const).flatMap(family => config.value(`lxc.net.${index}.ipv${family}.address`))
  for (const { address } of given) {
    if (await network.reserve(asker, parseAddress(address))) continue
    throw new ContainerError(
      'ERR_NETWORK',
      `Cannot use address ${address}: another container of network "${network.name}" has it`,
      {
        container: owner.container,
        hint: 'choose another address, or leave it out to have a free one',
        ...config.where(`lxc.net.${index}.ipv${address.includes(':') ? 6 : 4}.address`),
      },
    )
  }
  const families = new Set(given.map(({ address }) => parseAddress(address).family))
  const addresses: Subnet[] = await network.lease(asker, families)
  return {
    addresses,
    gateways: network.gateways,
    isolated: network.settings.isolation,
    filtered: network.settings.filter,
  }
}
