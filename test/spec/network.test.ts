import t from 'tap'
import { Config } from '../../lib/config/config.ts'
import type { LinkState } from '../../lib/native/spec.ts'
import { parseAddress, parseSubnet, toBytes } from '../../lib/network/address.ts'
import { hostName } from '../../lib/network/names.ts'
import { type Assignment, type NetworkContext, needsLinks, resolveLinks, toByteRate } from '../../lib/spec/network.ts'

const base: NetworkContext = { lxcpath: '/var/lib/lxc', container: 'web', assigned: new Map() }
const resolve = (text: string, context: Partial<NetworkContext> = {}) =>
  resolveLinks(Config.parse(text), { ...base, ...context })
const bytes = (text: string) => toBytes(parseAddress(text))
const veth = 'lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n'
const owner = { lxcpath: '/var/lib/lxc', container: 'web', index: 0 }

function state(name: string, more: Partial<LinkState> = {}): LinkState {
  const counters = {
    rxBytes: 0,
    txBytes: 0,
    rxPackets: 0,
    txPackets: 0,
    rxErrors: 0,
    txErrors: 0,
    rxDropped: 0,
    txDropped: 0,
  }
  const numbers = { index: 2, mtu: 1500, flags: 0, operational: 0, master: 0, peer: 0, rate: 0 }
  return { name, kind: '', alias: '', mac: new Uint8Array(6), addresses: [], ...numbers, ...counters, ...more }
}

t.test('a veth on a bridge', async t => {
  const [link, ...rest] = resolve(
    `${veth}lxc.net.0.ipv4.address = 10.0.3.5/24\nlxc.net.0.ipv4.gateway = 10.0.3.1\nlxc.net.0.ipv6.address = fd00::5\n`,
  )
  t.match(link, {
    kind: 'veth',
    name: 'eth0',
    hostName: hostName(owner),
    parent: 'br0',
    up: true,
    proxies: [],
    hostSettings: [],
  })
  t.strictSame(link?.addresses, [
    { address: bytes('10.0.3.5'), prefix: 24, broadcast: bytes('10.0.3.255') },
    { address: bytes('fd00::5'), prefix: 64, broadcast: new Uint8Array() },
  ])
  t.strictSame(link?.routes, [{ destination: bytes('0.0.0.0'), prefix: 0, gateway: bytes('10.0.3.1'), onLink: false }])
  t.equal(link?.filter, undefined)
  t.strictSame(rest, [])
})

t.test('what is not said', async t => {
  t.equal(resolve('lxc.net.0.type = veth\n')[0]?.up, false, 'without flags it stays down')
  t.equal(resolve('lxc.net.0.type = veth\n')[0]?.parent, '', 'without a link it has no bridge')
  t.strictSame(resolve('lxc.net.0.type = empty\n'), [], 'empty has only lo')
  t.strictSame(resolve('lxc.net.0.type = none\n'), [])
  t.strictSame(resolve('lxc.net.0.link = br0\n'), [], 'no type, no interface')
  const names = resolve(
    'lxc.net.3.type = veth\nlxc.net.5.type = veth\nlxc.net.5.name = eth0\nlxc.net.9.type = veth\n',
  ).map(({ name }) => name)
  t.strictSame(names, ['eth1', 'eth0', 'eth2'], 'names are the first that nobody wants')
})

t.test('gateways', async t => {
  const [onLink] = resolve(`${veth}lxc.net.0.ipv4.address = 10.0.3.5/32\nlxc.net.0.ipv4.gateway = 10.0.3.1\n`)
  t.equal(onLink?.routes[0]?.onLink, true, 'outside of every subnet')
  t.equal(resolve(`${veth}lxc.net.0.ipv6.gateway = dev\n`)[0]?.routes[0]?.gateway.length, 0, 'dev')
  const address = { address: bytes('10.0.3.1'), prefix: 24, scope: 0, flags: 0 }
  const auto = `${veth}lxc.net.0.ipv4.gateway = auto\n`
  t.strictSame(
    resolve(auto, { links: [state('br0', { addresses: [address] })] })[0]?.routes[0]?.gateway,
    bytes('10.0.3.1'),
    'auto',
  )
  t.equal(needsLinks(Config.parse(auto), false, base), true)
  t.equal(needsLinks(Config.parse(veth), false, base), false)
  t.equal(needsLinks(Config.parse(veth), false, { ...base, names: new Set([hostName(owner)]) }), true, 'a taken name')
  t.throws(() => resolve(auto, { links: [state('br0')] }), { code: 'ERR_NETWORK', line: 4 })
  t.throws(() => resolve(auto, { links: [] }), { code: 'ERR_NETWORK', message: /"br0" does not exist/ })
  const two = resolve(
    `${veth}lxc.net.0.ipv4.gateway = 10.0.3.1\n${veth.replaceAll('.0.', '.1.')}lxc.net.1.ipv4.gateway = 10.0.4.1\n`,
  )
  t.strictSame(
    two.map(({ routes }) => routes.length),
    [1, 0],
    'one default route',
  )
})

