// A sandbox that is made ahead becomes the next run's own: as asked for, used once, and gone when nothing comes.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import t from 'tap'
import { type RunOptions, recover, run } from '../../lib/index.ts'
import { elsewhere, monitorsOf, runElsewhere } from '../support/elsewhere.ts'
import { needsRoot, snapshot } from '../support/host.ts'
import { parseReport, probe, type Report } from '../support/probe.ts'
import { leavesNoTrace } from '../support/session.ts'
import { until } from '../support/until.ts'

const skip = needsRoot
const KINDS = ['user', 'net', 'pid', 'mnt', 'ipc', 'uts', 'cgroup']

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  } catch {
    return [] // it has ended meanwhile
  }
}

/**
 * The first process of the one that waits, in its namespaces and with ids of its own; no run goes on meanwhile. Where the machine was too busy
 * for two runs in a row, none was made: they are made again.
 */
async function waiting(): Promise<number> {
  let looks = 0
  return until(async () => {
    if (++looks % 100 === 0) await again()
    const inits = monitorsOf(process.pid).flatMap(childrenOf)
    const [init, ...others] = inits.filter(isReady)
    return others.length === 0 && init
  }, 'one waits')
}

function isReady(pid: number): boolean {
  try {
    return (
      /^Uid:\t\d{5,}\t/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')) &&
      KINDS.every(kind => readlinkSync(`/proc/${pid}/ns/${kind}`) !== readlinkSync(`/proc/self/ns/${kind}`))
    )
  } catch {
    return false
  }
}

const namespacesOf = (pid: number): Record<string, string> =>
  Object.fromEntries(KINDS.map(kind => [kind, readlinkSync(`/proc/${pid}/ns/${kind}`)]))

async function look(options: RunOptions = {}): Promise<Report> {
  const { stdout } = await run(['/probe'], { ...options, bind: [{ source: probe, target: '/probe' }] })
  return parseReport(stdout)
}

const again = async () => {
  for (let i = 0; i < 2; i++) await run(['/bin/true'])
}

t.test('the third run of a kind is one that was made ahead, and no later one is the same', { skip }, async t => {
  await run(['/bin/true'])
  await leavesNoTrace(t, async () => {
    await again()
    // By process: a kernel gives the number of a namespace that has gone to another one.
    const seen = new Set<number>()
    for (let i = 0; i < 4; i++) {
      const init = await waiting()
      const ahead = namespacesOf(init)
      const { namespaces } = await look()
      t.match(namespaces, ahead, 'it has become the one that waited')
      t.notOk(seen.has(init), 'used once')
      seen.add(init)
    }
  })
})

t.test('it is as asked for', { skip }, async t => {
  await again()
  const ahead = namespacesOf(await waiting())
  const seen = await look({
    hostname: 'elsewhere',
    env: { A: 'b' },
    tmpfs: ['/scratch'],
    capabilities: { keep: ['chown'] },
    limits: { pids: 7, memory: '64M' },
  })
  t.match(seen.namespaces, ahead)
  t.equal(seen.hostname, 'elsewhere')
  t.equal(seen.env.A, 'b')
  t.equal(seen.status.CapBnd, '0000000000000001')
  t.equal(seen.status.Seccomp, '2')
  t.equal(seen.noNewPrivs, 1)
  t.strictSame(Object.keys(seen.fds).sort(), ['0', '1', '2'])
  t.ok(
    seen.cgroup.every(line => line.endsWith(':/')),
    'it sees no path of the host in its cgroups',
  )
  await waiting()
  const script = 'for i in 1 2 3 4 5 6 7 8 9; do sleep 9 & done'
  const forks = await run(['/bin/sh', '-c', script], { limits: { pids: 5 }, reject: false })
  t.ok(forks.pidsLimitHit, 'its limits are those of the run')
  await waiting()
  const { stdout, stderr } = await run(['/bin/sh', '-c', 'cat; pwd >&2'], { input: 'through it', cwd: '/usr' })
  t.strictSame([stdout, stderr], ['through it', '/usr\n'])
})

t.test('of another kind, it is not taken', { skip }, async t => {
  await again()
  const ahead = namespacesOf(await waiting())
  const seen = await look({ network: [{ type: 'none' }] })
  t.not(seen.namespaces.user, ahead.user)
  t.equal(seen.namespaces.net, readlinkSync('/proc/self/ns/net'))
})

t.test('killed while it waits, it is not missed', { skip }, async t => {
  for (const whom of ['init', 'monitor']) {
    await again()
    const init = await waiting()
    const monitor = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1])
    process.kill(whom === 'init' ? init : monitor, 'SIGKILL')
    // Until it is reaped: one that is dying has no command line any more, but its descriptors still.
    await until(() => !existsSync(`/proc/${monitor}`), 'the monitor is reaped')
    t.equal((await run(['/bin/echo', whom])).stdout, `${whom}\n`)
  }
})

t.test('what a killed one has left is cleaned up when the program has ended', { skip }, async t => {
  const code = `
    const { readdirSync, readFileSync, readlinkSync } = await import('node:fs')
    for (let i = 0; i < 3; i++) await caisson.run(['/bin/true'])
    await new Promise(resolve => setTimeout(resolve, 300))
    const childrenOf = task => readFileSync('/proc/self/task/' + task + '/children', 'utf8').split(' ').filter(Boolean)
    const children = readdirSync('/proc/self/task').flatMap(childrenOf)
    const monitors = children.filter(pid => readFileSync('/proc/' + pid + '/cmdline', 'utf8').includes('start'))
    if (monitors.length === 0) throw new Error('none waits')
    for (const pid of monitors) process.kill(Number(pid), 'SIGKILL')
    await new Promise(resolve => setTimeout(resolve, 100))
    const opened = readdirSync('/proc/self/fd').map(fd => { try { return readlinkSync('/proc/self/fd/' + fd) } catch { return '' } })
    console.log(opened.join().match('caisson/([0-9a-f]{8})/sandboxes')[1])`
  const id = runElsewhere(code).trim()
  await recover()
  t.strictSame(
    snapshot().cgroups?.filter(name => name.includes(id)),
    [],
  )
})

t.test('nothing is left of a program that is killed while one waits', { skip }, async t => {
  const [node, ...args] = elsewhere(`
    for (let i = 0; i < 3; i++) await caisson.run(['/bin/true'])
    await new Promise(resolve => setTimeout(resolve, 200))
    const { readdirSync, readlinkSync } = await import('node:fs')
    const opened = readdirSync('/proc/self/fd').map(fd => { try { return readlinkSync('/proc/self/fd/' + fd) } catch { return '' } })
    console.log(opened.join().match('caisson/([0-9a-f]{8})/sandboxes')[1])
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 10)`)
  const options = { encoding: 'utf8', env: { PATH: process.env.PATH } } as const
  const id = execFileSync('sh', ['-c', '"$@"; true', 'sh', node, ...args], options).trim()
  t.match(id, /^[0-9a-f]{8}$/)
  const left = () => snapshot().cgroups?.filter(name => name.includes(id)) ?? []
  await until(() => left().length === 0, 'its cgroups are gone')
})
