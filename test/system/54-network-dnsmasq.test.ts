/** A network with dnsmasq: it answers for names, and gives images that ask by DHCP the address that they have anyway. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type Container, ManagedNetwork } from '../../lib/index.ts'
import { serverPid } from '../../lib/network/dns.ts'
import { commandLine } from '../support/elsewhere.ts'
import { alone, NETWORKS, outside, run, started } from '../support/network.ts'
import { directory } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const nslookup = async (container: Container, name: string, server: string) =>
  (await run(container, 'nslookup', name, server)).output

/** What udhcpc(8) hands to its script. */
const SCRIPT = '#!/bin/sh\n[ "$1" = bound ] && echo "bound $ip $mask $router $dns $domain"\nexit 0\n'
const ask = (container: Container) =>
  run(container, 'udhcpc', '-n', '-q', '-f', '-t', '5', '-i', 'eth0', '-s', '/tmp/bound')

async function withServer(t: Test): Promise<void> {
  const lxcpath = directory(t)
  const options = { ipv4: '10.96.0.1/24', ipv6: 'fd96::1/64', dns: 'dnsmasq', domain: 'test', dhcp: true } as const

  await t.test('names and addresses', async t => {
    const network = await ManagedNetwork.create('cdns0', options)
    const web = await started(t, lxcpath, 'web', [{ type: 'veth', link: 'cdns0' }])
    t.match(
      (await run(web, 'cat', '/etc/resolv.conf')).output,
      /^search test\nnameserver 10\.96\.0\.1\nnameserver fd96::1\n/,
    )
    t.match(await nslookup(web, 'web.test', '10.96.0.1'), /Address[^\n]*10\.96\.0\.2/)
    const db = await started(t, lxcpath, 'db', [{ type: 'veth', link: 'cdns0' }])
    t.match(await nslookup(web, 'db.test', '10.96.0.1'), /Address[^\n]*10\.96\.0\.3/, 'one that came later')
    t.match(await nslookup(web, 'db.test', 'fd96::1'), /Address[^\n]*fd96::3/, 'by IPv6')
    await db.files.write('/tmp/bound', SCRIPT, { mode: 0o755 })
    await run(db, 'ip', 'address', 'flush', 'dev', 'eth0')
    t.match((await ask(db)).output, 'bound 10.96.0.3 24 10.96.0.1 10.96.0.1 test\n', 'by DHCP what it has anyway')
    await db.destroy({ force: true })
    t.match(await nslookup(web, 'db.test', '10.96.0.1'), /NXDOMAIN/, 'who goes is forgotten')
    await web.destroy({ force: true })
    await network.destroy()
  })

  await t.test('a stranger gets one of the other half, once', async t => {
    const network = await ManagedNetwork.create('cdns1', { ...options, filter: false })
    const web = await started(t, lxcpath, 'stranger', [{ type: 'veth', link: 'cdns1' }])
    await web.files.write('/tmp/bound', SCRIPT, { mode: 0o755 })
    await run(web, 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:99')
    t.match((await ask(web)).output, /^bound 10\.96\.0\.(1(29|[3-9]\d)|2\d\d) /m)
    await web.destroy({ force: true })
    await network.destroy()
  })

  await t.test('its life', async t => {
    const beyond = outside(t)
    const network = await ManagedNetwork.create('cdns2', options)
    const path = join(NETWORKS, 'cdns2')
    const place = { name: 'cdns2', directory: path }
    const first = (await serverPid(place)) as number
    t.match(readFileSync(`/proc/${first}/comm`, 'utf8'), 'dnsmasq')
    t.not(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${first}/status`, 'utf8'))?.[1], '0', 'not as root')
    t.not(beyond.run('busybox', 'nslookup', 'localhost', '198.51.100.1').status, 0, 'nobody outside is answered')
    await network.up()
    t.equal(await serverPid(place), first, 'it is left alone')
    process.kill(first, 'SIGKILL')
    await until(() => commandLine(first) === '', 'it has ended')
    const web = await started(t, lxcpath, 'again', [{ type: 'veth', link: 'cdns2' }])
    t.match(await nslookup(web, 'again.test', '10.96.0.1'), /10\.96\.0\.2/, 'a start brings it back')
    const second = (await serverPid(place)) as number
    writeFileSync(join(path, 'dnsmasq.pid'), `${process.pid}\n`)
    t.equal(await serverPid(place), undefined, 'a pid of another program is none')
    writeFileSync(join(path, 'dnsmasq.pid'), `${second}\n`)
    await web.destroy({ force: true })
    await network.down()
    t.equal(commandLine(second), '', 'down: it has ended')
    await network.up()
    await network.destroy()
    t.notMatch(execFileSync('ps', ['-e', '-o', 'args'], { encoding: 'utf8' }), '--interface=cdns2')
  })

  await t.test('lxc-net’s network is a preset', async t => {
    const network = await ManagedNetwork.create('lxcbr0')
    t.match(network.settings, { subnets: ['10.0.3.1/24'], domain: 'lxc', dns: 'dnsmasq', nat: true })
    const web = await started(t, lxcpath, 'preset', [{ type: 'veth', link: 'lxcbr0' }])
    t.strictSame(await web.ips(), ['10.0.3.2'])
    t.match(await nslookup(web, 'preset.lxc', '10.0.3.1'), /10\.0\.3\.2/)
    await web.destroy({ force: true })
    await network.destroy()
  })
}

alone(import.meta.url, 'dnsmasq', withServer, { dnsmasq: 'dnsmasq-base' })
