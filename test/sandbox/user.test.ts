/**
 * Sandboxes of an ordinary user: nobody, first without a cgroup of its own and without subordinate ids, then with ids in /etc/subuid, then
 * in cgroups that root has given away. As root this file starts itself as that user.
 */
import { chownSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { directoryOf } from '../../lib/host/cgroups.ts'
import { type RunOptions, run, SandboxPool, sandbox } from '../../lib/index.ts'
import { host } from '../support/cgroup.ts'
import { needsRoot, leavesNoTrace as same, snapshot } from '../support/host.ts'
import { parseReport, probe } from '../support/probe.ts'
import { directory } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const NOBODY = 65534
const sh = (script: string) => ['/bin/sh', '-c', script]

/** Each of these would go on for ever. */
const STUBBORN: Readonly<Record<string, string>> = {
  'a fork bomb': 'bomb() { bomb | bomb & }; bomb; sleep 60',
  'one that ignores signals': 'trap "" TERM INT HUP QUIT; sleep 60 & wait; sleep 60; sleep 60',
  'one that forks twice': '(setsid sleep 1000 &) ; (setsid sh -c "sleep 1000 & sleep 1000" &) ; sleep 60',
  'one that stops all': 'kill -STOP -1; sleep 60',
}

const session = () => /caisson\/([0-9a-f]{8})\/sandboxes/.exec(snapshot().descriptors?.join() ?? '')?.[1]

async function leavesNoTrace(t: Test, body: () => Promise<void>): Promise<void> {
  await run(['/bin/true'])
  await until(() => snapshot(session()).processes?.length === 0, 'this process is alone')
  await same(t, body, session())
}

async function looks(t: Test, options: RunOptions = {}): Promise<void> {
  const seen = parseReport((await run(['/probe'], { ...options, bind: [{ source: probe, target: '/probe' }] })).stdout)
  t.strictSame(seen.uid, [NOBODY, NOBODY, NOBODY])
  t.match(seen.status.CapBnd, /^0+$/)
  t.equal(seen.status.Seccomp, '2')
  t.equal(seen.setgroups, 'deny')
  t.strictSame(seen.uidMap, [[NOBODY, NOBODY, 1]], 'its own id is its only one')
}

async function worksAlike(t: Test): Promise<void> {
  await t.test('one program (F1)', async t => {
    await looks(t)
    t.equal((await run(sh('echo again >/dev/stdout'))).stdout, 'again\n')
    t.match((await run(['tty'], { tty: true })).stdout, /^\/dev\/pts\/0/)
    t.equal((await run(sh('kill -15 $$'), { reject: false })).signal, 'SIGTERM')
    t.equal((await run(sh('exit 143'), { reject: false })).exitCode, 143)
    await t.rejects(run(['/bin/true'], { groups: [7] }), { code: 'ERR_INVALID_OPTION' })
    await t.rejects(run(['/no/such']), { code: 'ERR_INIT_MISSING' })
  })
  // Compared once for all: the sandbox that is kept for the next run takes its time to go.
  await leavesNoTrace(t, () => leavesNothing(t))
}

async function leavesNothing(t: Test): Promise<void> {
  await t.test('a sandbox that stays', async t => {
    await using box = await sandbox()
    await box.files.write('/tmp/file', 'kept')
    t.equal((await box.run(['cat', '/tmp/file'])).stdout, 'kept')
    t.match((await box.run(['tty'], { tty: true })).stdout, /^\/dev\/pts\/0/)
    t.equal((await box.run(sh('exit 137'), { reject: false })).exitCode, 137, 'an exit code is no signal')
    t.equal((await box.run(sh('kill -9 $$'), { reject: false })).signal, 'SIGKILL')
    t.equal((await box.run(sh('cat; echo x >/dev/stderr'), { input: 'in' })).stdout, 'in')
    await t.rejects(box.run(['/no/such']), { code: 'ERR_INIT_MISSING' })
    await box.run(sh('setsid sleep 1000 >/dev/null 2>&1 & exit 0'))
    const { stdout } = await box.run(sh('cat /proc/[0-9]*/comm'))
    t.notMatch(stdout, /sleep/, 'what a program leaves running ends with it')
  })
  await t.test('a pool', async t => {
    await using pool = new SandboxPool({ size: 1 })
    t.equal((await pool.run(['echo', 'x'])).stdout, 'x\n')
  })
  for (const [what, script] of Object.entries(STUBBORN)) {
    await t.test(`a time limit ends ${what}`, async t => {
      t.match(await run(sh(script), { timeout: 100, reject: false }), { timedOut: true, signal: 'SIGKILL' })
      await using box = await sandbox()
      t.match(await box.run(sh(script), { timeout: 100, reject: false }), { timedOut: true, signal: 'SIGKILL' })
      t.equal((await box.run(['echo', 'still here'])).stdout, 'still here\n')
    })
  }
}

async function withoutCgroup(t: Test): Promise<void> {
  await worksAlike(t)
  await t.test('limits need a cgroup, and say so', async t => {
    for (const limits of [{ memory: '64M' }, { pids: 4 }, { cpu: 1 }]) {
      await t.rejects(run(['/bin/true'], { limits }), { code: 'ERR_NO_CGROUP', hint: /\S/ })
    }
    const { usage } = await run(['/bin/true'])
    t.equal(usage, undefined, 'nothing is told that was not measured')
    const seen = parseReport((await run(['/probe'], { bind: [{ source: probe, target: '/probe' }] })).stdout)
    t.strictSame(seen.limits.nproc, [256, 256], 'a fork bomb has its bounds all the same')
  })
}

async function inCgroups(t: Test): Promise<void> {
  await worksAlike(t)
  await t.test('limits, and what was used', async t => {
    const { usage } = await run(['/bin/true'])
    t.ok((usage?.memoryPeak ?? 0) > 0)
    const many = sh('for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait')
    t.equal((await run(many, { limits: { pids: 5 }, reject: false })).pidsLimitHit, true)
    const greedy = await run(sh('x=$(tail /dev/zero)'), { limits: { memory: '20M' }, reject: false, timeout: 20_000 })
    t.equal(greedy.oomKilled, true)
    await using box = await sandbox()
    t.equal((await box.run(many, { limits: { pids: 5 }, reject: false })).pidsLimitHit, true)
  })
}

// ── as root ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Cgroups that belong to nobody, and a leaf of each to begin in. */
function giveCgroups(t: Test): string[] {
  const name = `caisson-test-${process.pid}`
  const places = host.hierarchies.flatMap(({ version, mount, base }) => {
    const offered = base?.controllers.filter(one => ['memory', 'pids'].includes(one)) ?? []
    if (base === undefined || (version === 1 && offered.length === 0)) return []
    if (version === 2) for (const one of offered) writeFileSync(`${mount}/cgroup.subtree_control`, `+${one}`)
    return [directoryOf(mount, base.path, name)]
  })
  for (const place of places) {
    for (const one of [place, join(place, 'leaf')]) {
      mkdirSync(one)
      for (const file of ['', 'tasks', 'cgroup.procs', 'cgroup.subtree_control']) {
        if (existsSync(join(one, file))) chownSync(join(one, file), NOBODY, NOBODY)
      }
    }
  }
  t.teardown(() => {
    // A cgroup that a sandbox has left would keep these.
    for (const place of places) for (const one of [join(place, 'leaf'), place]) rmdirSync(one)
  })
  return places.map(place => join(place, 'leaf/cgroup.procs'))
}

const CASES: Readonly<Record<string, (t: Test) => Promise<void>>> = {
  'without a cgroup': withoutCgroup,
  'with subordinate ids': withoutCgroup,
  'in cgroups of its own': inCgroups,
}

if (process.geteuid?.() === NOBODY) {
  const name = process.env.CAISSON_CASE ?? ''
  t.test(name, t => CASES[name]?.(t))
} else {
  for (const name of Object.keys(CASES)) {
    t.test(`an ordinary user ${name}`, { skip: needsRoot }, async t => {
      const home = directory(t)
      chownSync(home, NOBODY, NOBODY)
      const joined = name === 'in cgroups of its own' ? giveCgroups(t) : []
      const ids = join(home, 'subuid')
      writeFileSync(ids, 'nobody:700000:65536\n')
      // Its own mount namespace: the host's files stay as they are.
      const grant =
        name === 'with subordinate ids' ? `for f in subuid subgid; do mount --bind ${ids} /etc/$f; done;` : ''
      const script = `${joined.map(file => `echo $$ >${file};`).join(' ')} ${grant} exec "$@"`
      const self = [process.execPath, ...process.execArgv, fileURLToPath(import.meta.url)]
      const user = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--', ...self]
      const env = { ...process.env, HOME: home, XDG_RUNTIME_DIR: home, CAISSON_CASE: name }
      await t.spawn('unshare', ['-m', 'sh', '-ec', script, 'sh', ...user], { env }, name)
      t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), home)
    })
  }
}
