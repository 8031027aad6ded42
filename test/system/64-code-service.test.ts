// examples/code-service.ts as its clients see it: results, every limit, back-pressure, and an end that leaves nothing.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { request } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { needsRoot } from '../support/host.ts'
import { project } from '../support/life.ts'
import { until } from '../support/until.ts'

const skip = needsRoot

/** Starts the service with so many that run and that wait. */
async function serve(t: Test, most: string): Promise<{ url: string; service: ChildProcess }> {
  const env = { PATH: process.env.PATH, PORT: '0', MOST: most, TS_NODE_TRANSPILE_ONLY: '1' }
  const words = ['--import=@tapjs/typescript/import', join(project, 'examples/code-service.ts')]
  const service = spawn(process.execPath, words, { cwd: project, env, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => service.kill('SIGKILL'))
  const [line] = (await once(createInterface({ input: service.stdout }), 'line')) as [string]
  return { url: /http:\S+/.exec(line)?.[0] as string, service }
}

interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

async function post(url: string, program: string): Promise<Answer> {
  const answer = await fetch(url, { method: 'POST', body: program })
  return { status: answer.status, body: (await answer.json()) as Answer['body'] }
}

t.test('programs of strangers', { skip }, async t => {
  t.setTimeout(120_000)
  const { url, service } = await serve(t, '2,2')
  const sh = (program: string) => post(`${url}/sh`, program)
  t.match(await sh('echo out; echo err >&2; exit 3'), {
    status: 200,
    body: { exitCode: 3, signal: null, stdout: 'out\n', stderr: 'err\n', hit: [] },
  })
  t.match(await post(`${url}/js`, 'console.log(6 * 7)'), { body: { exitCode: 0, stdout: '42\n' } })

  await t.test('each limit is told by its name', async t => {
    t.match(await sh('while :; do :; done'), { body: { hit: ['time'] } })
    t.match(await sh('while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done'), { body: { hit: ['output'] } })
    const fork = await sh('for i in $(seq 100); do sleep 1 & done; wait')
    t.match(fork.body, { hit: ['processes'] })
    const hog = 'const all = []; for (;;) all.push(Buffer.alloc(10 * 1024 * 1024, 1))'
    t.match(await post(`${url}/js`, hog), { body: { hit: ['memory'] } })
    t.match(await post(`${url}/sh`, `: ${'x'.repeat(70_000)}`), { status: 413 })
    t.match(await post(`${url}/cobol`, ''), { status: 404 })
  })

  await t.test('nothing of one is there for the next, nor of the host', async t => {
    await sh('echo mine >/tmp/file; (sleep 1000 &)')
    const next = await sh('ls /tmp; ls /sys/class/net 2>/dev/null; ls -d /proc/[0-9]* | wc -l; echo x >/usr/x')
    t.match(next.body, { stdout: /^\d\n$/, stderr: /Read-only|denied|cannot create/ })
  })

  await t.test('too many are sent away, and nobody who was let in is forgotten', async t => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => sh('sleep 0.5; echo done')))
    const [done, sent] = [200, 429].map(status => answers.filter(answer => answer.status === status))
    t.equal((done?.length ?? 0) + (sent?.length ?? 0), 12)
    t.ok(done?.length && done.length >= 4, 'two run and two wait')
    t.ok(sent?.length && sent.length > 0)
    t.ok(done?.every(({ body }) => body.stdout === 'done\n'))
  })

  await t.test('who hangs up wants no answer: the place is free again', async t => {
    for (let i = 0; i < 4; i++) {
      const left = request(`${url}/sh`, { method: 'POST' })
      left.on('error', () => undefined)
      left.end('sleep 1.5')
      setTimeout(() => left.destroy(), 50)
      await new Promise(resolve => left.once('close', resolve))
    }
    await until(async () => (await sh('echo free')).status === 200, 'there is a place')
    t.match(await Promise.all([sh('echo 1'), sh('echo 2')]), [{ status: 200 }, { status: 200 }])
  })

  service.kill('SIGTERM')
  const [code] = await once(service, 'exit')
  t.equal(code, 0, 'it ends when it is asked')
})
