/** What each kind of interface and each key of it does to traffic, on a host of the test's own; scripts; limits; counters; waiting. */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Network } from '../../lib/config/network_options.ts'
import { ManagedNetwork } from '../../lib/index.ts'
import { listLinks } from '../../lib/links.ts'
import { childrenOf, commandLine } from '../support/elsewhere.ts'
import { alone, hostLinks, ip, outside, reaches, run, started } from '../support/network.ts'
import { directory } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const sysctl = (path: string, value: string): void => writeFileSync(`/proc/sys/net/${path}`, value)
const bridgeCanVlans = (): boolean => {
  try {
    ip('link', 'add', 'vlans0', 'type', 'bridge', 'vlan_filtering', '1')
    ip('link', 'delete', 'vlans0')
    return true
  } catch {
    return false
  }
}

/** Bits per second of whole frames by that counter, once the bucket's first burst is through. */
async function rateOf(count: () => Promise<number>): Promise<number> {
  const look = async () => ({ bytes: await count(), at: performance.now() })
  const begun = await look()
  await until(async () => (await look()).bytes >= begun.bytes + 500_000, 'bytes flow')
  const first = await look()
  await sleep(3000)
  const last = await look()
  return ((last.bytes - first.bytes) * 8000) / (last.at - first.at)
}

