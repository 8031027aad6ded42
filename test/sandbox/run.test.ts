import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ContainerError, type ExecResult, type RunOptions, run } from '../../lib/index.ts'
import { needsRoot } from '../support/host.ts'
import { parseReport, probe, type Report } from '../support/probe.ts'
import { directory } from '../support/rootfs.ts'
import { leavesNoTrace } from '../support/session.ts'

const SH = '/bin/sh'
const shell = (script: string, options: RunOptions = {}) => run([SH, '-c', script], options)

async function failure(promise: PromiseLike<unknown>): Promise<ContainerError & { cause: ExecResult }> {
  const error = await Promise.resolve(promise).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error instanceof ContainerError) return error as ContainerError & { cause: ExecResult }
  throw error ?? new Error('it did not fail')
}

/** What the probe sees of a sandbox. */
async function look(options: RunOptions = {}): Promise<Report> {
  const { stdout } = await run(['/probe'], { ...options, bind: [{ source: probe, target: '/probe' }] })
  return parseReport(stdout)
}

// The first run begins the session, whose lock stays open.
t.before(() => run(['/bin/true']))

t.test('a program runs under the app profile', async t => {
  const seen = await look()
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) t.match(seen.status[set], /^0+$/, set)
  t.equal(seen.noNewPrivs, 1)
  t.equal(seen.status.Seccomp, '2')
  t.equal(seen.hostname, 'sandbox')
  t.strictSame(Object.keys(seen.fds).sort(), ['0', '1', '2'])
  t.strictSame(Object.keys(seen.env).sort(), ['HOME', 'PATH'])
  t.strictSame(seen.limits.core, [1, 1], 'no core dump, and none for a program of the host')
  t.ok(
    seen.cgroup.every(line => line.endsWith(':/')),
    'it sees no path of the host in its cgroups',
  )
  const host = (name: string) => statSync(`/proc/self/ns/${name}`).ino
  for (const name of ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup']) {
    t.not(seen.namespaces[name], `${name}:[${host(name)}]`, `its own ${name} namespace`)
  }
  t.ok(
    seen.mounts.every(
      ({ options, type }) => type === 'tmpfs' || type === 'proc' || type === 'devtmpfs' || /^ro\b/.test(options),
    ),
    'nothing of the host is writable',
  )
})

t.test('what it sees of the host is programs', async t => {
  const { stdout } = await shell(
    'ls /; ls /proc | grep -v "^[0-9]"; cat /etc/passwd; touch /usr/x /etc/x /x 2>/dev/null || echo refused',
  )
  const seen = stdout.split('\n')
  for (const name of ['root', 'home', 'run', 'sys', 'srv', 'mnt', 'boot']) t.notOk(seen.includes(name), `no /${name}`)
  t.ok(seen.includes('self'))
  t.notOk(seen.includes('kcore'))
  t.ok(seen.includes('refused'))
  t.match((await shell('cat /proc/uptime', { proc: 'full' })).stdout, /^\d/)
})

t.test('binds, temporary places, environment, directory', async t => {
  const shared = directory(t)
  writeFileSync(join(shared, 'in'), 'hello')
  mkdirSync(join(shared, 'below'), { mode: 0o700 })
  const options: RunOptions = {
    bind: [
      { source: shared, target: '/work', write: true },
      { source: join(shared, 'in'), target: '/deep/er/file' },
      SH,
    ],
    tmpfs: [{ target: '/cache', size: '1M' }],
    cwd: '/work',
    env: { A: 'b' },
    environment: { C: 'd' },
  }
  const script =
    'cat in /deep/er/file; echo " $A$C"; echo x >out; stat -c %u out .; dd if=/dev/zero of=/cache/f bs=1M count=2 2>&1 | grep -o "No space"'
  const { stdout } = await shell(script, options)
  t.equal(stdout, 'hellohello bd\n0\n0\nNo space\n')
  t.equal(readFileSync(join(shared, 'out'), 'utf8'), 'x\n')
  t.equal(statSync(join(shared, 'out')).uid, process.geteuid?.(), 'ids on disk are the ids inside')
  await t.rejects(shell('echo x >/work/out', { bind: [{ source: shared, target: '/work' }] }), { code: 'ERR_EXIT' })
  await t.rejects(shell('true', { bind: ['/does/not/exist'] }), { code: 'ENOENT' })
  t.throws(() => shell('true', { bind: ['relative'] }), { code: 'ERR_INVALID_OPTION' })
})

t.test('a root of its own, or none', async t => {
  const { stdout } = await run(['/probe'], { rootfs: 'empty', bind: [{ source: probe, target: '/probe' }] })
  const points = parseReport(stdout).mounts.map(({ point }) => point)
  t.strictSame(points.filter(point => !point.startsWith('/dev/')).sort(), ['/', '/dev', '/probe', '/proc', '/tmp'])
  await t.rejects(run([SH], { rootfs: 'empty' }), { code: 'ERR_INIT_MISSING' })
})

t.test('standard streams', async t => {
  t.equal((await run(['/bin/cat'], { input: 'text' })).stdout, 'text')
  const both = await shell('echo out; echo err >&2', { reject: false })
  t.strictSame([both.stdout, both.stderr], ['out\n', 'err\n'])
  t.equal(
    (await shell('echo again >/dev/stdout; echo x >/dev/fd/1')).stdout,
    'again\nx\n',
    '/dev/stdout is a real pipe',
  )
  const lines: string[] = []
  for await (const line of shell('echo a; echo b; printf c')) lines.push(line)
  t.strictSame(lines, ['a', 'b', 'c'])
  const { stdout } = await shell('tty; stty size', { tty: { columns: 90, rows: 30 } })
  t.match(stdout, /^\/dev\/pts\/0\r\n30 90\r\n$/)
  const merged = await shell('echo a; echo b >&2; echo c', { stdio: ['ignore', 'pipe', 'stdout'] })
  t.equal(merged.stdout, 'a\nb\nc\n')
})

