import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { recover, SandboxPool, sandbox } from '../../lib/index.ts'
import { monitorsOf } from '../support/elsewhere.ts'
import { needsRoot, snapshot } from '../support/host.ts'
import { leavesNoTrace } from '../support/session.ts'
import { until } from '../support/until.ts'

t.before(async () => {
  await using box = await sandbox()
  await box.run(['/bin/true'])
})

async function oneAfterAnother(t: Test): Promise<void> {
  await using box = await sandbox({ environment: { A: 'a' } })
  t.equal(box.fresh, true)
  await box.run(['/bin/sh', '-c', 'echo kept >/tmp/file'])
  t.equal(box.fresh, false)
  const { stdout } = await box.run(['/bin/sh', '-c', 'cat /tmp/file; echo $A$B'], { env: { B: 'b' } })
  t.equal(stdout, 'kept\nab\n')
  await box.files.write('/tmp/other', 'data')
  t.equal((await box.files.read('/tmp/other')).toString(), 'data')
}

async function eachRun(t: Test): Promise<void> {
  await using box = await sandbox({ limits: { memory: '256M' } })
  const fork = 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'
  const first = await box.run(['/bin/sh', '-c', fork], { limits: { pids: 4 }, reject: false })
  t.equal(first.pidsLimitHit, true)
  const second = await box.run(['/bin/sh', '-c', 'exit 4'], { reject: false })
  t.match(second, { exitCode: 4, pidsLimitHit: false })
  t.ok((second.usage?.memoryPeak ?? 0) > 0)
  const late = await box.run(['/bin/sh', '-c', 'setsid sleep 100 & setsid sleep 100'], { timeout: 50, reject: false })
  t.match(late, { timedOut: true, signal: 'SIGKILL' })
  await box.run(['/bin/sh', '-c', 'setsid sleep 100 >/dev/null 2>&1 & exit 0'])
  await until(async () => (await box.stats()).pids.current <= 1, 'what a run leaves running ends with it') // zombies count
  t.equal((await box.stats()).pids.current, 1)
  t.equal((await box.stats()).memory.max, 256 * 1024 * 1024)
}

async function closed(t: Test): Promise<void> {
  const box = await sandbox()
  const running = box.run(['/bin/sleep', '100'], { reject: false })
  await new Promise(resolve => running.once('spawn', () => resolve(undefined)))
  await box.close()
  t.equal((await running).signal, 'SIGKILL')
  await t.rejects(box.run(['/bin/true']), { code: 'ERR_CONTAINER_NOT_RUNNING' })
}

async function pool(t: Test): Promise<void> {
  await using pool = new SandboxPool({ size: 2, most: 2 })
  await pool.filled()
  const first = await pool.acquire()
  t.equal(first.fresh, true)
  await first.run(['/bin/sh', '-c', 'echo x >/tmp/x'])
  const second = await pool.acquire()
  await t.rejects(pool.acquire({ timeout: 20 }), { code: 'ERR_TIMEOUT' }, 'more than that wait')
  const third = pool.acquire()
  t.equal(pool.counts.waiting, 1)
  await first.close()
  t.equal((await (await third).run(['/bin/ls', '/tmp'])).stdout, '')
  await (await third).close()
  await second.close()
  t.equal((await pool.run(['/bin/echo', 'one'])).stdout, 'one\n')
  t.throws(() => new SandboxPool({ size: 0 }), { code: 'ERR_INVALID_OPTION' })
}

t.test('nothing is left of sandboxes', async t => {
  await leavesNoTrace(t, async () => {
    await t.test('programs run one after another in one place', oneAfterAnother)
    await t.test('each run has limits, counts and an end of its own', { skip: needsRoot }, eachRun)
    await t.test('a closed one is closed', closed)
    await t.test('a pool hands out what nobody has used', pool)
  })
})

/** Starts sandboxes in another process, kills it while they run, or `after` so many milliseconds of many more, and names its session. */
async function killInTheMiddle(monitors: boolean, after?: number): Promise<string> {
  const program = fileURLToPath(new URL('./killed.ts', import.meta.url))
  const mode = after === undefined ? [] : ['always']
  const child = spawn(process.execPath, ['--import=@tapjs/typescript/import', program, ...mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const id = String((await child.stdout.take(1).toArray())[0]).trim()
  if (after !== undefined) await sleep(after)
  if (monitors) {
    for (const monitor of monitorsOf(child.pid as number)) process.kill(monitor, 'SIGKILL')
  }
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
  return id
}

const cgroupsOf = (id: string) => snapshot().cgroups?.filter(name => name.includes(id)) ?? []

t.test('nothing is left of a program that was killed in the middle', { skip: needsRoot }, async t => {
  const id = await killInTheMiddle(false)
  await until(() => cgroupsOf(id).length === 0, 'the monitors have removed everything')
  await recover()
  t.notOk(snapshot().run?.some(line => line.includes(id)))
})

t.test('nor when its monitors were killed with it', { skip: needsRoot }, async t => {
  const id = await killInTheMiddle(true)
  await recover()
  t.strictSame(cgroupsOf(id), [])
  t.notOk(snapshot().run?.some(line => line.includes(id)))
})

t.test('nor of one that was killed at whatever moment', { skip: needsRoot }, async t => {
  for (const after of [0, 6, 17, 40]) {
    const id = await killInTheMiddle(false, after)
    await until(() => cgroupsOf(id).length === 0, `all is gone of one killed after ${after} ms`)
    await recover()
    t.notOk(snapshot().run?.some(line => line.includes(id)))
  }
})
