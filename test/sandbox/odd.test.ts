/** Mistakes in what run(), sandbox() and pools are asked for: each refused by name, before anything is made. */
import { createReadStream, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t from 'tap'
import { type RunOptions, run, SandboxPool, sandbox } from '../../lib/index.ts'
import { directory } from '../support/rootfs.ts'

const TRUE = ['/bin/true']
const invalid = { code: 'ERR_INVALID_OPTION' }

/** What TypeScript would refuse, too. */
const WRONG: Readonly<Record<string, unknown>> = {
  timeout: [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, '5'],
  maxBuffer: [-1, Number.NaN, '1M'],
  cwd: [3, '', 'a\0b'],
  env: [{ 'A=B': '' }, { '': 'x' }, { A: undefined }, { A: 5 }, { A: 'x\0' }],
  environment: [{ 'A=B': '' }, { A: 5 }],
  bind: [
    '/usr',
    { source: '/usr' },
    ['usr'],
    [{ source: '/usr', targt: '/x' }],
    [{ source: 5 }],
    [null],
    [{ source: '/usr', write: 1 }],
  ],
  tmpfs: ['/x', ['x'], [{ target: '/x', sise: 1 }], [{ target: '/x', size: 0 }], [{ target: '/x', size: '0' }]],
  network: ['none', [{ type: 'veth' }], [{ type: 'none', link: 'x' }], [{ type: 'none' }, { type: 'empty' }]],
  proc: ['ful'],
  seccomp: ['none', true],
  hostname: [5, '', 'a b', 'x'.repeat(65)],
  rootfs: ['hst', 5, {}, { imag: 'x' }, { image: '' }, { image: 'x', store: 'relative' }],
  capabilities: [{}, { keep: 'chown' }, { keep: ['nothing'] }, { drop: [] }],
  groups: ['x', ['x'], [-1]],
  user: ['nobody-at-all', -1],
  stdio: ['pip', ['ignore'], ['pipe', 'pipe', 'err']],
  tty: [{}, { columns: -1, rows: 1 }, { columns: 1, rows: 1e9 }],
  input: [5, {}],
  signal: [{}],
  killSignal: ['SIGTRM'],
  limits: [{ memry: 1 }, { memory: '1X' }, { pids: 0 }, { cpu: 0 }],
}

async function refusal(act: () => PromiseLike<unknown>): Promise<unknown> {
  try {
    return await act()
  } catch (error) {
    return error
  }
}

t.test('values outside their domain', async t => {
  for (const [name, values] of Object.entries(WRONG)) {
    for (const value of values as unknown[]) {
      const error = await refusal(() => run(TRUE, { [name]: value } as RunOptions))
      t.match(error, invalid, `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    }
  }
  for (const size of ['10%', '1T', '1.5M', -1, '64MB', 1e30]) {
    t.match(await refusal(() => run(TRUE, { tmpfs: [{ target: '/x', size }] })), invalid, `tmpfs of ${size}`)
  }
  t.match(await refusal(() => run('true' as never)), { ...invalid, hint: /list/ })
  t.match(await refusal(() => run([''])), invalid)
  t.match(await refusal(() => run(TRUE, { tty: true, input: 'x' })), { ...invalid, hint: /terminal/ })
  t.match(await refusal(() => run(TRUE, { stdio: 'ignore', input: 'x' })), invalid)
  t.match(await refusal(() => sandbox({ timeut: 1 } as never)), { ...invalid, hint: 'did you mean "timeout"?' })
  t.match(await refusal(() => sandbox({ timeout: Number.NaN })), invalid)
  t.throws(() => new SandboxPool({ siz: 1 } as never), { ...invalid, hint: 'did you mean "size"?' })
  t.throws(() => new SandboxPool({ bind: ['usr'] }), invalid)
})

t.test('places that are no place', async t => {
  const place = directory(t)
  writeFileSync(join(place, 'file'), '')
  symlinkSync('/nowhere', join(place, 'dangling'))
  for (const target of ['/proc', '/proc/x', '/dev', '/', 'x', '/a/../proc']) {
    t.match(await refusal(() => run(TRUE, { bind: [{ source: place, target }] })), invalid, `a bind on ${target}`)
    t.match(await refusal(() => run(TRUE, { tmpfs: [target] })), invalid, `a tmpfs on ${target}`)
  }
  t.match(await refusal(() => run(TRUE, { bind: ['/proc'] })), invalid)
  t.match(await refusal(() => run(TRUE, { bind: [join(place, 'missing')] })), { code: 'ENOENT', path: /missing$/ })
  t.match(await refusal(() => run(TRUE, { bind: [join(place, 'dangling')] })), { code: 'ENOENT', path: /dangling$/ })
  t.match(await refusal(() => run(TRUE, { bind: [join(place, 'file/x')] })), { code: 'ENOTDIR', path: /file\/x$/ })
  t.match(await refusal(() => run(TRUE, { cwd: '/missing' })), { code: 'ENOENT', path: '/missing' })
  t.match(await refusal(() => run(TRUE, { cwd: '/etc/passwd' })), { code: 'ENOTDIR' })
  t.match(await refusal(() => run(TRUE, { rootfs: '/missing' })), { code: 'ERR_ROOTFS_MISSING' })
  t.match(await refusal(() => run(['nothing-of-that-name'])), { code: 'ERR_INIT_MISSING', hint: /\S/ })
  t.match(await refusal(() => run(['/usr'])), { code: 'EACCES', hint: /\S/ })
  t.match(await refusal(() => run(['true', 'x'.repeat(200_000)])), { code: 'E2BIG' })
})

t.test('odd binds that are right', async t => {
  const place = directory(t)
  mkdirSync(join(place, 'below'))
  writeFileSync(join(place, 'below/file'), 'F')
  symlinkSync(join(place, 'below'), join(place, 'link'))
  const show = async (options: RunOptions, script: string) => (await run(['/bin/sh', '-c', script], options)).stdout
  t.equal(await show({ bind: [{ source: join(place, 'link'), target: '/l' }] }, 'cat /l/file'), 'F')
  t.equal(await show({ bind: [{ source: join(place, 'below/file'), target: '/bin/true' }] }, 'cat /usr/bin/true'), 'F')
  t.equal(await show({ bind: [{ source: place, target: '/a/../b//c/' }] }, 'ls /b'), 'c\n')
})

t.test('input that ends badly, early or never', async t => {
  const open = () => readdirSync('/proc/self/fd').length
  await run(TRUE)
  const before = open()
  const large = createReadStream('/dev/zero')
  t.equal((await run(TRUE, { input: large })).exitCode, 0, 'a program that reads nothing')
  await new Promise(resolve => (large.closed ? resolve(undefined) : large.once('close', () => resolve(undefined))))
  const missing = await refusal(() => run(['cat'], { input: createReadStream('/missing') }))
  t.match(missing, { code: 'ERR_ABORTED', message: /its input failed: ENOENT/ })
  const failing = Readable.from(
    (async function* () {
      yield 'a'
      throw new Error('no more')
    })(),
  )
  t.match(await refusal(() => run(['cat'], { input: failing })), { message: /no more/ })
  t.equal((await run(['head', '-c1'], { input: 'x'.repeat(1e6) })).stdout, 'x')
  t.equal((await run(['cat'], { input: createReadStream('/etc/os-release') })).exitCode, 0)
  t.ok(open() <= before + 2, 'no descriptor is left')
})

t.test('who leaves the lines leaves the program running', async t => {
  await using program = run(['/bin/sh', '-c', 'echo ready; read x; echo $x; echo done'])
  for await (const line of program) if (line === 'ready') break
  program.stdin?.end('more\n')
  t.equal((await program).stdout, 'ready\nmore\ndone\n')
})

t.test('a pool that can make none says why', async t => {
  const pool = new SandboxPool({ rootfs: '/missing', size: 1 })
  await t.rejects(pool.filled(), { code: 'ERR_ROOTFS_MISSING' })
  const waiting = [1, 2, 3].map(() => refusal(() => pool.acquire({ timeout: 60_000 })))
  for (const error of await Promise.all(waiting)) t.match(error, { code: 'ERR_ROOTFS_MISSING' }, 'each is told')
  await pool.close()
  await t.rejects(pool.acquire(), { code: 'ERR_CONTAINER_NOT_RUNNING' })
  await t.rejects(pool.acquire({ timeout: -1 }), { code: 'ERR_CONTAINER_NOT_RUNNING' })
})

t.test('a pool hands out nothing that was killed meanwhile', async t => {
  await using pool = new SandboxPool({ size: 1, most: 1 })
  await pool.filled()
  const first = await pool.acquire()
  await pool.filled()
  const { pid } = first
  process.kill(pid, 'SIGKILL')
  await first.closed
  await first.close()
  await using second = await pool.acquire()
  t.not(second.pid, pid)
  t.equal((await second.run(['echo', 'x'])).stdout, 'x\n')
  const aborting = new AbortController()
  const waiting = refusal(() => pool.acquire({ signal: aborting.signal }))
  aborting.abort()
  t.match(await waiting, { code: 'ERR_ABORTED' })
  t.equal(pool.counts.waiting, 0)
})

t.test('a program that only the host has is told where it is', async t => {
  const home = directory(t)
  mkdirSync(join(home, 'bin'), { mode: 0o755 })
  const tool = join(home, 'bin', 'tool')
  writeFileSync(tool, '#!/bin/sh\necho done\n', { mode: 0o755 })
  const path = process.env.PATH
  t.teardown(() => {
    process.env.PATH = path
  })
  process.env.PATH = `${path}:${join(home, 'bin')}`
  const code = 'ERR_INIT_MISSING'
  await t.rejects(run(['tool']), {
    code,
    hint: `the host has it as ${tool}, which a sandbox does not see: bind ${home}`,
  })
  await t.rejects(run([tool]), { code, hint: new RegExp(`as ${tool}, .*: bind ${home}$`) })
  t.equal((await run([tool], { bind: [home] })).stdout, 'done\n', 'the hint is right')
  await using box = await sandbox()
  await t.rejects(box.run([tool]), { code, hint: /bind/ })
  await t.rejects(run(['/no/such']), { code, hint: /does not exist in the container/ })
  await t.rejects(run(['tool'], { rootfs: 'empty' }), { code, hint: /does not exist in the container/ })
})

t.test('a root that is read-only gets no directories', async t => {
  const rootfs = directory(t)
  for (const name of ['proc', 'dev', 'tmp', 'bin']) mkdirSync(join(rootfs, name))
  const bind = [{ source: '/usr/bin', target: '/work' }]
  await t.rejects(run(['/bin/true'], { rootfs, bind }), { code: 'EROFS', hint: /has no work: make the directory/ })
})
