// Sandboxes of an ordinary user: run by 55-rootless.test.ts, as a user with a range of ids or only one, with a delegated cgroup or none.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { type ContainerError, run, sandbox } from '../../lib/index.ts'
import { elsewhere } from '../support/elsewhere.ts'
import { imageOf } from '../support/image.ts'
import { until } from '../support/until.ts'

/** Whether this process may make cgroups below its own. */
const delegated = process.env.CAISSON_TEST_DELEGATED !== ''

const failure = (promise: PromiseLike<unknown>) =>
  Promise.resolve(promise).then(
    () => undefined,
    (error: ContainerError) => error,
  )

t.test('a program runs, without rights, as who started it', async t => {
  const { stdout } = await run(['/bin/sh', '-c', 'id -u; grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status'])
  const seen = stdout.split('\n')
  t.equal(seen[0], String(process.getuid?.()))
  t.match(stdout, /^CapEff:\t0+$/m)
  t.match(stdout, /^NoNewPrivs:\t1$/m)
  t.match(stdout, /^Seccomp:\t2$/m)
})

t.test('it sees only itself, and writes nothing of the host', async t => {
  const { stdout } = await run([
    '/bin/sh',
    '-c',
    'ls /proc | grep -c "^[0-9]"; touch /usr/x 2>/dev/null || echo refused',
  ])
  const [count, refused] = stdout.split('\n')
  t.ok(Number(count) < 10)
  t.equal(refused, 'refused')
})

t.test('limits are kept, or the run is refused', async t => {
  const limited = run(['/bin/true'], { limits: { memory: '64M' } })
  if (delegated) t.equal((await limited).exitCode, 0)
  else t.match(await failure(limited), { code: 'ERR_NO_CGROUP', hint: /chown|deleg|systemd/ })
})

t.test('what a run leaves behind ends with it', async t => {
  await using box = await sandbox()
  const mark = `${process.pid}.${Date.now() % 100_000}`
  await box.run(['/bin/sh', '-c', `(setsid sleep ${mark} &) ; (sleep ${mark} &); exit 0`])
  await until(() => !lives(mark), 'none of them lives')
  t.equal((await box.run(['/bin/sh', '-c', 'exit 3'], { reject: false })).exitCode, 3)
  t.match(await box.run(['/bin/sh', '-c', 'kill -TERM $$'], { reject: false }), { exitCode: null, signal: 'SIGTERM' })
  t.equal((await box.run(['/bin/sleep', mark], { timeout: 200, reject: false })).timedOut, true)
  t.notOk(lives(mark))
})

t.test('a timeout ends the whole tree', async t => {
  const mark = `${process.pid}.${Date.now() % 100_000}`
  const script = `trap "" TERM INT HUP; (setsid sleep ${mark} &); sleep ${mark} & wait`
  const ended = await run(['/bin/sh', '-c', script], { timeout: 300, reject: false })
  t.equal(ended.timedOut, true)
  await until(() => !lives(mark), 'none of them lives')
})

t.test('its own files, and standard input', async t => {
  await using box = await sandbox({ tmpfs: ['/work'] })
  await box.files.write('/work/a', 'hello')
  t.equal((await box.run(['/bin/cat', '/work/a'])).stdout, 'hello')
  t.equal((await box.run(['/bin/cat'], { input: 'through a pipe' })).stdout, 'through a pipe')
  t.equal((await box.run(['/bin/sh', '-c', 'echo said > /dev/stdout'])).stdout, 'said\n')
})

for (const [kind, begin] of [
  ['run()', 'caisson.run'],
  ['sandbox()', '(await caisson.sandbox()).run'],
])
  t.test(`${kind}: nothing lives on when Node is killed`, async t => {
    const mark = `${process.pid}.${kind?.length}`
    const script = `trap "" TERM; (setsid sleep ${mark} &); sleep ${mark} & wait`
    const [node, ...args] = elsewhere(`
      const running = ${begin}(['/bin/sh', '-c', ${JSON.stringify(script)}])
      running.once('spawn', () => console.log('runs'))
      await running`)
    const child = spawn(node, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    await until(() => lives(mark), 'they live')
    child.kill('SIGKILL')
    t.ok(await until(() => !lives(mark), 'none of them lives on'))
  })

/** Whether a process with that word in its command line lives. */
function lives(word: string): boolean {
  return readdirSync('/proc').some(pid => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`sleep\0${word}`)
    } catch {
      return false
    }
  })
}

t.test('an image is the root', async t => {
  const { store } = await imageOf(t)
  const { stdout } = await run(['/bin/sh', '-c', 'cat /etc/own; stat -c %u /etc/own'], {
    rootfs: { image: 'small', store },
  })
  t.equal(stdout, `of the image\n${process.getuid?.()}\n`)
})
