/**
 * A managed network: a bridge of the host with subnets, whose containers get addresses, a way out, names and protection from each
 * other. It is a directory of small files and what they say the kernel should have; it has no process of its own, survives the
 * program that made it, and after a reboot `up()` (which every start calls) makes it again.
 */
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { dirname, join } from 'node:path'
import { ContainerError, nearest, refuseUnknown } from './errors.ts'
import { bareLink, changeLinks, listLinks } from './links.ts'
import { withLock } from './lock.ts'
import type { LinkState } from './native/spec.ts'
import {
  type Address,
  contains,
  type Family,
  formatAddress,
  parseSubnet,
  type Subnet,
  toBytes,
} from './network/address.ts'
import {
  forgetGiven,
  printHosts,
  printReservations,
  reloadServer,
  type Server,
  serverPid,
  startServer,
  stopServer,
  writeHosts,
} from './network/dns.ts'
import { forgetJoined, joinHosts, publishJoined } from './network/joined.ts'
import {
  type Asker,
  exhausted,
  forgetLost,
  type Lease,
  type Pool,
  poolOf,
  readLeases,
  releaseLeases,
  takeAddress,
  takeLease,
} from './network/leases.ts'
import { bridgeMac, demandName, type Owner } from './network/names.ts'
import { applyRules, demandForward, type Forward, removeRules } from './network/nat.ts'
import { refuseOverlap, subnetsOf, taken } from './network/occupied.ts'
import {
  defaults,
  type NetworkOptions,
  OPTION_NAMES,
  presetOf,
  readSettings,
  type Settings,
} from './network/settings.ts'

/** Where networks are kept unless `path` says otherwise. */
const STATE = '/var/lib/caisson/networks'

export interface NetworkPlace {
  /** The directory of all networks; default /var/lib/caisson/networks. */
  path?: string
}

/** A bridge and what belongs to it. Needs root. */
export class ManagedNetwork {
  /** The bridge: `lxc.net.N.link`. */
  readonly name: string
  readonly directory: string
  #settings: Settings

  private constructor(name: string, directory: string, settings: Settings) {
    this.name = name
    this.directory = directory
    this.#settings = settings
  }

  /**
   * Defines a network and brings it up. The name `lxcbr0` without options is lxc-net's: 10.0.3.1/24.
   * Throws ERR_NETWORK when the name is taken, or a subnet overlaps one that the host has.
   */
  static async create(name: string, options: NetworkOptions & NetworkPlace = {}): Promise<ManagedNetwork> {
    const { path = STATE, ...given } = options
    demandName(name, 'a network')
    refuseUnknown(given, OPTION_NAMES, 'a network')
    const directory = join(path, name)
    await mkdir(path, { recursive: true })
    return withLock(join(path, 'lock'), `create network "${name}"`, {}, async () => {
      if ((await readSettings(directory)) !== undefined) throw taken(name, 'there is a network of that name')
      const others = await ManagedNetwork.list({ path })
      const links = await listLinks({}, { verb: 'look at the host’s interfaces' })
      if (links.some(link => link.name === name)) throw taken(name, 'the host has an interface of that name')
      const used = [...links.flatMap(subnetsOf), ...others.flatMap(other => other.subnets)]
      const settings = defaults(name, { ...presetOf(name), ...given }, used)
      refuseOverlap(name, settings.subnets, used)
      await mkdir(directory, { recursive: true })
      const network = new ManagedNetwork(name, directory, settings)
      await network.#save()
      try {
        await network.#raise(links)
      } catch (error) {
        await network.#lower()
        await rm(directory, { recursive: true, force: true })
        throw error
      }
      return network
    })
  }

  /** Opens a network that was created before. Throws ERR_NETWORK with the nearest name. */
  static async open(name: string, { path = STATE }: NetworkPlace = {}): Promise<ManagedNetwork> {
    const network = await ManagedNetwork.find(name, { path })
    if (network !== undefined) return network
    const near = nearest(name, await readdir(path).catch(() => []))
    throw new ContainerError('ERR_NETWORK', `Cannot open network "${name}": there is none in ${path}`, {
      hint: near === undefined ? 'make it with Network.create()' : `did you mean "${near}"?`,
    })
  }

  /** The same, or undefined. */
  static async find(name: string, { path = STATE }: NetworkPlace = {}): Promise<ManagedNetwork | undefined> {
    const directory = join(path, name)
    const settings = await readSettings(directory)
    return settings === undefined ? undefined : new ManagedNetwork(name, directory, settings)
  }

  /** All networks, by name. */
  static async list({ path = STATE }: NetworkPlace = {}): Promise<ManagedNetwork[]> {
    const names = await readdir(path).catch(() => [])
    const networks = await Promise.all(names.toSorted().map(name => ManagedNetwork.find(name, { path })))
    return networks.filter(network => network !== undefined)
  }

  /** The bridge's addresses with their prefix lengths. */
  get subnets(): readonly Subnet[] {
    return this.#settings.subnets.map(parseSubnet)
  }

