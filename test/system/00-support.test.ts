// What the other system tests stand on: the probe says what is true, and the host's snapshot sees what is left behind.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, rmdirSync, rmSync } from 'node:fs'
import t from 'tap'
import { differences, needsRoot, snapshot } from '../support/host.ts'
import { parseReport, probe } from '../support/probe.ts'
import { rootfs } from '../support/rootfs.ts'

t.test('the probe reports this process as the kernel sees it', async t => {
  const report = parseReport(
    execFileSync(probe, ['report', 'ä "quoted"'], { encoding: 'utf8', cwd: '/', env: { A: 'b=c', NEWLINE: '\n' } }),
  )
  t.equal(Buffer.from(report.argv[2] ?? '', 'latin1').toString(), 'ä "quoted"')
  t.equal(report.ppid, process.pid)
  t.match(report.env, { A: 'b=c', NEWLINE: '\n' })
  t.equal(report.cwd, '/')
  t.equal(report.uid[1], process.geteuid?.())
  t.match(report.status, { CapEff: /^[0-9a-f]{16}$/, NoNewPrivs: '0', Seccomp: /^\d$/ })
  t.match(report.namespaces, { mnt: /^mnt:\[\d+\]$/, user: /^user:\[\d+\]$/ })
  t.ok(report.mounts.some(mount => mount.point === '/' && mount.type !== ''))
  t.match(report.fds, { 0: /./, 1: /./, 2: /./ })
})

t.test("the probe's commands", async t => {
  const say = (...args: string[]) => spawnSync(probe, args, { encoding: 'utf8', timeout: 10_000 })
  t.equal(say('exit', '7').status, 7)
  t.equal(say('signal', '10').signal, 'SIGUSR1')
  t.equal(say('write-stdout', '30').stdout, 'abcdefghijklmnopqrstuvwxyzabcd')
  t.match(JSON.parse(say('open', '/nonexistent', 'r').stdout), { result: -1, error: 'ENOENT' })
  t.match(JSON.parse(say('fork-bomb', '5').stdout), { made: 5, error: null })
  t.match(JSON.parse(say('eat-memory', '1048576').stdout), { result: 1048576 })
  t.equal(JSON.parse(say('syscall', '102').stdout).result, process.getuid?.(), 'getuid is number 102 on x86-64')
  t.equal(say('no-such-command').status, 2)
})

t.test('as pid 1 it stops when asked to', { skip: needsRoot }, async t => {
  const started = spawn('unshare', ['--pid', '--fork', '--kill-child', probe, 'init', '5'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise(resolve => started.stdout.once('data', resolve))
  execFileSync('sh', ['-c', `kill -PWR $(cat /proc/${started.pid}/task/${started.pid}/children)`])
  t.equal(await new Promise(resolve => started.once('exit', resolve)), 5)
})

t.test('the root file system runs by itself', { skip: needsRoot }, async t => {
  const root = rootfs(t)
  t.equal(spawnSync('chroot', [root, '/bin/sh', '-c', 'echo $((6 * 7))'], { encoding: 'utf8' }).stdout, '42\n')
  t.match(JSON.parse(spawnSync('chroot', [root, '/probe'], { encoding: 'utf8' }).stdout), { cwd: '/', mounts: [] })
})

t.test("the host's snapshot sees what is left behind", { skip: needsRoot }, async t => {
  const before = snapshot()
  t.strictSame(differences(before, snapshot()), [])
  const unified = existsSync('/sys/fs/cgroup/unified') ? '/sys/fs/cgroup/unified' : '/sys/fs/cgroup'
  const cgroup = `${unified}/caisson.snapshot-${process.pid}`
  const run = `/run/caisson/snapshot-${process.pid}`
  mkdirSync(cgroup)
  mkdirSync(run, { recursive: true })
  const opened = openSync('/dev/zero', 'r')
  const child = spawn(probe, ['sleep'], { stdio: 'ignore' })
  const seen = differences(before, snapshot()).join('\n')
  child.kill('SIGKILL')
  closeSync(opened)
  rmSync(run, { recursive: true })
  rmdirSync(cgroup)
  t.match(seen, `+ cgroups: ${cgroup}`)
  t.match(seen, `+ run: ${run}`)
  t.match(seen, /\+ descriptors: \d+ \/dev\/zero/)
  t.match(seen, `+ processes: ${child.pid} probe`)
})

t.test('what belongs to another lxcpath is left out', { skip: needsRoot }, async t => {
  for (const root of ['/run/caisson', '/tmp/caisson-61239']) {
    const run = `${root}/0badcafe/elsewhere`
    mkdirSync(run, { recursive: true })
    const seen = [snapshot('0badcafe'), snapshot('12345678')].map(host => host.run?.includes(run))
    rmSync(root === '/run/caisson' ? `${root}/0badcafe` : root, { recursive: true })
    t.strictSame(seen, [true, false], root)
  }
})

t.test('a difference says what came and what went', async t => {
  t.strictSame(differences({ links: ['lo', 'veth0'] }, { links: ['lo', 'veth1'] }), [
    '+ links: veth1',
    '- links: veth0',
  ])
})