t.test('why it ended', async t => {
  t.equal((await shell('exit 3', { reject: false })).exitCode, 3)
  t.equal((await shell('exit 137', { reject: false })).signal, null, 'an exit code is no signal')
  t.equal((await shell('kill -9 $$', { reject: false })).signal, 'SIGKILL')
  t.equal((await shell('kill -15 $$', { reject: false })).signal, 'SIGTERM')
  const late = await failure(shell('sleep 60', { timeout: 50 }))
  t.match(late, { code: 'ERR_TIMEOUT', cause: { timedOut: true, signal: 'SIGKILL' } })
  const aborting = new AbortController()
  setTimeout(() => aborting.abort(), 50)
  t.match(await failure(shell('sleep 60', { signal: aborting.signal })), {
    code: 'ERR_ABORTED',
    cause: { aborted: true },
  })
  t.match(await failure(shell('yes', { maxBuffer: 1000 })), { code: 'ERR_MAX_BUFFER', cause: { outputLimitHit: true } })
  t.match(await failure(run(['/no/such'])), { code: 'ERR_INIT_MISSING' })
  t.throws(() => run(['/bin/true'], { bnd: [] } as RunOptions), {
    code: 'ERR_INVALID_OPTION',
    hint: 'did you mean "bind"?',
  })
})

t.test('limits, and what was used', { skip: needsRoot }, async t => {
  const { usage } = await shell('i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done')
  t.ok((usage?.cpuUsec ?? 0) > 1000)
  t.ok((usage?.memoryPeak ?? 0) > 100_000)
  const fork = await shell('for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait', {
    limits: { pids: 5 },
    reject: false,
    timeout: 20_000,
  })
  t.equal(fork.pidsLimitHit, true)
  const greedy = await shell('x=$(tail /dev/zero)', { limits: { memory: '20M' }, reject: false, timeout: 20_000 })
  t.equal(greedy.oomKilled, true)
})

t.test('an abort at any moment is an abort', async t => {
  const wave = (first: number) =>
    Promise.all(
      [0, 0.5, 1, 1.5].map(async later => {
        const aborting = new AbortController()
        setTimeout(() => aborting.abort(), first + later)
        try {
          const { aborted, exitCode } = await shell('exit 0', { signal: aborting.signal, reject: false })
          return aborted || exitCode === 0
        } catch (error) {
          return (error as ContainerError).code === 'ERR_ABORTED' || error
        }
      }),
    )
  for (let first = 0; first < 40; first += 2) {
    t.strictSame(await wave(first / 3), [true, true, true, true], `${first}`)
  }
})

/** Each of these would go on for ever. */
const STUBBORN: Readonly<Record<string, string>> = {
  'a fork bomb': 'bomb() { bomb | bomb & }; bomb; sleep 60',
  'one that ignores signals': 'trap "" TERM INT HUP QUIT; sleep 60 & wait; sleep 60; sleep 60',
  'one that forks twice': '(setsid sleep 1000 &) ; (setsid sh -c "sleep 1000 & sleep 1000" &) ; sleep 60',
  'one that stops itself': 'kill -STOP $$; sleep 60',
  'one that stops all': 'kill -STOP -1; sleep 60',
}

async function endsEverything(t: Test): Promise<void> {
  for (const [what, script] of Object.entries(STUBBORN)) {
    t.match(await failure(shell(script, { timeout: 100 })), { code: 'ERR_TIMEOUT' }, what)
  }
  const script = 'trap "" TERM; (trap "" TERM; sleep 1000) & while :; do sleep 1; done'
  t.match(await failure(shell(script, { timeout: 100, killSignal: 'SIGKILL' })), { code: 'ERR_TIMEOUT' })
}

async function endsWhatIsFrozen(t: Test): Promise<void> {
  const program = shell('echo; sleep 60', { timeout: 2_000 })
  program.once('spawn', () => {
    const [, group] = /^0::(.*)$/m.exec(readFileSync(`/proc/${program.pid}/cgroup`, 'utf8')) ?? []
    const unified = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1]
    writeFileSync(`${unified}${group}/cgroup.freeze`, '1')
  })
  t.match(await failure(program), { code: 'ERR_TIMEOUT', cause: { timedOut: true, signal: 'SIGKILL' } })
}

async function many(t: Test, count: number): Promise<void> {
  const results = await Promise.all(Array.from({ length: count }, (_, i) => shell(`echo ${i}`)))
  t.strictSame(
    results.map(({ stdout }) => Number(stdout)),
    results.map((_, i) => i),
  )
}

// Compared once for all: the sandbox that is kept for the next run takes its time to go.
t.test('nothing is left', { skip: needsRoot }, async t => {
  await many(t, 100) // the session's files for as many
  await leavesNoTrace(t, async () => {
    await t.test('a time limit ends everything', endsEverything)
    await t.test('a time limit ends what somebody has frozen', endsWhatIsFrozen)
    await t.test('what the program leaves running ends with it', async t => {
      t.equal((await shell('(setsid sleep 1000 >/dev/null 2>&1 &); exit 0')).exitCode, 0)
    })
    await t.test('many at once', t => many(t, 100))
  })
})