  get settings(): Settings {
    return this.#settings
  }

  /** Whether the kernel has the bridge. */
  async isUp(): Promise<boolean> {
    const links = await listLinks({}, { verb: `look at network "${this.name}"` })
    return links.some(link => link.name === this.name && link.alias === this.#tag)
  }

  /** Makes the bridge, its addresses and server as far as they are missing, and its rules anew. */
  async up(): Promise<void> {
    await this.#locked(`bring up network "${this.name}"`, async () => {
      this.#settings = (await readSettings(this.directory)) ?? this.#gone('bring up')
      await this.#raise(await listLinks({}, { verb: 'look at the host’s interfaces' }))
    })
  }

  /** The same at little cost, for each start: what a look without a process or a lock shows to be there is left alone. */
  async ensure(): Promise<void> {
    // getifaddrs(3) shows a bridge that has addresses and a running port.
    const seen = networkInterfaces()[this.name]?.map(({ address }) => address) ?? []
    const isThere = this.subnets.length > 0 && this.subnets.every(subnet => seen.includes(formatAddress(subnet)))
    if (isThere && (!this.#hasServer || (await serverPid(this)) !== undefined)) return
    await this.up()
  }

  /** Takes away what `up()` made. Throws ERR_NETWORK while containers are on the bridge, unless `force`. */
  async down({ force = false }: { force?: boolean } = {}): Promise<void> {
    await this.#locked(`take down network "${this.name}"`, async () => {
      if (!force) await this.#refuseBusy()
      await this.#lower()
    })
  }

  /** Takes it down and forgets it, with its leases. */
  async destroy({ force = false }: { force?: boolean } = {}): Promise<void> {
    await this.#locked(`destroy network "${this.name}"`, async () => {
      if (!force) await this.#refuseBusy()
      await this.#lower()
      await rm(this.directory, { recursive: true, force: true })
      await forgetJoined(this.#path, this.name)
    })
  }

  /** Who has which address. */
  leases(): Promise<Lease[]> {
    return readLeases(this.#leaseDirectory)
  }

  /** Takes an address that the config names; false when another container has it. One outside of the subnets is nobody's concern. */
  async reserve(asker: Asker, address: Address): Promise<boolean> {
    if (!this.subnets.some(subnet => contains(subnet, address))) return true
    if (this.subnets.some(({ value }) => value === address.value)) return false
    return takeAddress(this.#leaseDirectory, address, asker)
  }

  /** An address for an interface in each family but those given: the ones it has, or free ones. Everybody can then name the container. */
  async lease(asker: Asker, except: ReadonlySet<Family> = new Set()): Promise<Subnet[]> {
    const addresses: Subnet[] = []
    for (const subnet of this.subnets.filter(({ family }) => !except.has(family))) {
      const address = await this.#take(poolOf(subnet, this.#settings.ranges[subnet.family]), asker)
      addresses.push({ ...address, prefix: subnet.prefix })
    }
    await this.#locked(`name container "${asker.container}"`, () => this.#publish())
    return addresses
  }

  async #take(pool: Pool, asker: Asker): Promise<Address> {
    const address = await takeLease(this.#leaseDirectory, pool, asker)
    if (address !== undefined) return address
    return this.#locked('give back lost addresses', async () => {
      await forgetLost(this.#leaseDirectory)
      const again = await takeLease(this.#leaseDirectory, pool, asker)
      if (again === undefined) throw exhausted(pool)
      return again
    })
  }

  /** Gives back the addresses of a container, or of one of its interfaces. */
  async release(owner: Omit<Owner, 'index'> & { index?: number }): Promise<void> {
    const released = await releaseLeases(this.#leaseDirectory, owner)
    if (released.length === 0) return
    await this.#locked(`forget container "${owner.container}"`, async () => {
      await this.#publish()
      if (this.#hasServer && (await this.isUp())) await forgetGiven(this.#server, released)
    })
  }

  /** Connections to a port of the host go to a container's from now on; kept until `unforward`. Throws ERR_NETWORK when the port is taken. */
  async forward(forward: Forward): Promise<void> {
    await this.#change(settings => {
      demandForward(forward, this.subnets, settings.forwards)
      return { ...settings, forwards: [...settings.forwards, forward] }
    })
  }

  async unforward({ protocol, port }: Pick<Forward, 'protocol' | 'port'>): Promise<void> {
    await this.#change(settings => ({
      ...settings,
      forwards: settings.forwards.filter(other => other.protocol !== protocol || other.port !== port),
    }))
  }

  /** Its own name servers; none: its containers have the host's. */
  get resolvers(): readonly string[] {
    return this.#settings.dns === 'dnsmasq' ? this.subnets.map(formatAddress) : []
  }

  /** The file that containers on these networks see as /etc/hosts. */
  static async hostsFile(networks: readonly [ManagedNetwork, ...ManagedNetwork[]]): Promise<string> {
    const [first, ...others] = networks
    if (others.length === 0) return first.#hosts
    const names = networks.map(({ name }) => name)
    return first.#locked(`join networks ${names.join(', ')}`, () => joinHosts(first.#path, names))
  }

  get #hosts(): string {
    return join(this.directory, 'hosts')
  }

  /** The directory of all networks. */
  get #path(): string {
    return dirname(this.directory)
  }

  get #tag(): string {
    return `caisson:network:${this.name}`
  }

  /** Whether a dnsmasq belongs to it. */
  get #hasServer(): boolean {
    return this.#settings.dns === 'dnsmasq' || this.#settings.dhcp !== undefined
  }

  get #server(): Server {
    const { dhcp, domain } = this.#settings
    return { name: this.name, subnets: this.subnets, domain, dhcp, directory: this.directory }
  }

  get #leaseDirectory(): string {
    return join(this.directory, 'leases')
  }

  #locked<T>(action: string, act: () => Promise<T>): Promise<T> {
    return withLock(join(this.#path, 'lock'), action, {}, act)
  }

  async #change(edit: (settings: Settings) => Settings): Promise<void> {
    await this.#locked(`change network "${this.name}"`, async () => {
      this.#settings = edit((await readSettings(this.directory)) ?? this.#gone('change'))
      await this.#save()
      await this.#applyRules()
    })
  }

  async #save(): Promise<void> {
    const file = join(this.directory, 'network.json')
    {
      await using handle = await open(`${file}.new`, 'w', 0o644)
      await handle.writeFile(`${JSON.stringify({ version: 1, ...this.#settings }, null, 1)}\n`)
      await handle.sync()
    }
    await rename(`${file}.new`, file)
  }

  async #raise(links: readonly LinkState[]): Promise<void> {
    const { mtu, vlanFiltering, nat } = this.#settings
    const found = links.find(link => link.name === this.name)
    if (found !== undefined && found.alias !== this.#tag)
      throw taken(this.name, 'the host has another interface of that name')
    if (found === undefined) {
      const mac = bridgeMac(this.name)
      const addresses = this.subnets.map(subnet => ({
        address: toBytes(subnet),
        prefix: subnet.prefix,
        broadcast: new Uint8Array(),
      }))
      const bridge = bareLink({
        kind: 'bridge',
        name: this.name,
        tag: this.#tag,
        mac,
        hostMac: mac,
        mtu,
        vlanFiltering,
        addresses,
        hostSettings: this.#forwarding(nat),
      })
      await changeLinks({}, { create: [bridge] }, { verb: `bring up network "${this.name}"` })
    }
    await this.#publish()
    await this.#applyRules()
    await this.#serve()
  }

  /** A way out needs a host that forwards; what is on already, or is turned on here, stays on: others may count on it. */
  #forwarding(nat: boolean): { path: string; value: string }[] {
    if (!nat && this.#settings.forwards.length === 0) return []
    const families = new Set(this.subnets.map(({ family }) => family))
    return [...families].map(family =>
      family === 4
        ? { path: '/proc/sys/net/ipv4/ip_forward', value: '1' }
        : { path: '/proc/sys/net/ipv6/conf/all/forwarding', value: '1' },
    )
  }

  async #applyRules(): Promise<void> {
    const { nat, isolation, forwards } = this.#settings
    if (!nat && !isolation && forwards.length === 0) return removeRules(this.name)
    await applyRules({ name: this.name, subnets: this.subnets, nat, isolated: isolation, forwards })
  }

  async #serve(): Promise<void> {
    if (this.#hasServer) await startServer(this.#server)
  }

  async #lower(): Promise<void> {
    await stopServer(this)
    await removeRules(this.name)
    const bridge = bareLink({ kind: 'bridge', name: this.name, tag: this.#tag })
    await changeLinks({}, { remove: [bridge] }, { verb: `take down network "${this.name}"` })
  }

  #gone(verb: string): never {
    throw new ContainerError('ERR_NETWORK', `Cannot ${verb} network "${this.name}": it was destroyed`, {
      hint: 'make it again with ManagedNetwork.create()',
    })
  }

  async #refuseBusy(): Promise<void> {
    const links = await listLinks({}, { verb: `look at network "${this.name}"` })
    const bridge = links.find(link => link.name === this.name)
    const ports = links.filter(link => bridge !== undefined && link.master === bridge.index)
    if (ports.length === 0) return
    throw new ContainerError(
      'ERR_NETWORK',
      `Cannot take down network "${this.name}": ${ports.length} interfaces are on it`,
      {
        hint: 'stop the containers first, or use `force`',
      },
    )
  }

  /** Writes what the leases say for those who ask by name or by DHCP. */
  async #publish(): Promise<void> {
    const leases = await this.leases()
    await writeHosts(this.#hosts, printHosts([{ leases, domain: this.#settings.domain }]))
    await publishJoined(this.#path, this.name)
    if (!this.#hasServer) return
    await writeHosts(join(this.directory, 'reservations'), printReservations(leases))
    await reloadServer(this)
  }

  /** The way out of a container: the bridge's own addresses. */
  get gateways(): readonly Address[] {
    return this.subnets
  }
}
