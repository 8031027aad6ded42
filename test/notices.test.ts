// News of cgroups as the kernel tells them: somebody killed for want of memory, somebody waiting, nobody left.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { type CgroupNotice, watchNotices } from '../lib/notices.ts'
import { changeLimits, containerDirectory } from '../lib/resources.ts'
import { host, running, without } from './support/cgroup.ts'
import { needsRoot } from './support/host.ts'
import { until } from './support/until.ts'

const unified = host.hierarchies.some(({ version }) => version === 2)

/** Collects news; `first` resolves with the first that fits. */
function listener() {
  const all: CgroupNotice[] = []
  let look: () => void = () => undefined
  return {
    all,
    push: (notice: CgroupNotice) => {
      all.push(notice)
      look()
    },
    first: <T extends CgroupNotice>(fits: (notice: CgroupNotice) => notice is T): Promise<T> =>
      new Promise(resolve => {
        const alive = setInterval(() => undefined, 1000) // the watch itself keeps no process alive
        look = () => {
          const found = all.find(fits)
          if (found === undefined) return
          clearInterval(alive)
          resolve(found)
        }
        look()
      }),
  }
}

t.test('out of memory', { skip: needsRoot || without('memory') }, async t => {
  const greedy = 'process.stdin.once("data", () => { const all = []; for (;;) all.push(Buffer.alloc(1e7, 1)) })'
  const { running: container, child } = await running(t, greedy)
  await changeLimits(container, { memory: '100M', swap: false })
  const { push, first, all } = listener()
  const close = watchNotices(container, push)
  t.teardown(close)
  child.stdin?.write('go')
  const [, signal] = await once(child, 'exit')
  t.equal(signal, 'SIGKILL')
  const oom = await first((notice): notice is CgroupNotice & { type: 'oom' } => notice.type === 'oom')
  t.equal(oom.victims, 1)
  if (unified) {
    const empty = await first((notice): notice is CgroupNotice & { type: 'populated' } => notice.type === 'populated')
    t.equal(empty.populated, false, 'and then nobody is left')
  }
  close()
  close()
  t.equal(all.filter(({ type }) => type === 'oom').length, 1, 'told once')
})

t.test(
  'pressure',
  { skip: needsRoot || (unified && existsSync('/proc/pressure') ? false : 'no pressure of cgroups here') },
  async t => {
    // Threads that all want a processor, more of them than there are.
    const busy =
      'const { Worker } = require("worker_threads"); for (let i = 0; i < require("os").cpus().length + 3; i++) new Worker("for (;;);", { eval: true })'
    const { running: container } = await running(t, busy)
    const { push, first } = listener()
    t.teardown(watchNotices(container, push))
    const news = await first((notice): notice is CgroupNotice & { type: 'pressure' } => notice.type === 'pressure')
    t.equal(news.resource, 'cpu')
    t.ok(news.avg10 >= 0 && news.avg10 <= 100)
    t.type(news.at, Date)
  },
)

t.test('populated', { skip: needsRoot || (unified ? false : 'no cgroup v2 here') }, async t => {
  const { running: container, child } = await running(t, 'setInterval(() => undefined, 1000)')
  const hierarchy = container.cgroup.hierarchies.find(({ version }) => version === 2)
  const procs = join(containerDirectory(hierarchy as NonNullable<typeof hierarchy>), 'cgroup.procs')
  const { push, all } = listener()
  t.teardown(watchNotices(container, push))
  const told = () => all.flatMap(notice => (notice.type === 'populated' ? [notice.populated] : []))
  let last = child
  t.teardown(() => last.kill('SIGKILL'))
  // How things are is known to the watch a moment after it was asked for: until then a change is no news.
  await until(async () => {
    last.kill('SIGKILL')
    await once(last, 'exit')
    await sleep(10)
    last = spawn('sleep', ['1000'])
    writeFileSync(procs, `${last.pid}`)
    await sleep(10)
    return told().includes(false) && told().includes(true)
  }, 'both are told')
  t.ok(
    told().every((populated, i) => i === 0 || populated !== told()[i - 1]),
    'only changes are told',
  )
  last.kill('SIGKILL')
  await once(last, 'exit')
  await until(() => told().at(-1) === false, 'that nobody is left')
  t.type(all.find(({ type }) => type === 'populated')?.at, Date, 'and in the end that nobody is left')
})
