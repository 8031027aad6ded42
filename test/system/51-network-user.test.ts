/**
 * The network of a user without rights: by pasta, by slirp4netns, by LXC's setuid helper on a bridge, or none. In namespaces of its own
 * again, with a /dev/net/tun that users may open, as distributions have it; the user is nobody. What is not wanted is hidden behind
 * /dev/null, which cannot be executed.
 */
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Network } from '../../lib/config/network_options.ts'
import { Container, recover } from '../../lib/index.ts'
import { hasProgram } from '../../lib/native/program.ts'
import { findUserNetwork } from '../../lib/network/user.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const NOBODY = 65534
const USER_NIC = '/usr/libexec/lxc/lxc-user-nic'
const HELPERS: Readonly<Record<string, string>> = {
  pasta: '/usr/bin/pasta',
  slirp4netns: '/usr/bin/slirp4netns',
  'lxc-user-nic': USER_NIC,
}

/** The user's own machine: an uplink with an address, a bridge, and a line that lets a group of nobody's onto it. */
const HOST = `
mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && ip link set lo up
ip link add up0 type veth peer name up1 && ip address add 192.0.2.9/24 dev up0
ip link set up0 up && ip link set up1 up && ip route add default via 192.0.2.1
ip link add br0 type bridge && ip address add 10.98.0.1/24 dev br0 && ip link set br0 up
mount -t tmpfs none /run/lxc && mount -t tmpfs none /etc/lxc && echo '@games veth br0 2' >/etc/lxc/lxc-usernet
# LXC's helper looks in /sys whether it is a bridge
mount --rbind /sys/fs/cgroup /mnt && mount -t sysfs none /sys && mount --rbind /mnt /sys/fs/cgroup
for hidden in $HIDDEN; do mount --bind /dev/null "$hidden"; done
unset NODE_OPTIONS # tap keeps account of processes in a directory of root
exec "$@"
`

function asUser(t: Test, wanted: string): void {
  const home = directory(t)
  chownSync(home, NOBODY, NOBODY)
  for (const place of ['/run/lxc', '/etc/lxc']) mkdirSync(place, { recursive: true })
  // only what reads TypeScript
  const loader = process.execArgv.filter(word => word.includes('@tapjs/typescript'))
  const self = [process.execPath, ...loader, fileURLToPath(import.meta.url)]
  const user = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--groups=60', '--', ...self]
  const hidden = Object.entries(HELPERS).filter(([name, file]) => name !== wanted && existsSync(file))
  const own = { HOME: home, XDG_RUNTIME_DIR: home, XDG_DATA_HOME: home, WANTED: wanted }
  const HIDDEN = hidden.map(([, file]) => file).join(' ')
  t.spawn(
    'unshare',
    ['-n', '-m', 'sh', '-ec', HOST, 'sh', ...user],
    { env: { ...process.env, ...own, HIDDEN } },
    `by ${wanted}`,
  )
}

const home = process.env.HOME as string

/** Processes of helpers for this test's containers. */
const helpers = (): string[] =>
  readdirSync('/proc').filter(pid => /^\d+$/.test(pid) && commandOf(pid).some(word => word.includes(home)))

function commandOf(pid: string): string[] {
  try {
    const name = readFileSync(`/proc/${pid}/comm`, 'utf8')
    return /^(pas|slirp4netns)/.test(name) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0') : []
  } catch {
    return [] // it has ended meanwhile
  }
}

const make = (name: string, network: readonly Network[]): Promise<Container> =>
  Container.create(name, {
    path: join(home, 'lxc'),
    template: 'busybox',
    idmap: [{ type: 'both', container: 0, host: NOBODY, range: 1 }],
    network,
  })

const run = async (container: Container, ...command: string[]): Promise<string> =>
  (await container.attach(command, { reject: false })).stdout

