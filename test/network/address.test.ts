import { mkdtemp, rm } from 'node:fs/promises'
import { isIP } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import {
  BITS,
  broadcastOf,
  contains,
  formatAddress,
  formatSubnet,
  fromBytes,
  hostRange,
  lastOf,
  networkOf,
  overlap,
  parseAddress,
  parseSubnet,
  type Subnet,
  toBytes,
} from '../../lib/network/address.ts'
import { printHosts, printReservations, serverArguments } from '../../lib/network/dns.ts'
import { exhausted, forgetLost, readLeases, releaseLeases, takeAddress, takeLease } from '../../lib/network/leases.ts'
import { demandName, guestMac, hostMac, hostName, readTag, shaperName, tagOf } from '../../lib/network/names.ts'
import { demandForward, printRules, tableName } from '../../lib/network/nat.ts'
import { defaults, presetOf } from '../../lib/network/settings.ts'
import { grantedBridges, shutsOut } from '../../lib/network/user.ts'

const address = fc.oneof(
  fc.bigInt(0n, (1n << 32n) - 1n).map(value => ({ family: 4 as const, value })),
  fc.bigInt(0n, (1n << 128n) - 1n).map(value => ({ family: 6 as const, value })),
)
const subnet: fc.Arbitrary<Subnet> = address.chain(one =>
  fc.integer({ min: 0, max: BITS[one.family] }).map(prefix => ({ ...one, prefix })),
)

t.test('addresses', async t => {
  fc.assert(
    fc.property(address, one => {
      const text = formatAddress(one)
      return (
        isIP(text) === one.family &&
        parseAddress(text).value === one.value &&
        fromBytes(toBytes(one)).value === one.value
      )
    }),
  )
  fc.assert(
    // What the kernel's own way of writing is, as far as Node knows it.
    fc.property(
      address,
      one => one.family === 4 || new URL(`http://[${formatAddress(one)}]/`).hostname === `[${formatAddress(one)}]`,
    ),
  )
  t.equal(parseAddress('::ffff:10.0.3.1').value, (0xffffn << 32n) | 0x0a000301n, 'a dotted tail')
  t.equal(formatAddress(parseAddress('1:0:0:2:0:0:0:3')), '1:0:0:2::3', 'the longer run of zeros is left out')
  t.equal(formatAddress(parseAddress('1:0:2:3:4:5:6:7')), '1:0:2:3:4:5:6:7', 'a single zero is not')
  t.equal(formatAddress(parseAddress('0:0::')), '::')
  for (const wrong of ['', '10.0.3', '10.0.3.256', '010.0.0.1', 'fe80::1%eth0', ':::', '1::2::3', 'web']) {
    t.throws(() => parseAddress(wrong), { code: 'ERR_NETWORK' }, JSON.stringify(wrong))
  }
})

t.test('subnets', async t => {
  fc.assert(
    fc.property(subnet, subnet, (a, b) => {
      const apart = lastOf(a).value < networkOf(b).value || lastOf(b).value < networkOf(a).value
      return overlap(a, b) === (a.family === b.family && !apart) && overlap(a, b) === overlap(b, a)
    }),
  )
  fc.assert(
    fc.property(
      subnet,
      a =>
        contains(a, a) &&
        contains(a, networkOf(a)) &&
        contains(a, lastOf(a)) &&
        parseSubnet(formatSubnet(a)).prefix === a.prefix,
    ),
  )
  t.strictSame(hostRange(parseSubnet('10.0.3.77/24')), { first: 0x0a000301n, last: 0x0a0003fen })
  t.strictSame(hostRange(parseSubnet('10.0.3.4/31')), { first: 0x0a000304n, last: 0x0a000305n }, 'RFC 3021')
  t.equal(formatAddress(broadcastOf(parseSubnet('10.0.3.1/24')) ?? parseAddress('::')), '10.0.3.255')
  t.equal(broadcastOf(parseSubnet('10.0.3.1/31')), undefined)
  for (const wrong of ['10.0.3.1/33', '10.0.3.1/', '10.0.3.1/-1', '10.0.3.1/24/8', 'fd00::/129', '10.0.3.1/ 8']) {
    t.throws(() => parseSubnet(wrong), { code: 'ERR_NETWORK' }, JSON.stringify(wrong))
  }
})

