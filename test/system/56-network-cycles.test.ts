/** Many containers come and go, four at a time, on one network: of all that they had on the host nothing is left. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Container, ManagedNetwork } from '../../lib/index.ts'
import { alone, hostLinks, ip, NETWORKS } from '../support/network.ts'
import { directory, rootfs } from '../support/rootfs.ts'

/** CYCLES asks for fewer or more. */
const CYCLES = Number(process.env.CYCLES ?? 500)
const LANES = 4

/** Network namespaces that a mount or a descriptor of this process keeps; others' processes are not looked at. */
function keptNamespaces(): string[] {
  const opened = readdirSync('/proc/self/fd').map(fd => linkOf(`/proc/self/fd/${fd}`))
  const mounted = readFileSync('/proc/self/mountinfo', 'utf8').match(/net:\[\d+\]/g) ?? []
  return [...opened.filter(target => target.startsWith('net:')), ...mounted]
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return '' // the descriptor by which the directory was read
  }
}

/** Without those of the bridge's link-local address, which comes a second after the bridge (RFC 4862), nor whether it has carrier. */
const routes = (family: string): string[] =>
  ip(family, 'route', 'show', 'table', 'all')
    .replaceAll(' linkdown', '')
    .split('\n')
    .filter(line => !/(local|anycast) fe80:/.test(line))

const nft = (): string => execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' })

async function cycles(t: Test): Promise<void> {
  const lxcpath = directory(t)
  const root = rootfs(t)
  const network = await ManagedNetwork.create('cnet0', { ipv4: '10.95.0.1/24', ipv6: 'fd95::1/64' })
  const once = async (number: number): Promise<void> => {
    const name = `c${number}`
    const container = await Container.create(name, {
      path: lxcpath,
      rootfs: root,
      network: [{ type: 'veth', link: 'cnet0', limits: { egress: '1Gbit' } }],
      config: `lxc.net.0.veth.ipv4.route = 198.18.${number >> 8}.${number & 255}/32\n`,
      idmap: false,
    })
    await container.start()
    if ((await container.ips()).length !== 2) throw new Error(`${name} has not two addresses`)
    await container.destroy({ force: true })
  }
  const state = async () => ({
    links: await hostLinks(),
    routes: ['-4', '-6'].flatMap(routes),
    neighbours: ip('neighbour', 'show', 'proxy'),
    rules: [ip('rule'), nft()],
    leases: await network.leases(),
    files: readdirSync(join(NETWORKS), { recursive: true }).map(String).toSorted(),
    hosts: readFileSync(join(NETWORKS, 'cnet0/hosts'), 'utf8'),
    descriptors: readdirSync('/proc/self/fd').length,
    mounts: readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length,
    kept: keptNamespaces(),
  })
  await once(0)
  const before = await state()
  let next = 0
  const lane = async (): Promise<void> => {
    for (let number = next++; number < CYCLES; number = next++) await once(number)
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  t.equal(next, CYCLES + LANES)
  t.strictSame(await state(), before)
  await network.destroy()
}

alone(import.meta.url, `${CYCLES} containers`, cycles)
