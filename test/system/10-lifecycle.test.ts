// A container from nothing to nothing: created, started, seen by another process, frozen, limited, rebooted, stopped, destroyed.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Container, type ContainerEvent } from '../../lib/index.ts'
import { errorOf, makeContainer, startContainer, tagOf } from '../support/container.ts'
import { runElsewhere } from '../support/elsewhere.ts'
import { leavesNoTrace, needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot

t.test('create makes LXC’s layout, whole or not at all', { skip }, async t => {
  const lxcpath = directory(t)
  const container = await Container.create('web.1', { path: lxcpath })
  t.teardown(() => container.destroy().catch(() => undefined))
  t.strictSame(readdirSync(lxcpath), ['web.1'])
  t.match(readdirSync(join(lxcpath, 'web.1')), ['config', 'lock', 'rootfs'])
  t.equal(
    statSync(join(lxcpath, 'web.1')).mode & 0o777,
    0o700,
    'no host user can reach files that are set-user-id inside',
  )
  t.equal(statSync(join(lxcpath, 'web.1/rootfs/bin')).uid, 0, 'files lie with uid 0 on disk')
  t.match(readFileSync(join(lxcpath, 'web.1/config'), 'utf8'), /^lxc\.idmap = u 0 \d+ 65536$/m)
  t.equal(await container.state(), 'STOPPED')
  t.equal(await container.initPid(), null)
  await container.destroy()
  t.strictSame(readdirSync(lxcpath), [])
})

t.test('two containers never share ids', { skip }, async t => {
  const lxcpath = directory(t)
  const root = rootfs(t)
  const [a, b] = await Promise.all(['a', 'b'].map(name => Container.create(name, { path: lxcpath, rootfs: root })))
  const first = (container: Container | undefined) => container?.config.value('lxc.idmap')[0]?.host ?? 0
  t.ok(Math.abs(first(a) - first(b)) >= 65_536, 'ranges are disjoint')
  await Promise.all([a?.destroy(), b?.destroy()])
})

t.test('events tell of every state and of the end', { skip }, async t => {
  const { container } = await startContainer(t)
  const seen: ContainerEvent[] = []
  const watching = (async () => {
    for await (const event of container.events()) seen.push(event)
  })()
  await container.wait('RUNNING')
  await container.freeze()
  await container.unfreeze()
  await container.stop({ force: true })
  await watching
  // That the cgroup is empty may be told before the end, or after it.
  t.match(
    seen.filter(({ type }) => type !== 'populated').map(event => (event.type === 'state' ? event.state : event.type)),
    ['RUNNING', 'FREEZING', 'FROZEN', 'THAWED', 'RUNNING', 'STOPPING', 'exit'],
  )
  t.match(
    seen.findLast(({ type }) => type === 'exit'),
    { code: null, signal: 'SIGKILL' },
  )
})

t.test('started, it outlives the process that started it, and any other can manage it (P4)', { skip }, async t => {
  const lxcpath = directory(t)
  const root = rootfs(t)
  await leavesNoTrace(
    t,
    async () => {
      const options = JSON.stringify({ path: lxcpath, rootfs: root })
      const pid = runElsewhere(
        `const c = await caisson.Container.create('c', ${options}); await c.start(); console.log(await c.initPid())`,
      )
      const container = await Container.open('c', { path: lxcpath })
      t.equal(await container.state(), 'RUNNING')
      t.equal(await container.initPid(), Number(pid))
      t.equal(readFileSync(`/proc/${pid.trim()}/status`, 'utf8').match(/^NSpid:.*\s(\d+)$/m)?.[1], '1')
      t.strictSame(
        (await Container.list({ path: lxcpath, state: 'active' })).map(({ name }) => name),
        ['c'],
      )
      await container.stop()
      t.strictSame(await container.exited(), { code: 0, signal: null, oomKilled: false })
      t.equal(await container.state(), 'STOPPED')
      await container.destroy()
    },
    tagOf(lxcpath),
  )
})

t.test('a foreground container ends with the process that started it (P4)', { skip }, async t => {
  const lxcpath = directory(t)
  const root = rootfs(t)
  await leavesNoTrace(
    t,
    async () => {
      const container = await Container.create('c', { path: lxcpath, rootfs: root })
      runElsewhere(
        `const c = await caisson.Container.open('c', ${JSON.stringify({ path: lxcpath })}); await c.start({ foreground: true }); process.exit(0)`,
      )
      await container.wait('STOPPED', { timeout: 10_000 })
      t.match(await container.exited(), { signal: 'SIGKILL' })
      await container.destroy()
    },
    tagOf(lxcpath),
  )
})

t.test('frozen, it uses no CPU and takes no program; stop works all the same', { skip }, async t => {
  const { container } = await startContainer(t)
  const busy = container.attach(['/probe', 'burn-cpu'], { reject: false })
  await new Promise(resolve => busy.once('spawn', resolve as () => void))
  await container.freeze()
  t.equal(await container.state(), 'FROZEN')
  const before = (await container.stats()).cpu.usageUsec
  await new Promise(resolve => setTimeout(resolve, 100))
  t.equal((await container.stats()).cpu.usageUsec, before)
  t.match(await errorOf(container.attach(['/probe'])), { code: 'ERR_CONTAINER_FROZEN', hint: /unfreeze/ })
  await container.stop({ force: true })
  t.match(await busy, { signal: 'SIGKILL' })
})

t.test('reboot: the same monitor starts it anew', { skip }, async t => {
  const { container } = await startContainer(t, {
    init: 'busybox',
    config: 'lxc.signal.reboot = SIGTERM\nlxc.signal.halt = SIGUSR1\n',
  })
  const before = await container.initPid()
  await container.reboot({ timeout: 30_000 })
  t.not(await container.initPid(), before)
  t.equal((await container.attach(['/probe', 'exit', '0'])).exitCode, 0)
})

t.test('wait and exited: before, during and after', { skip }, async t => {
  const { container } = await makeContainer(t)
  t.match(await errorOf(container.exited()), { code: 'ERR_CONTAINER_NOT_RUNNING' })
  t.match(await errorOf(container.wait('RUNNING', { timeout: 50 })), { code: 'ERR_TIMEOUT' })
  t.match(await errorOf(container.wait('RUNNING', { signal: AbortSignal.abort() })), { code: 'ERR_ABORTED' })
  const running = container.wait(['RUNNING', 'FROZEN'])
  await container.start()
  t.equal(await running, 'RUNNING')
  const gone = container.exited()
  await container.stop()
  t.match(await gone, { code: 0, signal: null })
  t.match(await container.exited(), { code: 0, signal: null }, 'later askers are told too')
})

t.test('its own exit code, and a command of its own', { skip }, async t => {
  const { container } = await makeContainer(t)
  await container.start({ command: ['/probe', 'exit', '7'] })
  t.match(await container.exited(), { code: 7, signal: null })
  await container.start({ command: ['/probe', 'signal', '15'] }).catch(() => undefined)
})

t.test('limits, statistics and cgroup files of a running container', { skip }, async t => {
  const { container } = await startContainer(t, { limits: { memory: '64M', pids: 40 } })
  const { memory, pids, cpu } = await container.stats()
  t.equal(memory.max, 64 * 1024 * 1024)
  t.equal(pids.max, 40)
  t.ok(memory.current > 0 && pids.current >= 1 && cpu.usageUsec >= 0)
  await container.limit({ memory: '96M', pids: 50 })
  t.equal((await container.stats()).memory.max, 96 * 1024 * 1024)
  t.equal((await container.cgroup.get('pids.max')).trim(), '50')
  t.match(readFileSync(join(container.path, 'c/config'), 'utf8'), /^lxc\.cgroup2\.pids\.max = 50$/m)
  await t.rejects(container.cgroup.get('../pids.max'), { code: 'ERR_INVALID_OPTION' })
})

t.test('destroy demands force of what runs, and a second one has nothing to do', { skip }, async t => {
  const { container, lxcpath } = await startContainer(t)
  t.match(await errorOf(container.destroy()), { code: 'ERR_CONTAINER_RUNNING', hint: /force/ })
  await container.destroy({ force: true })
  t.notOk(existsSync(join(lxcpath, 'c')))
  t.match(await errorOf(Container.open('c', { path: lxcpath })), { code: 'ERR_CONTAINER_NOT_FOUND' })
})

t.test('`await using` stops it', { skip }, async t => {
  const { container, lxcpath } = await makeContainer(t)
  {
    await using running = await Container.open('c', { path: lxcpath })
    await running.start()
    t.equal(await container.state(), 'RUNNING')
  }
  t.equal(await container.state(), 'STOPPED')
})

t.test('a monitor keeps less than a mebibyte in memory', { skip }, async t => {
  const { container } = await startContainer(t)
  await container.attach(['/probe', 'exit', '0'])
  await container.freeze()
  await container.unfreeze()
  const [, monitor] = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${await container.initPid()}/status`, 'utf8')) ?? []
  const resident = () => Number(/^VmRSS:\s*(\d+) kB/m.exec(readFileSync(`/proc/${monitor}/status`, 'utf8'))?.[1])
  // it gives the memory of the start back after a moment
  await until(() => resident() < 1024, 'it has less than 1024 KiB')
})