const CASES: Readonly<Record<string, (t: Test) => Promise<void>>> = {
  async pasta(t) {
    await byProcess(t, { type: 'veth', link: 'any' }, ['192.0.2.9'])
    const nic: Network = {
      type: 'veth',
      name: 'net7',
      ipv4: ['192.0.2.77/25'],
      gateway: '192.0.2.2',
      hwaddr: '02:00:00:00:00:07',
    }
    const web = await make('wishes', [nic])
    await web.start()
    t.strictSame(await web.ips({ family: 4, interface: 'net7' }), ['192.0.2.77'], 'an address that the config names')
    t.match(await run(web, 'ip', 'route'), /^default via 192\.0\.2\.2 dev net7/)
    t.match(await web.interfaces(), [{}, { addresses: ['192.0.2.77/25'], hwaddr: '02:00:00:00:00:07' }])
    await web.destroy({ force: true })
    await refused(t, [{ type: 'veth' }, { type: 'veth' }], /gives one interface/)
    await refused(t, [{ type: 'veth', ipv4: ['192.0.2.7/24', '192.0.2.8/24'] }], /one address of each family/)
  },

  async slirp4netns(t) {
    await byProcess(t, { type: 'veth' }, ['10.0.2.100'])
    await refused(t, [{ type: 'veth', ipv4: ['192.0.2.7/24'] }], /has an address of its own/)
  },

  async 'lxc-user-nic'(t) {
    const nic: Network = {
      type: 'veth',
      link: 'br0',
      ipv4: ['10.98.0.7/24'],
      gateway: '10.98.0.1',
      hwaddr: '02:00:00:00:00:07',
    }
    const web = await make('bridged', [nic])
    await web.start()
    t.strictSame(await web.ips({ family: 4 }), ['10.98.0.7'])
    t.match(await web.interfaces(), [{}, { name: 'eth0', hwaddr: '02:00:00:00:00:07', state: 'UP', peer: /^veth/ }])
    t.match(await run(web, 'ping', '-c', '1', '-W', '5', '10.98.0.1'), / 0% packet loss/, 'it reaches the bridge')
    t.match(await run(web, 'ip', 'route'), /^default via 10\.98\.0\.1 dev eth0/)
    const twin = await make('twin', [{ type: 'veth', link: 'br0' }])
    await twin.start()
    const third = await make('third', [{ type: 'veth', link: 'br0' }])
    await t.rejects(
      third.start(),
      { code: 'ERR_TOOL_FAILED', step: 'link.create', message: /[Qq]uota/ },
      'so many are granted',
    )
    await twin.destroy({ force: true })
    await third.start()
    t.match(
      (await third.interfaces()).map(({ name }) => name),
      ['lo', 'eth0'],
      'and given back at the end',
    )
    await third.destroy({ force: true })
    await web.destroy({ force: true })
    const lost = await make('lost', [{ type: 'veth', link: 'other0' }])
    await withoutHelper(t, lost)
  },

  async none(t) {
    await withoutHelper(t, await make('lost', [{ type: 'veth' }]))
  },
}

async function asNobody(t: Test): Promise<void> {
  await CASES[process.env.WANTED as string]?.(t)
  await refused(t, [{ type: 'macvlan', link: 'up0' }], /type macvlan, which needs root/)
}

async function refused(t: Test, network: readonly Network[], message: RegExp): Promise<void> {
  const container = await make('refused', network)
  await t.rejects(container.start(), { code: 'ERR_NETWORK', message })
  await container.destroy()
}

/** It starts, has only lo, and the program hears what would help. */
async function withoutHelper(t: Test, container: Container): Promise<void> {
  const warned = new Promise<Error>(resolve => process.once('warning', resolve))
  await container.start()
  t.match(await warned, { code: 'ERR_NETWORK', message: /has only lo/, detail: /passt.*slirp4netns.*lxc-usernet/ })
  t.strictSame(
    (await container.interfaces()).map(({ name }) => name),
    ['lo'],
  )
  await container.destroy({ force: true })
}

/** The connections of the user by a process beside the container, and nothing of the user's machine besides. */
async function byProcess(t: Test, nic: Network, ips: readonly string[]): Promise<void> {
  const server = createServer(socket => socket.end('secret\n')).listen(0, '127.0.0.1')
  const open = createServer(socket => socket.end('welcome\n')).listen(0, '192.0.2.9')
  t.teardown(() => [server, open].forEach(one => void one.close()))
  await Promise.all([server, open].map(one => new Promise(resolve => one.once('listening', resolve))))
  const [hidden, offered] = [server, open].map(one => String((one.address() as { port: number }).port))
  const web = await make('web', [nic])
  t.teardown(() => web.destroy({ force: true }))
  await web.start()
  t.strictSame(await web.ips({ family: 4, timeout: 10_000 }), ips)
  const gateway = /^default via (\S+) dev eth0/.exec(await run(web, 'ip', 'route'))?.[1] as string
  t.ok(gateway, 'with a way out')
  t.equal(helpers().length, 1)
  for (const target of ['127.0.0.1', gateway])
    t.equal(await run(web, 'nc', '-w', '2', target, hidden as string), '', `${target} is not the user's own loopback`)
  if (ips[0] !== '192.0.2.9')
    t.equal(
      await run(web, 'nc', '-w', '5', '192.0.2.9', offered as string),
      'welcome\n',
      'what listens for others is reached',
    )
  await web.stop({ force: true })
  await until(() => helpers().length === 0, 'the process goes with the container')
  await web.start()
  const monitor = Number(/PPid:\t(\d+)/.exec(readFileSync(`/proc/${await web.initPid()}/status`, 'utf8'))?.[1])
  process.kill(monitor, 'SIGKILL')
  await until(async () => (await recover({ path: join(home, 'lxc') })).length, 'there is something to recover')
  await until(() => helpers().length === 0, 'the process goes with a monitor that was killed')
  await web.destroy({ force: true })
}

if (process.getuid?.() === NOBODY) t.test('a container of nobody', asNobody)
else
  for (const wanted of process.env.ONLY ? [process.env.ONLY] : ['pasta', 'slirp4netns', 'lxc-user-nic', 'none']) {
    const missing = Object.keys(HELPERS).find(name => name === wanted && !existsSync(HELPERS[name] as string))
    const confined = wanted === 'pasta' && existsSync(HELPERS.pasta as string) && findUserNetwork().pasta === undefined
    const skip =
      needsRoot ||
      (confined && 'AppArmor keeps pasta out of other namespaces here') ||
      (missing !== undefined && `needs ${missing}`) ||
      (!hasProgram('ip') && 'needs iproute2')
    if (skip) t.test(`a network by ${wanted}`, { skip }, async () => undefined)
    else asUser(t, wanted)
  }