t.test('a managed network', async t => {
  const assignment: Assignment = {
    addresses: [parseSubnet('10.0.3.7/24')],
    gateways: [parseAddress('10.0.3.1')],
    isolated: true,
    filtered: true,
  }
  const [link] = resolve(veth, { assigned: new Map([[0, assignment]]) })
  t.strictSame(link?.addresses[0]?.address, bytes('10.0.3.7'))
  t.strictSame(link?.routes[0]?.gateway, bytes('10.0.3.1'))
  t.equal(link?.port.isolated, true)
  t.strictSame(link?.filter, { mac: link?.mac, addresses: [bytes('10.0.3.7')] })
  const [given] = resolve(`${veth}lxc.net.0.ipv4.address = 10.0.3.9/24\n`, { assigned: new Map([[0, assignment]]) })
  t.strictSame(given?.filter?.addresses, [bytes('10.0.3.9')], 'what the config says comes first')
})

t.test('the other types', async t => {
  t.match(resolve('lxc.net.0.type = macvlan\nlxc.net.0.link = eth1\nlxc.net.0.macvlan.mode = bridge\n')[0], {
    kind: 'macvlan',
    parent: 'eth1',
    mode: 4,
  })
  t.match(
    resolve(
      'lxc.net.0.type = ipvlan\nlxc.net.0.link = eth1\nlxc.net.0.ipvlan.mode = l2\nlxc.net.0.ipvlan.isolation = vepa\n',
    )[0],
    { kind: 'ipvlan', mode: 0, flags: 2 },
  )
  t.match(resolve('lxc.net.0.type = ipvlan\nlxc.net.0.link = eth1\n')[0], { mode: 1, flags: 0 }, 'l3 by default')
  t.match(resolve('lxc.net.0.type = vlan\nlxc.net.0.link = eth1\nlxc.net.0.vlan.id = 7\n')[0], {
    kind: 'vlan',
    vlan: 7,
  })
  t.throws(() => resolve('lxc.net.0.type = vlan\nlxc.net.0.link = eth1\n'), { code: 'ERR_CONFIG_VALUE', line: 1 })
  t.throws(() => resolve('lxc.net.0.type = macvlan\n'), { code: 'ERR_CONFIG_VALUE' })
  const links = [state('lo'), state('eth1', { mtu: 9000 }), state('eth2')]
  t.match(
    resolve('lxc.net.0.type = phys\nlxc.net.0.link = eth1\nlxc.net.0.name = up0\nlxc.net.0.mtu = 1400\n', { links })[0],
    {
      kind: 'phys',
      name: 'up0',
      hostName: 'eth1',
      parent: '',
      mtu: 1400,
      hostMtu: 9000,
    },
  )
  t.strictSame(
    resolve('lxc.net.0.type = phys\nlxc.net.0.link = eth+\n', { links }).map(({ name }) => name),
    ['eth1', 'eth2'],
  )
  t.throws(() => resolve('lxc.net.0.type = phys\nlxc.net.0.link = wlan0\n', { links }), {
    code: 'ERR_NETWORK',
    line: 2,
  })
})

t.test('a routed veth', async t => {
  const [link] = resolve(
    `${veth}lxc.net.0.veth.mode = router\nlxc.net.0.l2proxy = 1\nlxc.net.0.ipv4.address = 192.0.2.5/32\nlxc.net.0.ipv4.gateway = 169.254.0.1\nlxc.net.0.veth.ipv4.route = 198.51.100.0/24\n`,
  )
  t.equal(link?.parent, '')
  t.strictSame(
    link?.hostRoutes.map(({ destination, prefix }) => [destination, prefix]),
    [
      [bytes('192.0.2.5'), 32],
      [bytes('198.51.100.0'), 24],
    ],
  )
  t.strictSame(link?.proxies, [
    { link: '', address: bytes('169.254.0.1') },
    { link: 'br0', address: bytes('192.0.2.5') },
  ])
  t.ok(link?.hostSettings.some(({ path }) => path === `/proc/sys/net/ipv4/conf/${hostName(owner)}/forwarding`))
})

t.test('VLANs, queues, rates', async t => {
  const text =
    'lxc.net.0.veth.vlan.id = none\nlxc.net.0.veth.vlan.tagged.id = 7\nlxc.net.0.veth.vlan.tagged.id = 8\nlxc.net.0.veth.n_rxqueues = 2\ncaisson.net.0.limit.ingress = 10Mbit\n'
  t.match(resolve(veth + text)[0], {
    port: { vlan: 0, tagged: [7, 8] },
    rxQueues: 2,
    rate: { ingress: 1_250_000, egress: 0 },
  })
  t.equal(toByteRate(1), 1, 'a limit is never none')
})

