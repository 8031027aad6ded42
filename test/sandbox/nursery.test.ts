// The process that forks monitors is made when it pays, does as well as exec, and is gone when it is not wanted.
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { run, sandbox } from '../../lib/index.ts'
import { commandLine, runElsewhere } from '../support/elsewhere.ts'
import { needsRoot } from '../support/host.ts'
import { alone, leavesNoTrace } from '../support/session.ts'
import { until } from '../support/until.ts'

/** The nurseries of this process. */
function nurseries(): number[] {
  return readdirSync('/proc/self/task')
    .flatMap(task => readFileSync(`/proc/self/task/${task}/children`, 'utf8').split(' ').filter(Boolean))
    .filter(pid => commandLine(pid).startsWith('caisson-monitor\0nursery'))
    .map(Number)
}

/** Runs until there is one: on a busy machine two launches may be too far apart. */
async function nursery(): Promise<number> {
  for (let tries = 0; tries < 20; tries++) {
    await run(['/bin/true'])
    const [found] = nurseries()
    if (found !== undefined) return found
  }
  throw new Error('no nursery was made')
}

const skip = needsRoot

t.test('the first launch makes none, the second one does, and it goes by itself', { skip }, async t => {
  await run(['/bin/true'])
  await alone()
  await leavesNoTrace(t, async () => {
    await sleep(2_100)
    await run(['/bin/true'])
    t.strictSame(nurseries(), [], 'after one')
    const made = await nursery()
    const eight = Array.from({ length: 8 }, () => run(['/bin/true']))
    await Promise.all(eight.map(one => new Promise(resolve => one.once('spawn', () => resolve(undefined)))))
    t.strictSame(nurseries(), [made], 'it is the same for all')
    await Promise.all(eight)
  })
})

t.test('what it forks is told apart, and gets what it is told', { skip }, async t => {
  const outputs = await Promise.all(
    Array.from({ length: 8 }, (_, i) => run(['/bin/sh', '-c', 'echo $N'], { env: { N: String(i) } })),
  )
  t.strictSame(
    outputs.map(({ stdout }) => stdout),
    Array.from({ length: 8 }, (_, i) => `${i}\n`),
  )
  await using box = await sandbox()
  const status = readFileSync(`/proc/${box.pid}/status`, 'utf8')
  const monitor = /^PPid:\s+(\d+)/m.exec(status)?.[1]
  t.equal(commandLine(String(monitor)).replaceAll('\0', ' ').trim(), 'caisson-monitor start')
  t.match(readFileSync(`/proc/${monitor}/status`, 'utf8'), new RegExp(`^PPid:\\s+${process.pid}$`, 'm'), 'our child')
  const opened = readdirSync(`/proc/${monitor}/fd`)
  t.ok(opened.length < 20, `it has none of the others' descriptors: ${opened.length}`)
})

t.test('killed, it is replaced', { skip }, async t => {
  await leavesNoTrace(t, async () => {
    const first = await nursery()
    process.kill(first, 'SIGKILL')
    await until(() => nurseries().length === 0, 'it is gone')
    t.equal((await run(['/bin/echo', 'again'])).stdout, 'again\n')
    t.not(await nursery(), first)
  })
})

t.test('a program with another user asks it for nothing', { skip }, async t => {
  // Its runs fail, and are launches all the same: one that they asked would not go.
  const code = `
    const { readdirSync, readFileSync } = await import('node:fs')
    const read = (pid, file) => { try { return readFileSync('/proc/' + pid + '/' + file, 'utf8') } catch { return '' } }
    const children = () => readdirSync('/proc/self/task').flatMap(task => read('self/task/' + task, 'children').split(' ').filter(Boolean))
    const roots = () => children().filter(pid => read(pid, 'cmdline').includes('nursery') && /^Uid:\\t0\\t/m.test(read(pid, 'status')))
    // on a busy machine two launches may be too far apart
    for (let tries = 0; tries < 3 || (tries < 20 && roots().length === 0); tries++) await caisson.run(['/bin/true'])
    const before = roots().length
    process.setgroups([]); process.setgid(65534); process.setuid(65534)
    for (let tries = 0; tries === 0 || (tries < 400 && roots().length > 0); tries++) {
      await caisson.run(['/bin/true']).catch(() => undefined)
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    console.log(JSON.stringify({ before, owners: roots() }))`
  t.strictSame(JSON.parse(runElsewhere(code)), { before: 1, owners: [] }, "root's nursery is gone")
})

t.test('a worker has its own, which ends with it (P3)', { skip }, async t => {
  const library = new URL('../../dist/index.js', import.meta.url).href
  const worker = new Worker(
    `import(${JSON.stringify(library)}).then(async ({ run }) => { for (let i = 0; i < 3; i++) await run(['/bin/true']) })`,
    { eval: true },
  )
  const before = nurseries()
  t.equal(await new Promise(resolve => worker.once('exit', resolve)), 0)
  await until(() => nurseries().every(nursery => before.includes(nursery)), 'its nursery ends with it')
})
