/** Managed networks, live changes, and what is left: in a network namespace of its own. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Network } from '../../lib/config/network_options.ts'
import { Container, ManagedNetwork, recover } from '../../lib/index.ts'
import { listLinks } from '../../lib/links.ts'
import { hostName, type Owner, pathHash, tagOf } from '../../lib/network/names.ts'
import { alone, hostLinks, ip, NETWORKS, outside, reaches, run, started } from '../support/network.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

async function networks(t: Test): Promise<void> {
  const lxcpath = directory(t)

  await t.test('a network is made, opened, taken down and made again', async t => {
    const network = await ManagedNetwork.create('cnet9', { ipv4: '10.99.9.1/24', ipv6: 'auto' })
    await t.rejects(ManagedNetwork.create('cnet9'), { code: 'ERR_NETWORK', message: /there is a network of that name/ })
    await t.rejects(ManagedNetwork.create('cnet8', { ipv4: '10.99.9.129/25' }), {
      code: 'ERR_NETWORK',
      message: /overlaps 10\.99\.9\.0\/24/,
    })
    await t.rejects(ManagedNetwork.create('lo'), { code: 'ERR_NETWORK', message: /an interface of that name/ })
    await t.rejects(ManagedNetwork.create('a-name-too-long!'), { code: 'ERR_NETWORK', message: /15 bytes/ })
    await t.rejects(ManagedNetwork.create('cnet7', { ipv5: true } as never), {
      code: 'ERR_INVALID_OPTION',
      hint: /ipv4/,
    })
    await t.rejects(ManagedNetwork.open('cnet'), { code: 'ERR_NETWORK', hint: /cnet9/ })
    t.strictSame(readdirSync(NETWORKS).toSorted(), ['cnet9', 'lock'], 'refusals leave nothing')
    const [bridge] = (await listLinks({}, { verb: 'look' })).filter(({ name }) => name === 'cnet9')
    t.equal(bridge?.addresses.filter(({ scope }) => scope === 0).length, 2)
    t.equal(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'), '1\n')
    t.match(execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }), /table inet caisson_cnet9/)
    await network.up()
    await network.down()
    t.notOk((await hostLinks()).includes('cnet9'))
    t.notMatch(execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }), /caisson/)
    await network.down()
    await (await ManagedNetwork.open('cnet9')).up()
    t.ok(await network.isUp())
    await network.destroy()
    await network.destroy()
    await t.rejects(network.up(), { code: 'ERR_NETWORK', message: /it was destroyed/ })
    t.strictSame(await ManagedNetwork.list(), [])
    t.strictSame(await hostLinks(), ['lo'])
  })

  await t.test('it outlives the program that made it', async t => {
    const index = new URL('../../lib/index.ts', import.meta.url)
    const make = `import { ManagedNetwork } from '${index}'; await ManagedNetwork.create('cnet6', { ipv6: 'auto' })`
    const loader = process.execArgv.filter(word => word.includes('@tapjs/typescript'))
    execFileSync(process.execPath, [...loader, '--input-type=module', '-e', make])
    const [network] = await ManagedNetwork.list()
    t.equal(network?.name, 'cnet6')
    t.ok(await network?.isUp())
    const web = await started(t, lxcpath, 'guest', [{ type: 'veth', link: 'cnet6' }])
    t.equal((await web.ips()).length, 2)
    await web.destroy({ force: true })
    execFileSync('nft', ['flush', 'ruleset'])
    await network?.up()
    t.match(execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }), /masquerade/, 'up() puts its rules back')
    await network?.destroy()
  })

  await t.test('two containers, an outside, and a thief (K5)', async t => {
    const beyond = outside(t)
    const network = await ManagedNetwork.create('cnet0', { ipv4: '10.99.0.1/24', ipv6: 'fd99::1/64' })
    const nic: Network = { type: 'veth', link: 'cnet0' }
    const web = await started(t, lxcpath, 'web', [nic])
    const db = await started(t, lxcpath, 'db', [nic])
    t.strictSame((await web.ips({ timeout: 5000 })).toSorted(), ['10.99.0.2', 'fd99::2'], 'addresses before init runs')
    t.strictSame(await db.ips({ family: 4 }), ['10.99.0.3'])
    t.ok(await reaches(web, 'db'), 'by name')
    t.ok(await reaches(db, 'web'), 'also one that began earlier')
    t.ok(await reaches(web, 'fd99::3', '-6'), 'by IPv6')
    t.ok(await reaches(web, '198.51.100.2'), 'the outside, which has no route back')
    t.ok(await reaches(web, '2001:db8:5::2', '-6'), 'by IPv6 too')
    t.match(await web.interfaces(), [{ name: 'lo' }, { name: 'eth0', state: 'UP', peer: /^cs[0-9a-f]{10}$/ }])

    await network.forward({ protocol: 'tcp', port: 8080, to: { address: '10.99.0.2', port: 80 } })
    const server = web.attach(['sh', '-c', 'echo welcome | nc -l -p 80'])
    const answer = await fromOutside(beyond, '198.51.100.1', '8080')
    t.equal(answer, 'welcome\n', 'a port of the host is forwarded')
    await server
    await network.forward({ protocol: 'tcp', port: 8080, to: { address: 'fd99::2', port: 80 } })
    const second = web.attach(['sh', '-c', 'echo six | nc -l -p 80'])
    t.equal(await fromOutside(beyond, '2001:db8:5::1', '8080'), 'six\n', 'one for each family')
    await second
    await t.rejects(
      network.forward({ protocol: 'tcp', port: 8080, to: { address: '10.99.0.3', port: 80 } }),
      /forwarded already/,
    )
    await network.unforward({ protocol: 'tcp', port: 8080 })

    await run(web, 'ip', 'address', 'add', '10.99.0.77/24', 'dev', 'eth0')
    t.notOk(await reaches(web, '10.99.0.3', '-I', '10.99.0.77'), 'a stolen IP address is of no use')
    t.ok(await reaches(web, '10.99.0.3'), 'control: its own still is')
    await run(web, 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:99')
    t.notOk(await reaches(web, '10.99.0.3'), 'nor is a stolen MAC address')

    await t.rejects(network.down(), { code: 'ERR_NETWORK', message: /2 interfaces are on it/ })
    await web.stop({ force: true })
    t.equal((await hostLinks()).filter(name => name.startsWith('cs')).length, 1, 'a stopped container has no interface')
    await web.start()
    t.strictSame(await web.ips({ family: 4 }), ['10.99.0.2'], 'and the same address afterwards')
    await web.destroy({ force: true })
    t.strictSame(
      (await network.leases()).map(({ container }) => container),
      ['db', 'db'],
      'a destroyed one has none',
    )
    await db.destroy({ force: true })
    await network.destroy()
    ip('link', 'delete', 'up0')
  })

  await t.test('isolation', async t => {
    const network = await ManagedNetwork.create('cnet1', { ipv4: '10.99.1.1/24', isolation: true })
    const one = await started(t, lxcpath, 'one', [{ type: 'veth', link: 'cnet1' }])
    const two = await started(t, lxcpath, 'two', [{ type: 'veth', link: 'cnet1' }])
    t.ok(await reaches(one, '10.99.1.1'), 'the host')
    t.notOk(await reaches(one, '10.99.1.3'), 'but not the neighbour')
    await run(one, 'ip', 'route', 'add', '10.99.1.3', 'via', '10.99.1.1')
    t.notOk(await reaches(one, '10.99.1.3'), 'nor by way of the host')
    await one.destroy({ force: true })
    await two.destroy({ force: true })
    await network.destroy()
  })

  await t.test('changes while it runs', async t => {
    const network = await ManagedNetwork.create('cnet2', { ipv4: '10.99.2.1/24' })
    const limits = { ingress: '10Mbit', egress: '20Mbit' }
    const web = await started(t, lxcpath, 'live', [{ type: 'veth', link: 'cnet2', limits }])
    const limited = async () => (await web.interfaces()).find(({ name }) => name === 'eth0')?.limits
    t.strictSame(await limited(), { ingress: 10_000_000, egress: 20_000_000 }, 'limits are read back')
    await web.limitInterface('eth0', { egress: 5_000_000 })
    t.strictSame(await limited(), { egress: 5_000_000 })
    await web.limitInterface('eth0', {})
    t.equal(await limited(), undefined)
    await t.rejects(web.limitInterface('lo', {}), { code: 'ERR_NETWORK', message: /no end on the host/ })

    ip('link', 'add', 'spare0', 'type', 'veth', 'peer', 'name', 'spare1')
    await web.attachInterface('spare0', 'eth9')
    t.ok((await web.interfaces()).some(({ name }) => name === 'eth9'))
    t.notOk((await hostLinks()).includes('spare0'))
    await t.rejects(web.attachInterface('spare1', 'eth0'), { code: 'EEXIST', step: 'link.create' })
    t.ok((await hostLinks()).includes('spare1'), 'a refused one stays')
    await t.rejects(web.attachInterface('nothing'), { code: 'ENODEV' })
    await web.detachInterface('eth9', 'spare0')
    t.ok((await hostLinks()).includes('spare0'))
    await t.rejects(web.detachInterface('eth9'), { code: 'ERR_NETWORK', hint: /lo, eth0/ })
    ip('link', 'delete', 'spare0')

    web.config.set('lxc.net.1.type', 'veth').set('lxc.net.1.link', 'cnet2').set('lxc.net.1.flags', 'up')
    const added = (async () => {
      await sleep(50)
      await web.addNetwork(1)
    })()
    t.strictSame(await web.ips({ interface: 'eth1', timeout: 10_000 }), ['10.99.2.3'], 'waiting for an address')
    await added
    await web.removeNetwork(1)
    t.notOk((await web.interfaces()).some(({ name }) => name === 'eth1'))
    await t.rejects(web.ips({ interface: 'eth1', timeout: 50 }), { code: 'ERR_TIMEOUT' })
    await web.destroy({ force: true })
    await network.destroy()
  })

  await t.test('a killed monitor leaves nothing, and what was lent comes back', async t => {
    const network = await ManagedNetwork.create('cnet3', { ipv4: '10.99.3.1/24' })
    ip('link', 'add', 'card0', 'type', 'veth', 'peer', 'name', 'card1')
    const web = await started(t, lxcpath, 'victim', [
      { type: 'veth', link: 'cnet3', limits: { egress: '10Mbit' } },
      { type: 'phys', link: 'card0', name: 'eth1' },
    ])
    t.ok((await web.interfaces()).some(({ name }) => name === 'eth1'))
    const monitor = Number(/PPid:\t(\d+)/.exec(readFileSync(`/proc/${await web.initPid()}/status`, 'utf8'))?.[1])
    process.kill(monitor, 'SIGKILL')
    // A process that was killed holds its locks for a moment longer.
    await until(async () => (await recover({ path: lxcpath })).length, 'there is something to recover')
    t.strictSame(
      (await hostLinks()).filter(name => /^(cs|cf|card)/.test(name)),
      ['card0', 'card1'],
    )
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), /victim\/net/)
    await web.start()
    t.strictSame(
      (await hostLinks()).filter(name => name.startsWith('card')),
      ['card1'],
      'it starts again',
    )
    await web.stop({ force: true })
    t.strictSame(
      (await hostLinks()).filter(name => /^(cs|cf|card)/.test(name)),
      ['card0', 'card1'],
      'stopped in order',
    )
    await web.destroy()
    ip('link', 'delete', 'card0')
    await network.destroy()
  })

  await t.test('orphans are known without any state', async t => {
    const [dead, live] = ['nobody', 'living'].map(container => ({ lxcpath, container, index: 0 })) as [Owner, Owner]
    for (const [name, peer, alias] of [
      [hostName(dead), 'inner0', tagOf(dead)],
      ['renamed', 'card8', tagOf({ ...dead, index: 7 }, 'card9')],
      ['foreign', 'f1', tagOf({ ...dead, lxcpath: '/elsewhere' })],
    ] as const) {
      ip('link', 'add', name, 'type', 'veth', 'peer', 'name', peer)
      ip('link', 'set', name, 'alias', alias)
    }
    const web = await started(t, lxcpath, 'living', [{ type: 'veth' }])
    t.strictSame(await recover({ path: lxcpath }), [{ what: 'links', name: 'nobody' }])
    const left = ['card8', 'card9', 'f1', 'foreign', 'lo', hostName(live)].toSorted()
    t.strictSame(
      (await hostLinks()).filter(name => !name.startsWith('ifb')),
      left,
      'what was lent has its name again',
    )
    t.strictSame(await recover({ path: lxcpath }), [])
    t.notOk(existsSync(`/run/caisson/${pathHash(lxcpath)}/nobody`))
    await web.destroy({ force: true })
    for (const name of ['card8', 'f1']) ip('link', 'delete', name)
  })

  await t.test('refused before anything is made', async t => {
    const network = await ManagedNetwork.create('cnet5', { ipv4: '10.99.5.1/29', range: ['10.99.5.2', '10.99.5.2'] })
    const holder = await started(t, lxcpath, 'holder', [{ type: 'veth', link: 'cnet5' }])
    ip('link', 'add', 'mine0', 'type', 'veth', 'peer', 'name', 'mine1')
    const state = async () => [
      await hostLinks(),
      await network.leases(),
      readdirSync(NETWORKS, { recursive: true }).map(String).toSorted(),
      execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }),
      existsSync(`/run/caisson/${pathHash(lxcpath)}/bad/ledger.json`),
    ]
    const before = await state()
    const veth = 'lxc.net.0.type = veth\n'
    const bridged = `${veth}lxc.net.0.link = cnet5\n`
    const cases: [lines: string, code: string, hint?: RegExp][] = [
      [`${veth}lxc.net.0.link = cnet6\n`, 'ERR_NETWORK', /cnet5/],
      [`${veth}lxc.net.1.type = macvlan\nlxc.net.1.link = nothing\n`, 'ERR_NETWORK', /its interfaces are/],
      ['lxc.net.0.type = ipvlan\n', 'ERR_CONFIG_VALUE', /lxc\.net\.0\.link/],
      ['lxc.net.0.type = vlan\nlxc.net.0.link = mine0\n', 'ERR_CONFIG_VALUE', /vlan\.id/],
      ['lxc.net.0.type = phys\nlxc.net.0.link = nothing\n', 'ERR_NETWORK', /its interfaces are/],
      [`${veth}lxc.net.0.veth.pair = mine0\n`, 'ERR_NETWORK', /veth\.pair/],
      [`${veth}lxc.net.0.name = a\nlxc.net.1.type = veth\nlxc.net.1.name = a\n`, 'ERR_CONFIG_CONFLICT'],
      [bridged, 'ERR_NETWORK', /larger subnet/],
      [`${bridged}lxc.net.0.ipv4.address = 10.99.5.2/29\n`, 'ERR_NETWORK', /choose another/],
      [`${bridged}lxc.net.0.ipv4.address = 10.99.5.1/29\n`, 'ERR_NETWORK', /choose another/],
      [`${veth}lxc.net.0.ipv4.gateway = auto\nlxc.net.0.link = mine0\n`, 'ERR_NETWORK', /name the gateway/],
      [`${veth}lxc.net.0.mtu = 1\n`, 'EINVAL'],
    ]
    for (const [lines, code, hint] of cases) {
      const container = await Container.create('bad', { path: lxcpath, rootfs: rootfs(t), config: lines, idmap: false })
      await t.rejects(container.start(), { code, ...(hint === undefined ? {} : { hint }) }, lines.replaceAll('\n', ' '))
      t.strictSame(await state(), before)
      await container.destroy()
    }
    const refusals: [() => Promise<unknown>, RegExp][] = [
      ...['a-name-too-long!', 'a/b', 'a b', 'a:b', '', '..'].map((name): [() => Promise<unknown>, RegExp] => [
        () => ManagedNetwork.create(name),
        /Cannot name a network/,
      ]),
      [() => ManagedNetwork.create('cnet5'), /a network of that name/],
      [() => ManagedNetwork.create('mine0'), /an interface of that name/],
      [() => ManagedNetwork.create('cnet6', { ipv4: '10.99.5.4/24' }), /overlaps 10\.99\.5\.0\/29/],
      [() => holder.attachInterface('a-name-too-long!'), /longer than 15 bytes/],
      [() => holder.attachInterface('mine0', 'a-name-too-long!'), /longer than 15 bytes/],
      [() => holder.detachInterface('eth0', 'a/b'), /not the name of an interface/],
    ]
    for (const [refused, message] of refusals) await t.rejects(refused(), { code: 'ERR_NETWORK', message })
    for (const option of [{ ipv4: '10.99.6.0/24' }, { ipv4: '10.99.6.300/24' }, { ipv6: 'fd00::1/129' }, { mtu: 9 }])
      await t.rejects(ManagedNetwork.create('cnet6', option), { code: /ERR_NETWORK|ERR_INVALID_OPTION/ })
    t.strictSame(await state(), before)
    await holder.destroy({ force: true })
    await network.destroy()
    ip('link', 'delete', 'mine0')
  })

  await t.test('many starts leave nothing', async t => {
    const network = await ManagedNetwork.create('cnet4', { ipv4: '10.99.4.1/24' })
    const container = await Container.create('many', {
      path: lxcpath,
      rootfs: rootfs(t),
      network: [{ type: 'veth', link: 'cnet4', limits: { egress: '1Gbit' } }],
      idmap: false,
    })
    const state = async () => [
      await hostLinks(),
      ip('route').replaceAll(' linkdown', ''), // a bridge without ports is down a moment later
      execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }),
      await network.leases(),
      readdirSync('/proc/self/fd').length,
    ]
    const cycle = async () => {
      await container.start()
      await container.stop({ force: true })
    }
    await cycle()
    const before = await state()
    for (let i = 0; i < 25; i++) await cycle()
    t.strictSame(await state(), before)
    await container.destroy()
    t.strictSame(await network.leases(), [])
    await network.destroy()
  })

  t.strictSame(
    (await hostLinks()).filter(name => !/^ifb|^lo$/.test(name)),
    [],
    'the host is as it was',
  )
}

/** nc(1) in the container takes a moment to listen. */
async function fromOutside(beyond: ReturnType<typeof outside>, ...where: string[]): Promise<string> {
  return until(() => {
    const { status, stdout } = beyond.run('busybox', 'nc', '-w', '2', ...where)
    return status === 0 ? String(stdout) : ''
  }, 'it answers')
}

alone(import.meta.url, 'networks', networks)