t.test('programs', async t => {
  const [link] = resolve(`${veth}lxc.net.0.script.up = /etc/up --quiet\n`)
  t.equal(link?.upPrograms[0]?.argv[2], `exec /etc/up --quiet 'web' 'net' 'up' 'veth' 'br0' '${hostName(owner)}'`)
  t.ok(link?.upPrograms[0]?.environment.includes('LXC_NET_TYPE=veth'))
  const [quiet] = resolve(`${veth}lxc.hook.version = 1\nlxc.net.0.script.down = /etc/down\n`)
  t.equal(quiet?.downPrograms[0]?.argv[2], 'exec /etc/down')
  t.match(
    resolve('lxc.net.0.type = empty\nlxc.net.0.script.up = /etc/up\n')[0],
    { kind: 'user', name: 'lo' },
    'empty has them too',
  )
  const [port] = resolve(`${veth}lxc.net.0.veth.vlan.id = 7\n`, {
    links: [state('br0', { kind: 'openvswitch' })],
    openVSwitch: '/usr/bin/ovs-vsctl',
  })
  t.strictSame(port?.upPrograms[0]?.argv, [
    '/usr/bin/ovs-vsctl',
    '--may-exist',
    'add-port',
    'br0',
    hostName(owner),
    'tag=7',
  ])
  t.match(port, { parent: '', port: { vlan: undefined } })
})

t.test('without root', async t => {
  const [pasta] = resolve(`${veth}lxc.net.0.mtu = 1400\n`, { user: { pasta: '/usr/bin/pasta' }, runDir: '/run/x' })
  const closed = ['--tcp-ports', 'none', '--udp-ports', 'none', '--tcp-ns', 'none', '--udp-ns', 'none']
  const argv = ['/usr/bin/pasta', '--quiet', '--config-net', '--no-map-gw', ...closed]
  const own = ['--pid', '/run/x/network.pid', '--ns-ifname', 'eth0', '--mtu', '1400', '']
  t.match(pasta, { kind: 'user', addresses: [], upPrograms: [{ argv: [...argv, ...own], pidAt: 18 }] })
  t.strictSame(pasta?.downPrograms[0]?.argv.slice(-2), ['/run/x/network.pid', '/run/x/network.socket'])
  const helper = { lxcUserNic: { program: '/h', bridges: ['br0'] } }
  const up = resolve(veth, { user: helper })[0]?.upPrograms[0]
  t.strictSame(up?.argv.slice(4), ['/h', 'create', '/var/lib/lxc', 'web', '', 'veth', 'br0', 'eth0'])
  t.equal(up?.pidAt, 8)
  t.match(resolve(`${veth}lxc.net.0.ipv4.address = 10.0.3.5/24\n`, { user: helper }), [
    { kind: 'user', addresses: [{ address: bytes('10.0.3.5') }] },
  ])
  const lacks: string[] = []
  t.strictSame(resolve(veth, { user: {}, warn: (...words) => lacks.push(...words) }), [], 'empty')
  t.match(lacks, [/only lo/, /passt/])
  const macvlan = 'lxc.net.0.type = macvlan\nlxc.net.0.link = eth1\n'
  t.throws(() => resolve(macvlan, { user: helper }), {
    code: 'ERR_NETWORK',
    hint: /without root there are veth and empty/,
  })
  t.strictSame(resolve('lxc.net.0.type = empty\n', { user: {} }), [])
})

t.test('two of one name', async t => {
  t.throws(() => resolve(`${veth}lxc.net.0.name = up\nlxc.net.1.type = veth\nlxc.net.1.name = up\n`), {
    code: 'ERR_CONFIG_CONFLICT',
  })
  t.throws(() => resolve(`${veth}lxc.net.0.veth.pair = v\nlxc.net.1.type = veth\nlxc.net.1.veth.pair = v\n`), {
    code: 'ERR_CONFIG_CONFLICT',
  })
})

t.test('what the host must have, and what it may not have', async t => {
  const names = new Set(['lo', 'br0', 'eth1', 'mine'])
  const where = { code: 'ERR_NETWORK', line: 2 }
  t.throws(() => resolve('lxc.net.0.type = veth\nlxc.net.0.link = br1\n', { names }), { ...where, hint: /"br0"/ })
  t.throws(() => resolve('lxc.net.0.type = macvlan\nlxc.net.0.link = wlan7\n', { names }), {
    ...where,
    hint: /lo, br0/,
  })
  const hook = 'lxc.hook.pre-start = /make-bridge\n'
  t.equal(resolve(`${hook}lxc.net.0.type = veth\nlxc.net.0.link = br1\n`, { names }).length, 1, 'a hook may make it')
  const pair = 'lxc.net.0.type = veth\nlxc.net.0.veth.pair = mine\n'
  const links = [state('mine')]
  t.throws(() => resolve(pair, { names, links }), { ...where, message: /another interface "mine"/ })
  const tag = resolve(pair)[0]?.tag as string
  t.equal(resolve(pair, { names, links: [{ ...state('mine'), alias: tag }] }).length, 1, 'an orphan of its own')
})
