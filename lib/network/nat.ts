/**
 * What a managed network needs of nftables: masquerade towards the outside, port forwards, and no way between isolated
 * containers through the host's own routing. One table of its own for each network, put in place as a whole by one transaction,
 * and removed as a whole; no other table is read or changed. nft(8)
 */
import { ContainerError } from '../errors.ts'
import { hasProgram, runProgram } from '../native/program.ts'
import { contains, type Family, formatAddress, formatSubnet, networkOf, parseAddress, type Subnet } from './address.ts'

/** Connections to a port of the host's that go to a container. */
export interface Forward {
  readonly protocol: 'tcp' | 'udp'
  /** Of the host; undefined: all of its own addresses. */
  readonly address?: string
  readonly port: number
  readonly to: { readonly address: string; readonly port: number }
}

export interface Rules {
  /** The bridge. */
  readonly name: string
  readonly subnets: readonly Subnet[]
  readonly nat: boolean
  readonly isolated: boolean
  readonly forwards: readonly Forward[]
}

/** The name of a network's table: what nft does not take as a name is written as its bytes. */
export function tableName(bridge: string): string {
  const safe = bridge.replace(/[^A-Za-z0-9]/g, char => `_${Buffer.from(char).toString('hex')}`)
  return `caisson_${safe}`
}

const FAMILY: Readonly<Record<Family, string>> = { 4: 'ip', 6: 'ip6' }

/** The text for `nft -f -`. Making the table first lets it be deleted whether or not it was there. */
export function printRules(rules: Rules): string {
  const table = `table inet ${tableName(rules.name)}`
  const chains = [
    chain('forward', 'filter hook forward priority filter', forwardLines(rules)),
    chain(
      'prerouting',
      'nat hook prerouting priority dstnat',
      rules.forwards.map(forward => forwardLine(forward)),
    ),
    chain(
      'output',
      'nat hook output priority -100',
      rules.forwards.map(forward => `oifname "lo" ${forwardLine(forward)}`),
    ),
    chain('postrouting', 'nat hook postrouting priority srcnat', natLines(rules)),
  ]
  return `${table}\ndelete ${table}\n${table} {\n${chains.join('')}}\n`
}

function chain(name: string, hook: string, lines: readonly string[]): string {
  if (lines.length === 0) return ''
  return `  chain ${name} {\n    type ${hook}; policy accept;\n${lines.map(line => `    ${line}\n`).join('')}  }\n`
}

function forwardLines({ name, isolated }: Rules): string[] {
  // Isolated ports do not see each other's frames, but the host would route between them.
  return isolated ? [`iifname "${name}" oifname "${name}" drop`] : []
}

function natLines({ name, subnets, nat, forwards }: Rules): string[] {
  const out = nat ? subnets.map(subnet => masquerade(subnet, `${FAMILY[subnet.family]} daddr !=`)) : []
  // A container that reaches another one by the host's port: the answer must come back the same way.
  const back =
    forwards.length === 0
      ? []
      : subnets.map(
          subnet => `ct status dnat oifname "${name}" ${masquerade(subnet, `${FAMILY[subnet.family]} daddr`)}`,
        )
  return [...out, ...back]
}

function masquerade(subnet: Subnet, where: string): string {
  const net = formatSubnet(networkOf(subnet))
  return `${FAMILY[subnet.family]} saddr ${net} ${where} ${net} masquerade`
}

/** Loopback addresses are never forwarded: what listens there counts on being asked by the host alone (CVE-2020-8558). */
function forwardLine({ protocol, address, port, to }: Forward): string {
  const target = parseAddress(to.address)
  const ip = FAMILY[target.family]
  const own = target.family === 4 ? 'ip daddr != 127.0.0.0/8' : 'ip6 daddr != ::1'
  const listen =
    address === undefined ? `${own} fib daddr type local` : `${ip} daddr ${formatAddress(parseAddress(address))}`
  const destination =
    target.family === 4 ? `${formatAddress(target)}:${to.port}` : `[${formatAddress(target)}]:${to.port}`
  return `meta nfproto ${target.family === 4 ? 'ipv4' : 'ipv6'} ${listen} ${protocol} dport ${port} dnat ${ip} to ${destination}`
}

/** Puts the rules in place of whatever the table held. */
export async function applyRules(rules: Rules): Promise<void> {
  await runProgram('nft', ['-f', '-'], { input: printRules(rules) })
}

/** Removes the table; that there is none is right too. */
export async function removeRules(bridge: string): Promise<void> {
  if (!hasProgram('nft')) return
  const table = `table inet ${tableName(bridge)}`
  await runProgram('nft', ['-f', '-'], { input: `${table}\ndelete ${table}\n` })
}

/** Refuses what cannot be forwarded, before anything is changed. */
export function demandForward(forward: Forward, subnets: readonly Subnet[], before: readonly Forward[]): void {
  const place = `${forward.protocol} port ${forward.port}`
  for (const port of [forward.port, forward.to.port]) {
    if (Number.isInteger(port) && port > 0 && port < 65_536) continue
    throw new ContainerError('ERR_NETWORK', `Cannot forward ${place}: ${port} is not a port`, {
      hint: 'ports are 1 to 65535',
    })
  }
  const target = parseAddress(forward.to.address)
  if (!subnets.some(subnet => contains(subnet, target))) {
    throw new ContainerError('ERR_NETWORK', `Cannot forward ${place}: ${forward.to.address} is not in this network`, {
      hint: `the network has ${subnets.map(subnet => formatSubnet(networkOf(subnet))).join(', ')}`,
    })
  }
  const taken = before.some(
    other =>
      other.protocol === forward.protocol &&
      other.port === forward.port &&
      (other.address === undefined || forward.address === undefined || other.address === forward.address) &&
      parseAddress(other.to.address).family === target.family,
  )
  if (taken)
    throw new ContainerError('ERR_NETWORK', `Cannot forward ${place}: it is forwarded already`, {
      hint: 'remove that forward first',
    })
}