async function kinds(t: Test): Promise<void> {
  const lxcpath = directory(t)

  await t.test('a router: no bridge, the host answers for it', async t => {
    const beyond = outside(t)
    const lines = `
lxc.net.0.veth.mode = router
lxc.net.0.l2proxy = 1
lxc.net.0.veth.ipv4.route = 203.0.113.0/24
`
    const config = (own: string) => `${lines}lxc.net.0.ipv4.address = ${own}\nlxc.net.0.ipv4.gateway = 169.254.0.1\n`
    const nic = { type: 'veth', link: 'up0' } as const
    const start = () => started(t, lxcpath, 'routed', [nic], config('198.51.100.77/32'))
    await t.rejects(start(), { code: 'ERR_NETWORK', hint: /net\.ipv4\.conf\.up0\.forwarding=1/ }, 'which must forward')
    sysctl('ipv4/conf/up0/forwarding', '1')
    ip('route', 'add', 'default', 'via', '198.51.100.2') // the host answers for what it can route
    const web = await started(t, lxcpath, 'routed2', [nic], config('198.51.100.77/32'))
    t.match(await run(web, 'ip', 'route'), { output: /^default via 169\.254\.0\.1 dev eth0/ })
    t.ok(await reaches(web, '198.51.100.2'), 'it reaches the outside')
    t.match(ip('neighbour', 'show', 'proxy'), /198\.51\.100\.77 dev up0 +proxy/)
    const pinged = beyond.run('busybox', 'ping', '-c', '1', '-W', '5', '198.51.100.77')
    t.equal(pinged.status, 0, 'and is reached as if it were on that link')
    t.match(ip('route'), /^203\.0\.113\.0\/24 dev cs/m, 'with what lies behind it')
    await web.destroy({ force: true })
    t.equal(ip('neighbour', 'show', 'proxy'), '')
    t.notMatch(ip('route'), /203\.0\.113|198\.51\.100\.77/)
    ip('link', 'delete', 'up0')
  })

  await t.test('a cable to the host alone, and scripts', async t => {
    const place = directory(t)
    const script = join(place, 'script')
    writeFileSync(
      script,
      `#!/bin/sh
{ echo "$# $*"; env | grep -E '^LXC_(NAME|HOOK|NET)' | sort; } >>${place}/told
[ "$LXC_HOOK_TYPE" = down ] || ip address add 192.0.2.1/24 dev "$LXC_NET_PEER"
`,
      { mode: 0o755 },
    )
    const scripts = ['up', 'down'].map(moment => `lxc.net.0.script.${moment} = ${script}\n`).join('')
    const told = (moment: string, version: number) =>
      `${version === 0 ? `5 cable net ${moment} veth outer0` : '0 '}
LXC_HOOK_SECTION=net
LXC_HOOK_TYPE=${moment}
LXC_HOOK_VERSION=${version}
LXC_NAME=cable
LXC_NET_PARENT=
LXC_NET_PEER=outer0
LXC_NET_TYPE=veth
`
    for (const version of [0, 1]) {
      const lines = `${scripts}lxc.hook.version = ${version}\nlxc.net.0.veth.pair = outer0\n`
      const web = await started(t, lxcpath, 'cable', [{ type: 'veth', ipv4: ['192.0.2.2/24'] }], lines)
      t.ok(await reaches(web, '192.0.2.1'), `version ${version}`)
      await web.destroy({ force: true })
      t.equal(readFileSync(join(place, 'told'), 'utf8'), told('up', version) + told('down', version))
      writeFileSync(join(place, 'told'), '')
    }
    writeFileSync(script, '#!/bin/sh\necho no such luck >&2\nexit 3\n')
    await t.rejects(started(t, lxcpath, 'refused', [{ type: 'veth' }], scripts), {
      step: 'link.create',
      message: /exit code 3: no such luck/,
    })
    t.strictSame(
      (await hostLinks()).filter(name => /^(cs|outer)/.test(name)),
      [],
      'a script that fails undoes the start',
    )
  })

  await t.test('macvlan', async t => {
    ip('link', 'add', 'base0', 'type', 'veth', 'peer', 'name', 'base1')
    for (const name of ['base0', 'base1']) ip('link', 'set', name, 'up')
    for (const mode of ['bridge', 'private']) {
      const nic = (number: number): Network => ({
        type: 'macvlan',
        link: 'base0',
        mode,
        ipv4: [`192.0.2.${number}/24`],
      })
      const one = await started(t, lxcpath, 'one', [nic(1)])
      const two = await started(t, lxcpath, 'two', [nic(2)])
      t.equal(await reaches(one, '192.0.2.2'), mode === 'bridge', mode)
      for (const each of [one, two]) await each.destroy({ force: true })
    }
    ip('link', 'delete', 'base0')
  })

  await t.test('VLANs of a bridge', { skip: !bridgeCanVlans() && 'this kernel’s bridges have none' }, async t => {
    const network = await ManagedNetwork.create('cvlan0', { ipv4: '10.94.7.1/24', vlanFiltering: true })
    const nic = (vlan: number) => ({ type: 'veth', link: 'cvlan0', vlan }) as const
    const one = await started(t, lxcpath, 'one', [nic(7)])
    const two = await started(t, lxcpath, 'two', [nic(7)])
    const other = await started(t, lxcpath, 'other', [nic(8)], 'lxc.net.0.veth.vlan.tagged.id = 9\n')
    t.ok(await reaches(one, '10.94.7.3'), 'of one VLAN')
    t.notOk(await reaches(other, '10.94.7.3'), 'of another')
    for (const each of [one, two, other]) await each.destroy({ force: true })
    await network.destroy()
  })

  await t.test('10 Mbit are 10 Mbit, each way', async t => {
    // buffers of seconds: how soon a program gets a processor then says nothing about the rate
    const buffers = '65536 8388608 8388608'
    for (const name of ['tcp_rmem', 'tcp_wmem']) sysctl(`ipv4/${name}`, buffers)
    const lines = ['tcp_rmem', 'tcp_wmem'].map(name => `lxc.sysctl.net.ipv4.${name} = ${buffers}\n`).join('')
    const network = await ManagedNetwork.create('crate0', { ipv4: '10.94.0.1/24' })
    const limits = { ingress: '10Mbit', egress: '10Mbit' }
    const web = await started(t, lxcpath, 'rate', [{ type: 'veth', link: 'crate0', limits }], lines)
    const received = async () => (await web.interfaces()).find(({ name }) => name === 'eth0')?.rxBytes ?? 0
    // what leaves the queue on the host, not what the container puts into it
    const sent = async () =>
      Number((await listLinks({}, { verb: 'look' })).find(({ name }) => name.startsWith('cf'))?.txBytes ?? 0)
    const block = Buffer.alloc(1 << 16)
    // a container that is killed ends no connection
    const sockets: Socket[] = []
    const source = createServer(socket => {
      sockets.push(socket)
      const fill = () => void (socket.writable && socket.write(block, fill))
      socket.on('error', () => undefined)
      fill()
    }).listen(4711, '10.94.0.1')
    const sink = createServer(socket => sockets.push(socket.on('error', () => undefined).resume())).listen(
      4712,
      '10.94.0.1',
    )
    for (const [name, command, counter] of [
      ['in', 'nc 10.94.0.1 4711 >/dev/null', received],
      ['out', 'nc 10.94.0.1 4712 </dev/zero', sent],
    ] as const) {
      const end = new AbortController()
      const options = { reject: false, signal: end.signal }
      const streams = Array.from({ length: 2 }, () => web.attach(['sh', '-c', `exec ${command}`], options))
      const rate = await rateOf(counter)
      t.ok(rate > 8_500_000 && rate < 11_500_000, `${name}: ${(rate / 1e6).toFixed(2)} Mbit/s`)
      end.abort()
      await Promise.allSettled(streams)
    }
    const { eth0 } = (await web.stats()).network
    t.ok(Math.min(eth0?.rxBytes ?? 0, eth0?.txBytes ?? 0) > 3_000_000, 'stats() counts them')
    await web.destroy({ force: true })
    for (const socket of sockets) socket.destroy()
    for (const server of [source, sink]) server.close()
    await network.destroy()
  })

  await t.test('waiting for an address is told by the kernel', async t => {
    const web = await started(t, lxcpath, 'waits', [{ type: 'veth', ipv4: ['192.0.2.9/24'] }])
    const waiting = web.ips({ family: 6, timeout: 20_000 })
    const pid = await watching()
    const switches = () => /^voluntary_ctxt_switches:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    // on a busy machine it is seen before it has asked its first question
    await until(async () => {
      const before = switches()
      await sleep(500)
      return switches() === before
    }, 'nobody looks meanwhile')
    await run(web, 'ip', 'address', 'add', 'fd94::9/64', 'dev', 'eth0')
    t.strictSame(await waiting, ['fd94::9'], 'once nobody else is seen to have it')
    const aborted = new AbortController()
    const given = web.ips({ interface: 'eth9', timeout: 20_000, signal: aborted.signal })
    aborted.abort()
    await t.rejects(given, { code: 'ERR_ABORTED' })
    await web.destroy({ force: true })
    await t.rejects(web.ips(), { code: 'ERR_CONTAINER_NOT_RUNNING' })
  })

  await t.test('the example of a router between two networks', async t => {
    const example = fileURLToPath(new URL('../../examples/router.ts', import.meta.url))
    const loader = process.execArgv.filter(word => word.includes('@tapjs/typescript'))
    const { status, output } = await program(process.execPath, [...loader, example])
    t.equal(status, 0)
    t.match(output, /0% packet loss[\s\S]*traceroute[\s\S]*\n 1 [\s\S]*\n 2 [\s\S]*100% packet loss/, output)
    t.strictSame(await hostLinks(), ['lo'])
  })
}

/** The process that watches for this one, once it does: the youngest of its children that is a monitor. */
async function watching(): Promise<number> {
  const sleeps = (pid: number) => /^State:\tS/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  const isOurs = (pid: number) => /^caisson-monitor\0link/.test(commandLine(pid))
  return until(() => childrenOf(process.pid).find(pid => isOurs(pid) && sleeps(pid)), 'a process watches')
}

async function program(command: string, args: readonly string[]): Promise<{ status: number | null; output: string }> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', data => (output += data))
  return new Promise(resolve => child.once('close', status => resolve({ status, output })))
}

alone(import.meta.url, 'kinds of interfaces', kinds)
