// Cgroups of real containers: where they are, what holds, what is told, and that nothing stays.

import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Limits } from '../../lib/config/limits.ts'
import { hierarchyWith } from '../../lib/host/cgroups.ts'
import { Container, type ContainerEvent } from '../../lib/index.ts'
import { host, without } from '../support/cgroup.ts'
import { tagOf } from '../support/container.ts'
import { leavesNoTrace, needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const layout = host.layout === 'none' ? 'no cgroups here' : false
const root = { skip: needsRoot || layout }

interface Made {
  limits?: Limits
  config?: string
  idmap?: false
}

/** What the library opens once for all, at the first use, is no trace of a container. */
async function warmUp(t: Test): Promise<void> {
  const container = await Container.create('warm', { path: directory(t), rootfs: rootfs(t) })
  await container.start()
  await container.attach(['/bin/true'])
  await container.destroy({ force: true })
}

/** A started container, used and destroyed; afterwards the host is as it was. */
async function within(t: Test, made: Made, use: (container: Container) => Promise<void>): Promise<void> {
  const [path, tree] = [directory(t), rootfs(t)]
  const live = async () => {
    const container = await Container.create('cg', { path, rootfs: tree, ...made })
    try {
      await container.start()
      await use(container)
    } finally {
      await container.destroy({ force: true })
    }
  }
  await leavesNoTrace(t, live, tagOf(path))
}

/** The container's directories, as the host sees them through its init. */
function directories(pid: number | null): string[] {
  const own = new Map(
    readFileSync(`/proc/${pid}/cgroup`, 'utf8')
      .trim()
      .split('\n')
      .flatMap(line => {
        const [, controllers = '', path = ''] = line.split(':')
        return controllers.split(',').map(name => [name, path] as const)
      }),
  )
  return host.hierarchies.map(
    ({ version, mount, controllers }) => mount + own.get(version === 2 ? '' : (controllers[0] ?? '')),
  )
}

const inVersion = (controller: string, v1: string, v2: string) =>
  hierarchyWith(host, controller)?.version === 1 ? v1 : v2

t.test('places', root, async t => {
  await warmUp(t)
  await within(t, {}, async container => {
    const all = directories(await container.initPid())
    t.ok(
      all.every(path => /\/caisson\.cg\.[0-9a-f]{8}$/.test(path)),
      "init is in the container's place in every hierarchy",
    )
    const inside = (await container.attach(['/bin/cat', '/proc/self/cgroup'])).stdout.trim().split('\n')
    t.ok(
      inside.every(line => line.endsWith(':/')),
      'which is the root of its cgroup namespace, for what is attached too',
    )
    const unified = host.hierarchies.findIndex(({ version }) => version === 2)
    if (unified >= 0) {
      const place = all[unified] as string
      const owner = statSync(place).uid
      t.not(owner, 0, "the container's root owns it")
      t.equal(statSync(`${place}/cgroup.procs`).uid, owner)
      t.equal(statSync(`${place}/cgroup.max.depth`).uid, 0, 'but not its limits')
      t.ok(existsSync(`${place}.monitor`), 'the monitor has a place of its own')
    }
    const memory = host.hierarchies.findIndex(
      ({ version, controllers }) => version === 1 && controllers.includes('memory'),
    )
    if (memory >= 0) t.equal(statSync(all[memory] as string).uid, 0, 'v1 controllers are not delegated')
  })
})

t.test('a privileged root is kept from its own limits', { skip: root.skip || without('pids') }, async t => {
  await within(t, { idmap: false }, async container => {
    const unified = host.hierarchies.findIndex(({ version }) => version === 2)
    if (unified >= 0) t.match(directories(await container.initPid())[unified], /\/caisson\.cg\.[0-9a-f]{8}\/inner$/)
    t.equal(await container.cgroup.get('pids.max'), '4096')
  })
})

t.test('lxc.cgroup.dir', root, async t => {
  const slice = `caisson.slice${process.pid}`
  const standing = host.hierarchies.map(({ mount }) => join(mount, slice))
  const config = `lxc.cgroup.dir = ${slice}/web`
  await within(t, { config }, async container => {
    const all = directories(await container.initPid())
    t.ok(all.every(path => path.includes(`/${slice}/web/caisson.cg.`)))
  })
  t.notOk(standing.some(existsSync), 'the way to it goes with it')
  for (const path of standing) mkdirSync(path)
  t.teardown(() => {
    for (const path of standing) rmdirSync(path)
  })
  for (const { mount, controllers } of host.hierarchies) {
    // As whoever makes such a directory on v1 has to.
    if (controllers.includes('cpuset')) {
      for (const name of ['cpuset.cpus', 'cpuset.mems'])
        execFileSync('cp', [`${mount}/${name}`, `${mount}/${slice}/${name}`])
    }
  }
  await within(t, { config }, async () => undefined)
  t.ok(standing.every(existsSync), "what was there before is somebody else's")
  t.ok(standing.every(path => readdirSync(path, { withFileTypes: true }).every(entry => !entry.isDirectory())))
})

t.test('limits', { skip: root.skip || without('memory') || without('pids') || without('cpu') }, async t => {
  const limits: Limits = { memory: '128M', pids: 64, cpu: 0.5, cpuWeight: 50 }
  await within(t, { limits }, async container => {
    const files = [
      inVersion('memory', 'memory.limit_in_bytes', 'memory.max'),
      'pids.max',
      inVersion('cpu', 'cpu.cfs_quota_us', 'cpu.max'),
      inVersion('cpu', 'cpu.shares', 'cpu.weight'),
    ] as const
    const read = () => Promise.all(files.map(file => container.cgroup.get(file)))
    const quota = (time: string) => inVersion('cpu', time, `${time} 100000`)
    t.strictSame(await read(), ['134217728', '64', quota('50000'), inVersion('cpu', '512', '50')], 'from the config')
    await container.limit({ memory: '96M', pids: 32, cpu: '20%', cpuWeight: 200 })
    const now = ['100663296', '32', quota('20000'), inVersion('cpu', '2048', '200')]
    t.strictSame(await read(), now, 'live')
    await t.rejects(container.limit({ memory: '200M', pids: 16, io: { '4095:9': { readBps: 1 } } }), {
      code: /^(ENODEV|ERR_NO_CGROUP)$/,
    })
    t.strictSame(await read(), now, 'a set that fails is taken back whole')
    await t.rejects(container.limit({ memory: 'lots' }), { code: 'ERR_INVALID_OPTION', hint: /256M/ })
    const { memory, pids } = await container.stats()
    t.strictSame([memory.max, pids.max], [100_663_296, 32])
    const bomb = await container.attach(['/probe', 'fork-bomb', '200'], { reject: false })
    t.match(JSON.parse(bomb.stdout), { error: 'EAGAIN' }, 'fork is refused at the limit')
    t.ok(JSON.parse(bomb.stdout).made < 32)
    await container.stop({ force: true })
    await container.start()
    t.strictSame(await read(), now, 'they are kept')
  })
})

t.test('what cannot be held is refused by name', root, async t => {
  const [path, tree] = [directory(t), rootfs(t)]
  const live = async () => {
    const config = 'lxc.cgroup2.rdma.max = mlx4_0 hca_handle=2'
    const container = await Container.create('cg', { path, rootfs: tree, config })
    await t.rejects(container.start(), { code: 'ERR_NO_CGROUP', message: /"rdma"/, hint: /./ })
    await container.destroy()
  }
  await leavesNoTrace(t, live, tagOf(path))
})

t.test('frozen is still', root, async t => {
  await within(t, {}, async container => {
    const busy = container.attach(['/probe', 'burn-cpu'], { reject: false })
    await used(container, 20_000)
    await container.freeze()
    t.equal(await container.state(), 'FROZEN')
    const before = (await container.stats()).cpu.usageUsec
    await sleep(100)
    t.equal((await container.stats()).cpu.usageUsec, before, 'no time is used')
    await container.unfreeze()
    await used(container, before + 1)
    t.pass('and then again')
    await container.freeze()
    await container.stop({ force: true })
    t.equal(await container.state(), 'STOPPED', 'what is frozen can be killed')
    t.equal((await busy).signal, 'SIGKILL')
  })
})

async function used(container: Container, usec: number): Promise<void> {
  await until(async () => (await container.stats()).cpu.usageUsec >= usec, 'time is used')
}

/** Collects events until one fits. */
async function first(
  container: Container,
  fits: (event: ContainerEvent) => boolean,
  begin: () => void,
): Promise<ContainerEvent[]> {
  const seen: ContainerEvent[] = []
  for await (const event of container.events()) {
    seen.push(event)
    if (seen.length === 1) begin()
    if (fits(event)) break
  }
  return seen
}

t.test('out of memory (O7)', { skip: root.skip || without('memory') }, async t => {
  await within(t, { limits: { memory: '48M', swap: false } }, async container => {
    let eater: ReturnType<Container['attach']> | undefined
    const seen = await first(
      container,
      ({ type }) => type === 'oom',
      () => {
        eater = container.attach(['/probe', 'eat-memory', '200000000'], { reject: false })
      },
    )
    t.match(seen[0], { type: 'state', state: 'RUNNING' })
    t.match(seen.at(-1), { type: 'oom', victims: 1 })
    t.equal((await eater)?.signal, 'SIGKILL')
    t.equal(await container.state(), 'RUNNING', 'init lives on')
    await container.stop({ force: true })
    t.match(await container.exited(), { oomKilled: true }, 'and who asks later hears of it')
  })
})

const unified = host.layout === 'hybrid' || host.layout === 'v2' ? false : 'no cgroup v2 here'

t.test(
  'pressure',
  { skip: root.skip || unified || (existsSync('/proc/pressure/cpu') ? false : 'no PSI here') },
  async t => {
    await within(t, {}, async container => {
      const seen = await first(
        container,
        ({ type }) => type === 'pressure',
        () => {
          for (let i = 0; i < 6; i++)
            container.attach(['/probe', 'burn-cpu'], { reject: false }).then(
              () => undefined,
              () => undefined,
            )
        },
      )
      t.match(seen.at(-1), { type: 'pressure', resource: 'cpu', avg10: Number })
    })
  },
)

t.test('devices (H2)', root, async t => {
  // kmsg: what a privileged root could read, and no default gives. It is its own control: the last of the three opens.
  const nodes = directory(t)
  for (const [name, minor] of [
    ['kmsg', 11],
    ['null', 3],
  ] as const) {
    execFileSync('mknod', [join(nodes, name), 'c', '1', String(minor)])
    chmodSync(join(nodes, name), 0o666)
  }
  const mounts = ['kmsg', 'null']
    .map(name => `lxc.mount.entry = ${nodes}/${name} tmp/${name} none bind,create=file 0 0`)
    .join('\n')
  const opened = async (container: Container, name: string) =>
    JSON.parse((await container.attach(['/probe', 'open', `/tmp/${name}`, 'w'], { reject: false })).stdout).error
  for (const idmap of [undefined, false] as const) {
    const made = idmap === false ? { idmap } : {}
    const who = idmap === false ? 'privileged' : 'in a user namespace'
    await within(t, { ...made, config: mounts }, async container => {
      t.equal(await opened(container, 'kmsg'), 'EPERM', `${who}: no kernel log`)
      t.equal(await opened(container, 'null'), null, `${who}: but null`)
    })
    await within(t, { ...made, config: `${mounts}\nlxc.cgroup2.devices.allow = c 1:11 w` }, async container => {
      t.equal(await opened(container, 'kmsg'), null, `${who}: unless it is allowed, which is what the test can see`)
    })
  }
})

t.test('control files by name (G4)', { skip: root.skip || without('pids') }, async t => {
  await within(t, {}, async container => {
    await container.cgroup.set('pids.max', '99')
    t.equal(await container.cgroup.get('pids.max'), '99')
    for (const name of ['../pids.max', '/etc/passwd', 'a/../pids.max']) {
      await t.rejects(container.cgroup.get(name), { code: 'ERR_INVALID_OPTION' })
      await t.rejects(container.cgroup.set(name, '1'), { code: 'ERR_INVALID_OPTION' })
    }
    await container.stop({ force: true })
    await t.rejects(container.cgroup.get('pids.max'), { code: 'ERR_CONTAINER_NOT_RUNNING' })
  })
})

t.test('the end comes as an event', root, async t => {
  await within(t, {}, async container => {
    const events = container.events()[Symbol.asyncIterator]()
    await events.next()
    const stopped = container.stop({ force: true })
    const seen: ContainerEvent[] = []
    for (let next = await events.next(); !next.done; next = await events.next()) seen.push(next.value)
    await stopped
    t.match(seen.at(-1), { type: 'exit', signal: 'SIGKILL' })
  })
})