t.test('names', async t => {
  const owner = { lxcpath: '/var/lib/lxc', container: 'web', index: 0 }
  for (const name of [hostName(owner), shaperName(owner)]) {
    t.match(name, /^c[sf][0-9a-f]{10}$/)
    demandName(name, 'an interface')
  }
  const others = [
    { ...owner, index: 1 },
    { ...owner, container: 'db' },
    { ...owner, lxcpath: '/srv/lxc' },
  ]
  t.equal(new Set([owner, ...others].map(hostName)).size, 4, 'every part counts')
  t.equal(hostName(owner), hostName({ ...owner }), 'and nothing else')
  t.equal(((guestMac(owner)[0] ?? 1) | (hostMac(owner)[0] ?? 1)) & 1, 0, 'no multicast address')
  t.match(readTag(tagOf(owner, 'eth3')), { container: 'web', index: 0, origin: 'eth3' })
  t.equal(readTag('my uplink'), undefined)
  for (const wrong of ['', 'sixteen-bytes-xx', 'a/b', 'a b', 'a:b', 'a%d', '.', '..', 'ÄÖÜÄÖÜÄÖ']) {
    t.throws(() => demandName(wrong, 'an interface'), { code: 'ERR_NETWORK' }, JSON.stringify(wrong))
  }
})

t.test('leases', async t => {
  const base = await mkdtemp(join(tmpdir(), 'caisson-leases-'))
  t.teardown(() => rm(base, { recursive: true }))
  const directory = join(base, 'leases')
  const pool = { subnet: parseSubnet('10.0.3.0/29'), first: 0x0a000301n, last: 0x0a000306n, reserved: [0x0a000301n] }
  const owner = (container: string, index = 0) => ({ lxcpath: base, container, index })
  const take = async (name: string, index?: number) => {
    const address = await takeLease(directory, pool, { ...owner(name, index), mac: 'aa:bb:cc:dd:ee:ff' })
    return address === undefined ? undefined : formatAddress(address)
  }
  t.equal(await take('.'), '10.0.3.2', 'the lowest that is not the host’s')
  t.equal(await take('.'), '10.0.3.2', 'the same again')
  t.equal(await take('.', 1), '10.0.3.3', 'another one for another interface')
  const names = ['leases', 'leases/..', './leases']
  t.strictSame(
    (await Promise.all(names.map(name => take(name)))).toSorted(),
    ['10.0.3.4', '10.0.3.5', '10.0.3.6'],
    'at the same time',
  )
  t.equal(await take('../..'), undefined, 'an exhausted pool')
  t.match(exhausted(pool), { code: 'ERR_NETWORK', message: /10\.0\.3\.1–10\.0\.3\.6 are taken/ })
  t.strictSame(await releaseLeases(directory, owner('.', 1)), ['10.0.3.3'])
  t.equal(await takeAddress(directory, parseAddress('10.0.3.3'), { ...owner('gone'), mac: '' }), true)
  t.equal(await takeAddress(directory, parseAddress('10.0.3.3'), { ...owner('gone'), mac: '' }), true, 'taking twice')
  t.equal(await takeAddress(directory, parseAddress('10.0.3.3'), { ...owner('.'), mac: '' }), false, 'somebody else’s')
  t.equal(await forgetLost(directory), true)
  t.equal(await take('../..'), '10.0.3.3', 'that of a container whose directory is gone is free')
  t.match(
    (await readLeases(directory)).find(lease => lease.address === '10.0.3.3'),
    { container: '../..', mac: 'aa:bb:cc:dd:ee:ff', lxcpath: base },
  )
  for (const name of ['.', '../..', ...names]) await releaseLeases(directory, { lxcpath: base, container: name })
  t.strictSame(await readLeases(directory), [])
})

