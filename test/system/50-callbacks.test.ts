// Hooks that are functions: when each is called, what it sees of the container, and what becomes of one that throws, hangs or is gone.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Container, type HookEvent } from '../../lib/index.ts'
import { errorOf, makeContainer, tagOf } from '../support/container.ts'
import { leavesNoTrace, needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'

const skip = needsRoot
const START = ['pre-start', 'pre-mount', 'mount', 'autodev', 'start-host', 'start'] as const
const ALL = [...START, 'stop', 'post-stop', 'clone', 'destroy'] as const

t.test('all ten, in their order, before the programs of the same point', { skip }, async t => {
  const [lxcpath, root] = [directory(t), rootfs(t)]
  const log = join(lxcpath, 'log')
  const said = () => readFileSync(log, 'utf8').trim().split('\n')
  writeFileSync(log, '')
  const program = join(lxcpath, 'program')
  writeFileSync(program, `#!/bin/sh\necho "program $3" >>${log}\n`, { mode: 0o755 })
  const events: HookEvent[] = []
  const note = (event: HookEvent) => {
    events.push(event)
    writeFileSync(log, `function ${event.type}\n`, { flag: 'a' })
  }
  const container = await Container.create('c', {
    path: lxcpath,
    rootfs: root,
    hooks: Object.fromEntries(
      ALL.map(name => [
        name,
        name === 'pre-start' || name === 'post-stop' || name === 'destroy' || name === 'clone'
          ? [program, note]
          : [note],
      ]),
    ),
  })
  await container.start()
  const pid = await container.initPid()
  await container.stop({ force: true })
  await (await container.clone('d')).destroy()
  await container.destroy()
  t.strictSame(said(), [
    'function pre-start',
    'program pre-start',
    ...START.slice(1).map(name => `function ${name}`),
    'function stop',
    'function post-stop',
    'program post-stop',
    'function clone',
    'program clone',
    'program destroy', // of the clone, which has the lines of the config and no functions
    'function destroy',
    'program destroy',
  ])
  t.ok(events.every(event => event.lxcpath === lxcpath))
  t.strictSame(
    events.map(({ name }) => name),
    ALL.map(type => (type === 'clone' ? 'd' : 'c')),
  )
  t.strictSame(
    events.map(event => event.pid),
    ALL.map(type => (['pre-mount', 'mount', 'autodev', 'start-host', 'start'].includes(type) ? pid : null)),
  )
  t.notOk(readFileSync(program, 'utf8').includes('function'), 'a config never holds a function')
})

t.test('it is called at that moment, and the container waits', { skip }, async t => {
  const { container, rootfs: root } = await makeContainer(t)
  const seen: Record<string, unknown> = {}
  container.onHook('pre-mount', ({ pid }) => {
    seen.early = readlinkSync(`/proc/${pid}/root`)
  })
  container.onHook('mount', async ({ pid }) => {
    await sleep(50)
    seen.mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
  })
  container.onHook('start', ({ pid }) => {
    seen.root = readFileSync(`/proc/${pid}/root/etc/passwd`, 'utf8')
    seen.filters = /Seccomp:\t(\d)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  })
  const gone = container.onHook('start', () => {
    throw new Error('disposed of')
  })
  gone[Symbol.dispose]()
  await container.start()
  t.equal(seen.early, '/')
  t.match(seen.mounts, / \/proc /, 'at "mount" the file systems are there')
  t.equal(seen.root, readFileSync(join(root, 'etc/passwd'), 'utf8'), 'at "start" its root is the container’s')
  t.equal(seen.filters, '0', 'and it has yet to give up rights')
})

t.test('one that throws is the failure of its step, and nothing is left', { skip }, async t => {
  // What this process opens once and keeps.
  const first = await makeContainer(t)
  await first.container.start()
  await first.container.destroy({ force: true })
  const { container, lxcpath } = await makeContainer(t)
  await leavesNoTrace(
    t,
    async () => {
      for (const name of START) {
        const cause = new Error(`no ${name} today`)
        const hook = container.onHook(name, async () => {
          throw cause
        })
        const error = await errorOf(container.start())
        t.match(error, { code: 'ERR_HOOK', step: `hook.${name}`, message: new RegExp(`threw: no ${name} today`) })
        t.equal(error.cause, cause)
        hook[Symbol.dispose]()
      }
      await container.destroy()
    },
    tagOf(lxcpath),
  )
})

t.test('one that throws keeps a container from being destroyed; after its end it is a warning', { skip }, async t => {
  const { container, lxcpath } = await makeContainer(t)
  const stay = container.onHook('destroy', () => {
    throw new Error('keep it')
  })
  t.match(await errorOf(container.destroy()), { code: 'ERR_HOOK', step: 'hook.destroy' })
  t.ok(existsSync(join(lxcpath, 'c')), 'what may not be destroyed stays')
  stay[Symbol.dispose]()
  await container.start()
  const warned = once(process, 'warning')
  container.onHook('stop', () => undefined)
  await container.stop({ force: true })
  container.onHook('post-stop', () => {
    throw new Error('too late')
  })
  await container.start()
  await container.stop({ force: true })
  t.match(await warned, [{ code: 'ERR_HOOK', message: /hook.post-stop failed: its callback threw: too late/ }])
})

t.test('what is no hook is refused by name', { skip }, async t => {
  const { container } = await makeContainer(t)
  t.throws(() => container.onHook('prestart' as 'start', () => undefined), {
    code: 'ERR_INVALID_OPTION',
    hint: /"pre-start"/,
  })
  t.throws(() => container.onHook('start', '/bin/true' as never), { code: 'ERR_INVALID_OPTION' })
})

t.test('a start whose process is killed in a hook has failed; an end goes on without it', { skip }, async t => {
  const [lxcpath, root] = [directory(t), rootfs(t)]
  const owner = (body: string) => {
    const index = fileURLToPath(new URL('../../dist/index.js', import.meta.url))
    const script = `import { Container } from ${JSON.stringify(index)}
      const container = await Container.open('c', { path: ${JSON.stringify(lxcpath)} })
      ${body}`
    return spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  }
  const container = await Container.create('c', { path: lxcpath, rootfs: root })
  t.teardown(() => container.destroy({ force: true }))
  const dying = owner(`container.onHook('mount', () => process.kill(process.pid, 'SIGKILL')); await container.start()`)
  await once(dying, 'exit')
  await container.wait('STOPPED', { timeout: 20_000 })
  t.equal(await container.state(), 'STOPPED')

  const parting = owner(
    `container.onHook('stop', () => console.log('never')); await container.start(); process.exit(7)`,
  )
  const said: Buffer[] = []
  parting.stdout?.on('data', (chunk: Buffer) => said.push(chunk))
  t.equal((await once(parting, 'close'))[0], 7)
  t.equal(await container.state(), 'RUNNING')
  await container.stop({ force: true })
  t.strictSame(said, [])

  const staying = owner(
    `container.onHook('post-stop', ({ type }) => console.log(type)); await container.start(); await container.exited()`,
  )
  staying.stdout?.on('data', (chunk: Buffer) => said.push(chunk))
  await container.wait('RUNNING', { timeout: 20_000 })
  const closed = once(staying, 'close')
  await container.stop({ force: true })
  await closed
  t.equal(Buffer.concat(said).toString(), 'post-stop\n', 'another process’s stop is its hook')
})
