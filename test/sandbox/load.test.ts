/** Hundreds of runs at once from one process, and none of them on libuv's thread pool. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { run } from '../../lib/index.ts'
import { needsRoot, snapshot } from '../support/host.ts'
import { until } from '../support/until.ts'

const session = () => /caisson\/([0-9a-f]{8})\/sandboxes/.exec(snapshot().descriptors?.join() ?? '')?.[1]

t.test('three hundred at once', { skip: needsRoot }, async t => {
  const many = async () => {
    const all = Array.from({ length: 300 }, (_, i) => run(['/bin/sh', '-c', `sleep 0.2; echo ${i}`]))
    const results = await Promise.all(all)
    t.strictSame(
      results.map(({ stdout }) => Number(stdout)),
      results.map((_, i) => i),
    )
  }
  await many() // what a session keeps open for as many
  const descriptors = snapshot().descriptors
  await many()
  const left = () => snapshot().cgroups?.filter(name => name.includes(`${session()}`)) ?? []
  // The spare one that waits for the next run goes after a while.
  await until(() => left().length === 0, 'no cgroup is left')
  t.ok((snapshot().descriptors?.length ?? 0) <= (descriptors?.length ?? 0), 'no descriptor is left')
})

t.test('a thread pool that is never free', async t => {
  const program = fileURLToPath(new URL('./busy.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import=@tapjs/typescript/import', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
  })
  const [said] = await child.stdout.take(1).toArray()
  t.equal(String(said), 'one two three, free: false\n')
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
})
