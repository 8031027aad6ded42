// Programs inside: their streams, ends, identities and terminals, and that nothing of the caller reaches them.
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t from 'tap'
import { errorOf, look, makeContainer, startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

t.test('attach', { skip: needsRoot }, async t => {
  const { container } = await startContainer(t)
  process.env.HOST_SECRET = 'canary'
  t.teardown(() => delete process.env.HOST_SECRET)

  await t.test('results: output, exit code, signal', async t => {
    t.match(await container.attach(['sh', '-c', 'echo out; echo err >&2']), {
      exitCode: 0,
      signal: null,
      stdout: 'out\n',
      stderr: 'err\n',
    })
    t.match(await container.attach(['sh', '-c', 'exit 7'], { reject: false }), { exitCode: 7, signal: null })
    t.match(await container.attach(['sh', '-c', 'kill -9 $$'], { reject: false }), {
      exitCode: null,
      signal: 'SIGKILL',
    })
    t.match(await errorOf(container.attach(['sh', '-c', 'echo why >&2; exit 3'])), {
      code: 'ERR_EXIT',
      message: /exit code 3: why/,
    })
  })

  await t.test('input from a string, bytes, a stream, and none', async t => {
    t.match(await container.attach(['cat'], { input: 'text' }), { stdout: 'text' })
    t.match(await container.attach(['cat'], { input: Buffer.from('bytes') }), { stdout: 'bytes' })
    t.match(await container.attach(['cat'], { input: Readable.from(['a', 'b']) }), { stdout: 'ab' })
    t.match(await container.attach(['cat'], { stdio: ['ignore', 'pipe', 'pipe'] }), { stdout: '' })
    const handle = container.attach(['cat'])
    handle.stdin?.end('written')
    t.match(await handle, { stdout: 'written' })
  })

  await t.test('a megabyte comes byte for byte, line by line', async t => {
    t.equal((await container.attach(['/probe', 'write-stdout', '1048576'])).stdout.length, 1_048_576)
    const lines: string[] = []
    for await (const line of container.attach(['sh', '-c', 'echo a; echo; printf b'])) lines.push(line)
    t.strictSame(lines, ['a', '', 'b'])
  })

  await t.test('/dev/stdout can be opened: the pipes are pipes', async t => {
    t.match(await container.attach(['sh', '-c', 'echo x > /dev/stdout']), { stdout: 'x\n' })
  })

  await t.test('the caller’s own descriptors, by number', async t => {
    const file = join(directory(t), 'out')
    const descriptor = openSync(file, 'w')
    await container.attach(['echo', 'to a file'], { stdio: ['ignore', descriptor, 'pipe'] })
    closeSync(descriptor)
    t.equal(readFileSync(file, 'utf8'), 'to a file\n')
  })

  await t.test('environment, directory and identity are what is asked for, and nothing else (D11)', async t => {
    const root = await look(container)
    t.strictSame(root.env, { PATH: root.env.PATH, HOME: '/root', USER: 'root', container: 'lxc' })
    t.equal(root.cwd, '/')
    const alice = await look(container, { user: 'alice', env: { A: 'b' }, cwd: '/tmp' })
    t.match(alice, {
      uid: [1000, 1000, 1000],
      gid: [1000, 1000, 1000],
      groups: [29],
      cwd: '/tmp',
      env: { A: 'b', HOME: '/tmp', USER: 'alice' },
    })
    t.equal(alice.status.CapEff, '0000000000000000')
    t.match(await look(container, { user: 33, group: 'audio' }), { uid: [33, 33, 33], gid: [29, 29, 29] })
    t.strictSame((await look(container, { user: 1000 })).groups, [], 'a number is looked up in no list')
    t.strictSame((await look(container, { user: 'alice', groups: [5, 7] })).groups, [5, 7], 'just those asked for')
  })

  await t.test('ids that are none are refused, never uid 0 (D4)', async t => {
    for (const user of ['4294967296', '-1', '4294967295', 'nobody-here', 1.5]) {
      t.match(await errorOf(container.attach(['id'], { user })), { code: 'ERR_INVALID_OPTION' }, String(user))
    }
  })

  await t.test('descriptors of the caller do not reach it (A3)', async t => {
    const canary = openSync('/etc/hostname', 'r')
    const { fds } = await look(container)
    closeSync(canary)
    t.strictSame(Object.keys(fds), ['0', '1', '2'])
    for (const target of Object.values(fds)) t.match(target, /^pipe:/)
  })

  await t.test('it is confined as init is (D1, D6)', async t => {
    const seen = await look(container)
    const init = new Map(
      readFileSync(`/proc/${await container.initPid()}/status`, 'utf8')
        .split('\n')
        .map(line => line.split(':\t') as [string, string]),
    )
    for (const field of ['CapInh', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters']) {
      t.equal(seen.status[field], init.get(field), field)
    }
    t.strictSame(
      seen.cgroup.map(line => line.split(':').at(-1)),
      seen.cgroup.map(() => '/'),
      'its cgroups are the container’s own',
    )
  })

  await t.test('a terminal: size, control, exit code', async t => {
    const handle = container.attach(['sh'], { tty: { columns: 101, rows: 33 } })
    await new Promise(resolve => handle.once('spawn', resolve as () => void))
    handle.terminal?.resize(90, 20)
    handle.terminal?.write('stty size; tty; exit 5\n')
    t.match(await errorOf(handle), { code: 'ERR_EXIT', cause: { exitCode: 5, stdout: /20 90[\s\S]*\/dev\/pts\/\d/ } })
    t.match((await look(container, { tty: true })).terminal, { controlling: true })
  })

  await t.test('a terminal ends with its program, to the last byte, whatever is left in the background', async t => {
    const lines = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\r\n`).join('')
    for (const left of ['', 'sleep 1000 & ']) {
      const { stdout } = await container.attach(['sh', '-c', `${left}seq 1 20000`], { tty: true })
      t.equal(stdout, lines, left)
    }
  })

  await t.test('timeouts and signals end it, and all of its process group', async t => {
    t.match(await errorOf(container.attach(['sleep', '1000'], { timeout: 50 })), { code: 'ERR_TIMEOUT' })
    const controller = new AbortController()
    const handle = container.attach(['sleep', '1000'], { signal: controller.signal, reject: false })
    handle.once('spawn', () => controller.abort())
    t.match(await handle.then(result => result), { aborted: true, signal: 'SIGKILL' })
    t.match(await errorOf(container.attach(['/probe', 'write-stdout', '100000'], { maxBuffer: 1000 })), {
      code: 'ERR_MAX_BUFFER',
    })
    const stubborn = container.attach(['/probe', 'ignore-signals'], { reject: false })
    await new Promise(resolve => stubborn.once('spawn', resolve as () => void))
    t.equal(stubborn.kill('SIGKILL'), true)
    t.match(await stubborn, { signal: 'SIGKILL' })
    t.equal(stubborn.kill(), false, 'a process that has gone is not hit')
    const early = container.attach(['sleep', '1000'], { reject: false })
    t.equal(early.kill('SIGUSR1'), true, 'before anybody knows that it runs')
    t.match(await early, { signal: 'SIGUSR1' }, 'the signal is kept for it')
    const never = container.attach(['/nowhere'])
    t.equal(never.kill(), true)
    await t.rejects(never, { code: 'ERR_INIT_MISSING' })
    t.equal(never.kill(), false, 'what could not run')
  })

  await t.test('what cannot run says why', async t => {
    t.match(await errorOf(container.attach(['/nowhere'])), {
      code: 'ERR_INIT_MISSING',
      step: 'process.exec',
      hint: /does not exist/,
    })
    t.match(await errorOf(container.attach(['/etc/passwd'])), { code: 'EACCES', hint: /execute permission/ })
    t.match(await errorOf(container.attach(['id'], { cwd: '/nowhere' })), { code: 'ENOENT', step: 'process.prepare' })
    t.match(
      await errorOf(container.attach(['--bind', '/'])),
      { code: 'ERR_INIT_MISSING' },
      'a dash is part of a name (D10)',
    )
  })
})

t.test('bad input is refused before anything is touched', { skip: needsRoot }, async t => {
  const { container } = await makeContainer(t)
  const refusals: [string, () => unknown][] = [
    ['an empty command', () => container.attach([])],
    ['a NUL in it', () => container.attach(['a\0b'])],
    ['an unknown option', () => container.attach(['id'], { tymeout: 5 } as object)],
    ['a variable without a name', () => container.attach(['id'], { env: { 'a=b': 'c' } })],
    ['an unknown signal', () => container.attach(['id'], { killSignal: 'SIGKIL' as 'SIGKILL' })],
    ['a stream that is none', () => container.attach(['id'], { stdio: 'pope' as 'pipe' })],
  ]
  for (const [what, act] of refusals) t.throws(act, { code: 'ERR_INVALID_OPTION' }, what)
  t.match(await errorOf(container.attach(['id'])), { code: 'ERR_CONTAINER_NOT_RUNNING', hint: /start/ })
  t.throws(() => container.attach(['id'], { tymeout: 5 } as object), /did you mean "timeout"/)
})
