/**
 * Names between containers, and addresses for images that ask by DHCP.
 *
 * Without any process: a file of the network in the form of hosts(5), shown to each of its containers as /etc/hosts, read only; it is
 * written in place, so that all of them see a new name at once. With dnsmasq(8), where it is installed: a server on the bridge,
 * which reads the same file. Containers of several networks share a file with the names of all of these.
 */
import { existsSync } from 'node:fs'
import { chmod, open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findProgram, runProgram } from '../native/program.ts'
import { formatAddress, networkOf, type Subnet } from './address.ts'
import type { Lease } from './leases.ts'

const LOCAL =
  '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n'

/** A network's names. */
export interface Names {
  readonly leases: readonly Lease[]
  /** With a domain, names have a long form too. */
  readonly domain?: string | undefined
}

/** The text of a hosts file with the names of these networks. */
export function printHosts(networks: readonly Names[]): string {
  return (
    LOCAL + networks.map(({ leases, domain }) => leases.toSorted(inOrder).map(printLease(domain)).join('')).join('')
  )
}

const inOrder = (a: Lease, b: Lease): number =>
  a.container.localeCompare(b.container) || a.index - b.index || a.address.localeCompare(b.address)

const printLease =
  (domain: string | undefined) =>
  ({ address, container, hostname }: Lease): string => {
    const long = domain === undefined ? [] : [`${container}.${domain}`]
    return `${address}\t${[...long, container, ...(hostname === undefined ? [] : [hostname])].join(' ')}\n`
  }

/** Writes in place: a bind mount shows the file, not its name. */
export async function writeHosts(file: string, text: string): Promise<void> {
  await using handle = await open(file, 'a', 0o644)
  await using writer = await open(file, 'r+')
  await handle.chmod(0o644)
  const bytes = Buffer.from(text)
  await writer.write(bytes, 0, bytes.length, 0)
  await writer.truncate(bytes.length)
}

/** A line for each lease, by which dnsmasq gives a container that asks by DHCP the address it has anyway. */
export function printReservations(leases: readonly Lease[]): string {
  return leases
    .map(({ mac, address, container }) => `${mac},${address.includes(':') ? `[${address}]` : address},${container}\n`)
    .join('')
}

export interface Server {
  /** The bridge. */
  readonly name: string
  /** The bridge's own addresses. */
  readonly subnets: readonly Subnet[]
  readonly domain?: string | undefined
  /** First and last IPv4 address that DHCP may give out. */
  readonly dhcp?: readonly [first: string, last: string] | undefined
  /** The network's directory. */
  readonly directory: string
}

type ServerPlace = Pick<Server, 'name' | 'directory'>

/** Where the server finds the network's directory. */
const SEEN = '/mnt'

/** The command line, after lxc-net's and Incus's: only this bridge, nothing of the host's own configuration. */
export function serverArguments({ name, subnets, domain, dhcp }: Omit<Server, 'directory'>): string[] {
  const file = (base: string): string => join(SEEN, base)
  return [
    '--conf-file=/dev/null',
    '--no-hosts',
    '--strict-order',
    '--bind-interfaces',
    `--interface=${name}`,
    '--except-interface=lo',
    ...subnets.map(subnet => `--listen-address=${formatAddress(subnet)}`),
    `--pid-file=${file('dnsmasq.pid')}`,
    `--addn-hosts=${file('hosts')}`,
    '--no-negcache',
    ...(domain === undefined ? [] : [`--domain=${domain}`, `--local=/${domain}/`, '--expand-hosts']),
    ...(dhcp === undefined
      ? []
      : [
          `--dhcp-range=${dhcp[0]},${dhcp[1]},1h`,
          `--dhcp-leasefile=${file('dnsmasq.leases')}`,
          `--dhcp-hostsfile=${file('reservations')}`,
          '--dhcp-authoritative',
          '--dhcp-no-override',
          '--no-ping',
        ]),
    ...subnets
      .filter(({ family }) => family === 6)
      .map(subnet => `--dhcp-range=${formatAddress(networkOf(subnet))},ra-only`),
  ]
}