t.test('the rules of a network', async t => {
  const rules = {
    name: 'br-0',
    subnets: ['10.0.3.1/24', 'fd00::1/64'].map(parseSubnet),
    nat: true,
    isolated: false,
    forwards: [],
  }
  t.equal(tableName('br-0'), 'caisson_br_2d0')
  t.equal(
    printRules(rules),
    `table inet caisson_br_2d0
delete table inet caisson_br_2d0
table inet caisson_br_2d0 {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 10.0.3.0/24 ip daddr != 10.0.3.0/24 masquerade
    ip6 saddr fd00::/64 ip6 daddr != fd00::/64 masquerade
  }
}
`,
  )
  const forward = { protocol: 'tcp', port: 8080, to: { address: '10.0.3.5', port: 80 } } as const
  t.match(
    printRules({ ...rules, forwards: [forward] }),
    /ip daddr != 127\.0\.0\.0\/8 fib daddr type local tcp dport 8080 dnat ip to 10\.0\.3\.5:80/,
  )
  t.match(printRules({ ...rules, isolated: true }), /iifname "br-0" oifname "br-0" drop/)
  demandForward(forward, rules.subnets, [])
  demandForward({ ...forward, to: { address: 'fd00::5', port: 80 } }, rules.subnets, [forward])
  t.throws(() => demandForward(forward, rules.subnets, [forward]), /forwarded already/)
  t.throws(() => demandForward({ ...forward, port: 0 }, rules.subnets, []), /not a port/)
  t.throws(
    () => demandForward({ ...forward, to: { address: '10.0.4.5', port: 80 } }, rules.subnets, []),
    /not in this network/,
  )
})

t.test('the settings of a network', async t => {
  t.match(defaults('lxcbr0', presetOf('lxcbr0'), []), {
    subnets: ['10.0.3.1/24'],
    nat: true,
    filter: true,
    domain: 'lxc',
  })
  const first = defaults('net1', {}, []).subnets[0] ?? ''
  t.match(first, /^10\.\d+\.\d+\.1\/24$/, 'a subnet of its own choice')
  t.equal(defaults('net1', {}, []).subnets[0], first, 'the same for the same name')
  t.not(defaults('net1', {}, [parseSubnet(first)]).subnets[0], first, 'another one when it is taken')
  t.match(defaults('net1', { ipv6: 'auto', ipv4: false }, []).subnets, [/^fd[0-9a-f:]+::1\/64$/])
  const wrong = [
    [{ ipv4: '10.0.3.0/24' }, /the bridge's own address/],
    [{ ipv4: '10.0.3.255/24' }, /the bridge's own address/],
    [{ ipv4: '10.0.3.1/32' }, /room for others/],
    [{ ipv4: 'fd00::1/64' }, /ipv4/],
    [{ ipv4: '10.0.3.1/24', range: ['10.0.4.1', '10.0.4.9'] }, /in 10\.0\.3\.1\/24/],
    [{ mtu: 67 }, /mtu/],
    [{ domain: 'a b' }, /domain/],
  ] as const
  for (const [options, message] of wrong) t.throws(() => defaults('net1', options as never, []), message)
})

t.test('what dnsmasq and others read', async t => {
  const lease = { lxcpath: '/l', container: 'web', index: 0, address: '10.0.3.2', mac: '10:66:6a:00:00:01' }
  t.match(
    printHosts([{ leases: [lease, { ...lease, container: 'db', address: 'fd00::2' }], domain: 'lxc' }]),
    /\nfd00::2\tdb\.lxc db\n10\.0\.3\.2\tweb\.lxc web\n$/,
  )
  const other = { leases: [{ ...lease, address: '10.0.4.9', hostname: 'www.example' }] }
  t.match(printHosts([{ leases: [lease] }, other]), /\n10\.0\.3\.2\tweb\n10\.0\.4\.9\tweb www\.example\n$/)
  t.equal(printReservations([lease]), '10:66:6a:00:00:01,10.0.3.2,web\n')
  const args = serverArguments({
    name: 'br0',
    subnets: [parseSubnet('10.0.3.1/24')],
    dhcp: ['10.0.3.128', '10.0.3.254'],
  })
  t.ok(
    args.includes('--interface=br0') &&
      args.includes('--conf-file=/dev/null') &&
      args.includes('--dhcp-range=10.0.3.128,10.0.3.254,1h'),
  )
  const profile = 'profile passt /usr/bin/passt {\n  capability sys_ptrace,\n}\n'
  t.equal(shutsOut([profile]), true)
  t.equal(shutsOut([profile, '  ptrace read,\n']), false)
  t.equal(shutsOut(['', '']), false, 'no profile')
  const grants = '# who\nann veth lxcbr0 10\n@staff veth br1 2 # two\nann veth br2 0\nbob veth br3 1\n'
  t.strictSame(grantedBridges(grants, 'ann', ['staff']), ['lxcbr0', 'br1'])
})
