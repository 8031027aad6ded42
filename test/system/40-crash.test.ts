// SIGKILL at any moment: of Node, of the monitor, of init. What is left works, or recover() removes it wholly.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Container, recover } from '../../lib/index.ts'
import { makeContainer, startContainer, tagOf } from '../support/container.ts'
import { elsewhere, monitorsOf } from '../support/elsewhere.ts'
import { leavesNoTrace, needsRoot, snapshot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot

/** The monitor of a container: the parent of its init. */
async function monitorOf(container: Container): Promise<number> {
  const stat = readFileSync(`/proc/${await container.initPid()}/stat`, 'utf8')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

t.test('recover() leaves running containers alone', { skip }, async t => {
  const { container, lxcpath } = await startContainer(t)
  t.strictSame(await recover({ path: lxcpath }), [])
  t.equal(await container.state(), 'RUNNING')
})

t.test('the monitor is killed: init goes with it, recover() cleans up, a start works again', { skip }, async t => {
  const lxcpath = directory(t)
  const root = rootfs(t)
  const tag = tagOf(lxcpath)
  await leavesNoTrace(
    t,
    async () => {
      const container = await Container.create('c', { path: lxcpath, rootfs: root })
      await container.start()
      const init = await container.initPid()
      process.kill(await monitorOf(container), 'SIGKILL')
      await until(() => !existsSync(`/proc/${init}`), 'init goes with it')
      t.equal(await container.state(), 'STOPPED', 'the state is true at once')
      t.not(
        snapshot(tag).cgroups?.filter(path => path.includes(tag)).length,
        0,
        'the killed monitor has left its cgroups',
      )
      const removed = await recover({ path: lxcpath })
      t.match(removed, [{ what: 'cgroup', name: new RegExp(`caisson\\.c\\.${tag}`) }])
      t.strictSame(await recover({ path: lxcpath }), [], 'a second recover() finds nothing')
      await container.start()
      process.kill(await monitorOf(container), 'SIGKILL')
      await until(async () => (await container.state()) === 'STOPPED', 'it has ended')
      await container.start()
      t.equal(await container.state(), 'RUNNING', 'a start cleans up by itself')
      await container.destroy({ force: true })
    },
    tag,
  )
})

t.test('init is killed: that is the end of the container, and it is told', { skip }, async t => {
  const { container } = await startContainer(t)
  const gone = container.exited()
  process.kill((await container.initPid()) as number, 'SIGKILL')
  t.match(await gone, { code: null, signal: 'SIGKILL' })
  t.equal(await container.state(), 'STOPPED')
})

t.test('a container whose monitor was killed lives on when it is meant to, and is adopted', { skip }, async t => {
  const { container, lxcpath } = await startContainer(t, { config: 'lxc.monitor.signal.pdeath = 0\n' })
  const init = await container.initPid()
  process.kill(await monitorOf(container), 'SIGKILL')
  await until(async () => (await container.state()) === 'RUNNING', 'it runs')
  t.strictSame(await recover({ path: lxcpath }), [], 'asking for its state has adopted it')
  const again = await Container.open('c', { path: lxcpath })
  t.equal(await again.state(), 'RUNNING')
  t.equal(await again.initPid(), init)
  t.equal((await again.attach(['/probe', 'exit', '0'])).exitCode, 0)
  await again.freeze()
  await again.unfreeze()
  await again.stop({ force: true })
  t.equal(await again.state(), 'STOPPED')
})

t.test('Node is killed while it creates: nothing is taken for a container', { skip }, async t => {
  const lxcpath = directory(t)
  const [node, ...args] = elsewhere(
    `process.send('go'); await caisson.Container.create('c', ${JSON.stringify({ path: lxcpath })})`,
  )
  for (const delay of [2, 8, 20, 40]) {
    const child = spawn(node, args, {
      env: { PATH: process.env.PATH },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    await new Promise(resolve => child.once('message', resolve))
    await sleep(delay)
    child.kill('SIGKILL')
    await new Promise(resolve => child.once('exit', resolve))
    await recover({ path: lxcpath })
    const left = readdirSync(lxcpath)
    t.ok(
      left.length === 0 || (left.length === 1 && left[0] === 'c'),
      `after ${delay} ms: whole or nothing, not ${left}`,
    )
    if (left.length > 0) {
      const container = await Container.open('c', { path: lxcpath })
      await container.start()
      await container.destroy({ force: true })
    }
  }
})

t.test(
  'who starts it is killed during the start: what was to end with him ends, what was not lives',
  { skip },
  async t => {
    for (const foreground of [true, false]) {
      const there = directory(t)
      const wait = join(there, 'wait')
      writeFileSync(wait, `#!/bin/sh\n: >${there}/there; until [ -e ${there}/go ]; do sleep 0.02; done\n`, {
        mode: 0o755,
      })
      const { container, lxcpath } = await makeContainer(t, { hooks: { 'start-host': [wait] } })
      const [node, ...args] = elsewhere(
        `await (await caisson.Container.open('c', ${JSON.stringify({ path: lxcpath })})).start({ foreground: ${foreground} })`,
      )
      const starter = spawn(node, args, { env: { PATH: process.env.PATH }, stdio: ['ignore', 'ignore', 'inherit'] })
      await until(() => existsSync(join(there, 'there')), 'the hook runs')
      starter.kill('SIGKILL')
      await once(starter, 'exit')
      writeFileSync(join(there, 'go'), '')
      if (foreground) await until(async () => (await container.state()) === 'STOPPED', 'it has ended')
      else await until(async () => (await container.state()) === 'RUNNING', 'it runs')
      t.strictSame(await recover({ path: lxcpath }), [], 'nothing is left to clean up')
    }
  },
)

t.test('the monitor is killed at sixty moments of its start', { skip }, async t => {
  const { container, lxcpath } = await makeContainer(t)
  const tag = tagOf(lxcpath)
  const cgroups = () => snapshot(tag).cgroups?.filter(path => path.includes(tag))
  let killed = 0
  for (let moment = 0; moment < 60; moment++) {
    let over = false
    const starting = container
      .start()
      .then(
        () => 'started',
        (error: { code: string }) => error.code,
      )
      .finally(() => (over = true))
    const monitor = await child(() => over)
    for (const begun = process.hrtime.bigint(); process.hrtime.bigint() - begun < BigInt(moment * 100_000); );
    const hit = monitor !== undefined && killIfThere(monitor)
    const end = await starting
    // It was another one, which had done its part: nobody has killed the container's own.
    if (!hit && end === 'started') await container.stop({ force: true })
    if (end === 'ERR_MONITOR_LOST') killed++
    else if (end !== 'started') t.fail(`after ${moment * 100} µs: ${end}`)
    await until(async () => (await container.state()) === 'STOPPED', 'it has ended')
    await recover({ path: lxcpath })
    if (cgroups()?.length !== 0) t.strictSame(cgroups(), [], `after ${moment * 100} µs`)
  }
  t.comment(`${killed} of 60 kills came before the end of the start`)
  await container.start()
  t.equal((await container.attach(['/probe', 'exit', '0'])).exitCode, 0, 'it starts after all of them')
})

/** False when it has ended before it could be killed. */
function killIfThere(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    return false
  }
}

/** The monitor that this process has just started, unless the start was over before it was seen. */
async function child(isOver: () => boolean): Promise<number | undefined> {
  for (;;) {
    const [monitor] = monitorsOf(process.pid)
    if (monitor !== undefined || isOver()) return monitor
    await new Promise(resolve => setImmediate(resolve))
  }
}