/**
 * Starts the server, unless it runs; it goes into the background by itself once it listens. It gives up root, and could then not find files
 * below a directory of root's: in a mount namespace of its own it has them where everybody may look.
 */
export async function startServer(server: Server): Promise<void> {
  if ((await serverPid(server)) !== undefined) return
  await writeFile(join(server.directory, 'reservations'), '', { flag: 'a' })
  await chmod(join(server.directory, 'reservations'), 0o644)
  const shown = ['--mount', '--propagation', 'slave', 'sh', '-ec', 'mount --bind "$0" "$1"; shift; exec "$@"']
  const program = [findProgram('dnsmasq'), ...serverArguments(server)]
  await runProgram('unshare', [...shown, server.directory, SEEN, ...program], { label: 'dnsmasq' })
}

/** Makes the server read hosts and reservations anew, dnsmasq(8) "NOTES". */
export async function reloadServer(place: ServerPlace): Promise<void> {
  const pid = await serverPid(place)
  if (pid !== undefined) process.kill(pid, 'SIGHUP')
}

/** Stops the server and waits until its port is free. */
export async function stopServer(place: ServerPlace): Promise<void> {
  const pid = await serverPid(place)
  if (pid !== undefined) {
    process.kill(pid, 'SIGKILL')
    while (await isAlive(pid)) await sleep(1)
  }
  await rm(join(place.directory, 'dnsmasq.pid'), { force: true })
}

/** A process that ends gives its ports back after its memory; proc_pid_stat(5). */
async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return /\(dnsmasq\) [^ZX]/.test(stat)
}

/** What a server gave by DHCP it remembers, by name too; started again without the record of it, it does not. */
export async function forgetGiven(server: Server, addresses: readonly string[]): Promise<void> {
  const file = join(server.directory, 'dnsmasq.leases')
  const lines = (await readFile(file, 'utf8').catch(absent)).split('\n')
  const kept = lines.filter(line => !addresses.includes(line.split(' ')[2] ?? ''))
  if (kept.length === lines.length) return
  await stopServer(server)
  await writeFile(file, kept.join('\n'))
  await startServer(server)
}

/** The server of a network; a pid that another program has by now is none. */
export async function serverPid({ name, directory }: ServerPlace): Promise<number | undefined> {
  const text = await readFile(join(directory, 'dnsmasq.pid'), 'utf8').catch(() => '')
  if (!/^[0-9]+\n?$/.test(text)) return undefined
  const command = await readFile(`/proc/${Number(text)}/cmdline`, 'utf8').catch(() => '')
  const words = command.split('\0')
  return words[0]?.endsWith('/dnsmasq') && words.includes(`--interface=${name}`) ? Number(text) : undefined
}

/** resolv.conf(5) of a container: these servers or, without any, the host's; those on the host's own loopback are not reachable inside. */
export async function printResolvers(servers: readonly string[], domains: readonly string[]): Promise<string> {
  const search = domains.length === 0 ? '' : `search ${domains.join(' ')}\n`
  if (servers.length > 0) return search + servers.map(server => `nameserver ${server}\n`).join('')
  // systemd-resolved keeps the real ones there.
  const resolved = '/run/systemd/resolve/resolv.conf'
  const text = await readFile(existsSync(resolved) ? resolved : '/etc/resolv.conf', 'utf8').catch(absent)
  const lines = text.split('\n').filter(line => /^\s*(nameserver|search|options)\s/.test(line))
  const usable = lines.filter(
    line => !/nameserver\s+(127\.|::1)/.test(line) && (search === '' || !/^\s*search/.test(line)),
  )
  return search + usable.map(line => `${line}\n`).join('')
}

function absent(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return ''
  throw error
}
