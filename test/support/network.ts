/**
 * Networks for tests: a file runs again in a network namespace that it makes for itself, whose "host" is that namespace and whose
 * "outside" is another one behind it. No packet leaves the machine, and the machine's own interfaces are never seen. The state of managed
 * networks is a tmpfs that nobody else sees.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Network } from '../../lib/config/network_options.ts'
import { Container } from '../../lib/index.ts'
import { listLinks } from '../../lib/links.ts'
import { hasProgram } from '../../lib/native/program.ts'
import { needsRoot } from './host.ts'
import { rootfs } from './rootfs.ts'

export const NETWORKS = '/var/lib/caisson/networks'
export const ip = (...words: string[]): string => execFileSync('ip', words, { encoding: 'utf8' })

/** What a kernel must have, user-mode Linux for one has not: bridges, ifb, and NAT for both families in one table. */
const NEEDS = `ip link add br9 type bridge && ip link add ifb9 type ifb && nft 'add table inet x;
  add chain inet x c { type nat hook postrouting priority 100; }; add rule inet x c masquerade'`

/** Programs by name, with the Debian package that brings each. */
type Tools = Readonly<Record<string, string>>

function obstacle(tools: Tools): string | false {
  const wanted = { ip: 'iproute2', nft: 'nftables', ...tools }
  const missing = Object.entries(wanted).find(([tool]) => !hasProgram(tool))
  if (needsRoot || missing) return needsRoot || `needs ${missing?.[0]} (package ${missing?.[1]})`
  const { status, stderr } = spawnSync('unshare', ['-n', 'sh', '-c', NEEDS], { encoding: 'utf8' })
  return status === 0 ? false : `needs a kernel with bridge, ifb and nft inet: ${stderr.trim().split('\n')[0]}`
}

/** Runs `body` where only what it makes itself is there; without what it needs, a skip that says so. */
export function alone(url: string, name: string, body: (t: Test) => Promise<void>, tools: Tools = {}): void {
  const skip = obstacle(tools)
  if (skip !== false || process.argv.includes('--alone')) {
    t.test(name, { skip }, body)
    return
  }
  const script = 'mkdir -p "$0" && mount -t tmpfs none "$0" && ip link set lo up && exec "$@"'
  const self = [process.execPath, ...process.execArgv, fileURLToPath(url), '--alone']
  t.spawn('unshare', ['-n', '-m', 'sh', '-c', script, NETWORKS, ...self], {}, 'in a network namespace of its own')
}

/** A container with busybox; its init waits to be stopped. */
export async function started(
  t: Test,
  lxcpath: string,
  name: string,
  network: readonly Network[],
  lines = '',
  root = rootfs(t),
): Promise<Container> {
  const container = await Container.create(name, {
    path: lxcpath,
    rootfs: root,
    network,
    config: lines,
    idmap: false,
  })
  t.teardown(() => container.destroy({ force: true }))
  await container.start()
  return container
}

export const run = async (container: Container, ...command: string[]) => {
  const { exitCode, stdout, stderr } = await container.attach(command, { reject: false })
  return { exitCode, output: stdout + stderr }
}
export const reaches = async (container: Container, target: string, ...options: string[]) =>
  (await run(container, 'ping', '-c', '1', '-W', '2', ...options, target)).exitCode === 0

export const hostLinks = async () => (await listLinks({}, { verb: 'look' })).map(({ name }) => name).toSorted()

/** A machine beyond the host's: 198.51.100.2 and 2001:db8:5::2, with a route to nothing but the host. */
export function outside(t: Test): { run(...command: string[]): ReturnType<typeof spawnSync> } {
  const machine = spawn('unshare', ['-n', 'sleep', '1000'], { stdio: 'ignore' })
  t.teardown(() => machine.kill('SIGKILL'))
  const namespaceOf = (pid: string) => readlinkSync(`/proc/${pid}/ns/net`)
  const own = namespaceOf('self')
  const pid = String(machine.pid)
  for (const end = performance.now() + 20_000; namespaceOf(pid) === own; )
    if (performance.now() > end) throw new Error('unshare makes no network namespace')
  ip('link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pid)
  ip('address', 'add', '198.51.100.1/24', 'dev', 'up0')
  ip('address', 'add', '2001:db8:5::1/64', 'dev', 'up0', 'nodad')
  ip('link', 'set', 'up0', 'up')
  const inside = (...command: string[]) => spawnSync('nsenter', ['-t', pid, '-n', ...command], { encoding: 'utf8' })
  inside('ip', 'address', 'add', '198.51.100.2/24', 'dev', 'eth0')
  inside('ip', 'address', 'add', '2001:db8:5::2/64', 'dev', 'eth0', 'nodad')
  inside('ip', 'link', 'set', 'eth0', 'up')
  return { run: inside }
}
