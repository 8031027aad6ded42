// Keys whose effect is seen on the host's side: logs, consoles, who answers system calls, keyrings, and what this host refuses.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Container } from '../../lib/index.ts'
import { host } from '../support/cgroup.ts'
import { errorOf, makeContainer, startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { monitorOf, project, serve } from '../support/life.ts'
import { probe } from '../support/probe.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot

/** The lines of a log without their times and numbers. */
const linesOf = (file: string): string[] =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => line.replace(/ \d{14}\.\d{3} /, ' TIME ').replace(/\d+(\.\d+)?/g, 'N'))

t.test('lxc.log.level and lxc.log.file', { skip }, async t => {
  const at = directory(t)
  const file = join(at, 'log')
  const { container, lxcpath } = await makeContainer(t, { config: `lxc.log.file = ${file}\nlxc.log.level = INFO\n` })
  const { config } = container
  const lived = async () => {
    await container.start()
    await container.stop({ force: true })
  }
  await lived()
  t.strictSame(linesOf(file), [
    'caisson c TIME INFO     state - STARTING',
    'caisson c TIME NOTICE   state - RUNNING, init is process N',
    'caisson c TIME INFO     state - STOPPING',
    'caisson c TIME NOTICE   state - STOPPED, init was killed by signal N',
  ])
  t.equal(statSync(file).mode & 0o777, 0o600, 'for nobody else')

  rmSync(file)
  config.set('lxc.log.level', 'TRACE')
  t.strictSame(await container.start(), [], 'what is logged is not asked for')
  await container.freeze()
  await container.unfreeze()
  await container.stop({ force: true })
  const traced = linesOf(file)
  for (const [step, side] of [
    ['init.clone', 'outside'],
    ['rootfs.pivot', 'inside'],
    ['caps.set', 'inside'],
  ])
    t.ok(traced.includes(`caisson c TIME TRACE    ${step} - ${side}, N ms`), `${step} is there`)
  for (const state of ['FREEZING', 'FROZEN', 'THAWED'])
    t.ok(traced.includes(`caisson c TIME INFO     state - ${state}`))

  rmSync(file)
  config.clear('lxc.log.level')
  await lived()
  t.equal(readFileSync(file, 'utf8'), '', 'without a level only errors are written')
  config.set('lxc.hook.pre-start', '/bin/false')
  await errorOf(container.start())
  config.clear('lxc.hook.pre-start').set('lxc.mount.fstab', '/nothing')
  await errorOf(container.start())
  t.match(linesOf(file), [
    /^caisson c TIME ERROR {4}hook\.pre-start - \/bin\/false: ERR_TOOL_FAILED: exit code N$/,
    /^caisson c TIME ERROR {4}start - Cannot read the fstab \/nothing: ENOENT/,
  ])
  config.clear('lxc.mount.fstab').set('lxc.cap.keep', 'chown').set('lxc.cap.drop', 'kill')
  t.match(await errorOf(container.start()), { code: 'ERR_CONFIG_CONFLICT' })
  t.match(
    linesOf(file).at(-1),
    /^caisson c TIME ERROR {4}start - Cannot choose capabilities: /,
    'and before the monitor',
  )
  config.clear('lxc.cap.keep')

  rmSync(file)
  const victim = join(at, 'victim')
  writeFileSync(victim, 'as it was')
  symlinkSync(victim, file)
  t.match(await errorOf(container.start()), { code: 'ELOOP', step: 'log.open', path: file }, 'never through a link')
  t.equal(readFileSync(victim, 'utf8'), 'as it was')
  rmSync(file)
  execFileSync('mkfifo', [file])
  t.match(await errorOf(container.start()), { step: 'log.open' }, 'nor into what is no file')
  rmSync(file)

  config.clear('lxc.log.file').set('lxc.log.level', 'DEBUG')
  await lived()
  t.equal(linesOf(join(lxcpath, 'c/c.log')).length, 4, 'a level alone: beside the config, as in LXC')
})

t.test('lxc.log.syslog', { skip }, async t => {
  const at = directory(t)
  const own = join(at, 'log')
  // Where a syslogd listens, its socket is covered for this one start; where none does, the place is free.
  const covered = existsSync('/dev/log')
  const { lines } = await serve(t, 'hear-datagrams', covered ? own : '/dev/log')
  t.teardown(() => covered || rmSync('/dev/log'))
  const { container, lxcpath } = await makeContainer(t, {
    config: 'lxc.log.syslog = local3\nlxc.log.level = NOTICE\n',
  })
  const cover = covered ? `mount --bind ${own} ${realpathSync('/dev/log')} && ` : ''
  const start = `${cover}exec "$0" dist/bin/lxc-start.js -P ${lxcpath} c`
  execFileSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', start, process.execPath], {
    cwd: project,
  })
  await container.stop({ force: true })
  await until(() => lines.length === 2, 'both lines come')
  const facility = 19 * 8
  t.match(lines, [
    new RegExp(`^<${facility + 5}>caisson\\[\\d+\\]: c NOTICE {3}state - RUNNING, init is process \\d+$`),
    new RegExp(`^<${facility + 5}>caisson\\[\\d+\\]: c NOTICE {3}state - STOPPED`),
  ])
  t.notOk(existsSync(join(lxcpath, 'c/c.log')), 'and no file')
})

t.test('lxc.console.path', { skip }, async t => {
  // A terminal of the host, of script(1), which prints what is written to it.
  const script = spawn('script', ['-qfc', 'tty; exec sleep 1000', '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(async () => {
    const end = once(script, 'exit')
    script.kill('SIGKILL')
    await end
  })
  let shown = ''
  script.stdout.on('data', chunk => {
    shown += chunk
  })
  await until(() => /\/dev\/pts\/\d+/.test(shown), 'the terminal has a name')
  const tty = /\/dev\/pts\/\d+/.exec(shown)?.[0] as string
  const { container } = await startContainer(t, { config: `lxc.console.path = ${tty}\n` })
  await until(() => shown.includes('init'), 'init writes on it')
  const inside = await container.attach(['stat', '-c', '%t:%T', '/dev/console'])
  t.equal(inside.stdout, execFileSync('stat', ['-c', '%t:%T', tty], { encoding: 'utf8' }), 'it is /dev/console')
  await container.stop({ force: true })
  container.config.set('lxc.console.path', 'none')
  await container.start()
  t.equal((await container.attach(['test', '-e', '/dev/console'], { reject: false })).exitCode, 1, 'none: no console')
})

t.test('lxc.seccomp.notify.proxy and lxc.seccomp.notify.cookie', { skip }, async t => {
  const GETPPID = 110
  const at = directory(t)
  const policy = join(at, 'policy')
  writeFileSync(policy, '2\ndenylist\n[all]\ngetppid notify\n')
  const call = async (container: Container) =>
    JSON.parse((await container.attach(['/probe', 'syscall', `${GETPPID}`])).stdout) as {
      result: number
      error: string
    }
  const lines = (address: string) => `lxc.seccomp.profile = ${policy}\nlxc.seccomp.notify.proxy = unix:${address}\n`

  const { lines: seen } = await serve(t, 'answer-calls', join(at, 'socket'), '4711')
  const { container } = await startContainer(t, {
    config: `${lines(join(at, 'socket'))}lxc.seccomp.notify.cookie = who=web 1\n`,
  })
  t.match(await call(container), { result: 4711 }, 'the proxy’s answer is the call’s')
  const { pid, init, monitor, ...told } = JSON.parse(seen[0] as string)
  t.match(told, {
    nr: GETPPID,
    sameId: 1,
    cookieLength: 9,
    cookie: 'who=web 1',
    descriptors: [`/proc/${pid}`, `/proc/${pid}/mem`, 'anon_inode:seccomp notify'],
  })
  t.strictSame([init, monitor], [await container.initPid(), await monitorOf(container)])
  t.match(await Promise.all([call(container), call(container)]), [{ result: 4711 }, { result: 4711 }], 'two at once')
  const errors: Error[] = []
  using _handler = container.onSyscall(() => ({ errno: 'EPERM' }), {
    onError: error => void errors.push(error as Error),
  })
  await until(() => errors.length > 0, 'a handler is refused')
  t.match(errors[0], /go to lxc.seccomp.notify.proxy/)
  await container.stop({ force: true })

  const answers: [wanted: string, answer: object][] = [
    ['-13', { result: -1, error: 'EACCES' }],
    ['continue', { error: null }],
    ['gone', { result: -1, error: 'ENOSYS' }],
  ]
  for (const [index, [wanted, answer]] of answers.entries()) {
    const address = `@caisson-test-${process.pid}-${index}`
    const { server } = await serve(t, 'answer-calls', address, wanted)
    container.config.clear('lxc.seccomp.notify.cookie').set('lxc.seccomp.notify.proxy', `unix:${address}`)
    await container.start()
    t.match(await call(container), answer, `${wanted}, by an abstract socket`)
    if (wanted === 'gone') t.match(await call(container), answer, 'a connection that was lost is made anew')
    const end = once(server, 'exit')
    server.kill('SIGKILL')
    await end
    t.match(await call(container), { result: -1, error: 'ENOSYS' }, 'nobody answers')
    const again = await serve(t, 'answer-calls', address, '12')
    t.match(await call(container), { result: 12 }, 'somebody does again')
    again.server.kill('SIGKILL')
    await container.stop({ force: true })
  }
  container.config.set('lxc.seccomp.notify.proxy', `unix:${at}/nobody`)
  t.match(
    await errorOf(container.start()),
    { code: 'ENOENT', step: 'seccomp.proxy' },
    'without its proxy it does not start',
  )
})

t.test('lxc.keyring.session', { skip }, async t => {
  const own = JSON.parse(execFileSync(probe, ['report'], { encoding: 'utf8' })).keyring as number
  t.not(own, -1, 'this process has a session keyring')
  for (const value of [0, 1]) {
    const root = rootfs(t)
    rmSync(join(root, 'sbin/init'))
    writeFileSync(
      join(root, 'sbin/init'),
      '#!/bin/sh\n/probe report > /tmp/new\nmv /tmp/new /tmp/report\nexec /probe init\n',
      {
        mode: 0o755,
      },
    )
    // The default filter forbids the question.
    const config = `caisson.seccomp = none\nlxc.keyring.session = ${value}\n`
    await startContainer(t, { rootfs: root, idmap: false, config })
    await until(() => existsSync(join(root, 'tmp/report')), 'it reports')
    const { keyring } = JSON.parse(readFileSync(join(root, 'tmp/report'), 'utf8')) as { keyring: number }
    t.equal(keyring === own, value === 0, value === 0 ? 'the caller’s' : 'one of its own')
    t.not(keyring, -1)
  }
})

t.test('lxc.seccomp.allow_nesting', { skip }, async t => {
  const { container, lxcpath } = await makeContainer(t)
  const filters = async () => {
    const status = readFileSync(`/proc/${await container.initPid()}/status`, 'utf8')
    return Number(/^Seccomp_filters:\t(\d+)$/m.exec(status)?.[1])
  }
  await container.start()
  const plain = await filters()
  await container.stop({ force: true })
  for (const value of [1, 0]) {
    container.config.set('lxc.seccomp.allow_nesting', value === 1)
    await container.config.save()
    execFileSync(probe, ['filtered', process.execPath, 'dist/bin/lxc-start.js', '-P', lxcpath, 'c'], { cwd: project })
    t.equal(await filters(), plain + 1, `${value}: its filter stands beside the starter’s`)
    await container.stop({ force: true })
  }
})

t.test('lxc.sched.core', { skip }, async t => {
  const { container } = await makeContainer(t, { config: 'lxc.sched.core = 1\n' })
  const error = await container.start().then(
    () => undefined,
    (error: Error) => error,
  )
  if (error !== undefined) {
    const why = /simultaneous multithreading|no core scheduling/
    t.match(error, { code: 'ERR_FEATURE_MISSING', step: 'core.schedule', message: why }, 'refused, never ignored')
    return
  }
  const cookie = async (command: readonly string[]) => (await container.attach(command)).stdout
  t.not(await cookie(['/probe', 'core']), '0\n', 'what runs inside has a cookie')
  t.equal(execFileSync(probe, ['core'], { encoding: 'utf8' }), '0\n', 'this process has none')
})

t.test('lxc.selinux.context and lxc.selinux.context.keyring', { skip }, async t => {
  for (const key of ['lxc.selinux.context', 'lxc.selinux.context.keyring'] as const) {
    const { container } = await makeContainer(t)
    container.config.set(key, 'system_u:system_r:lxc_t:s0:c22')
    if (existsSync('/sys/fs/selinux/enforce')) {
      t.match(await errorOf(container.start()), { step: /^lsm\./ }, `${key}: the kernel is asked`)
    } else
      t.match(
        await errorOf(container.start()),
        { code: 'ERR_FEATURE_MISSING', message: /SELinux/ },
        `${key} is refused`,
      )
  }
})

t.test('lxc.cgroup.relative', { skip: skip || (host.layout === 'none' && 'no cgroups here') }, async t => {
  // A cgroup of this test's own in each hierarchy that has them, below which the starter is put.
  const places = host.hierarchies.map(({ mount, own }) => join(mount, own ?? '', `caisson-relative-${process.pid}`))
  const made = places.filter(place => {
    try {
      mkdirSync(place)
      return true
    } catch {
      return false
    }
  })
  const { container, lxcpath } = await makeContainer(t)
  t.teardown(async () => {
    await until(() => made.every(isGone), 'the cgroups can be removed')
  })
  const start = `for place; do echo 0 > "$place/cgroup.procs"; done; exec ${process.execPath} dist/bin/lxc-start.js -P ${lxcpath} c`
  for (const relative of [true, false]) {
    container.config.set('lxc.cgroup.relative', relative)
    await container.config.save()
    execFileSync('sh', ['-ec', start, 'sh', ...made.filter(filled)], { cwd: project })
    const lines = readFileSync(`/proc/${await container.initPid()}/cgroup`, 'utf8')
    t.equal(lines.includes(`caisson-relative-${process.pid}/`), relative, relative ? 'below its starter' : 'at the top')
    await container.stop({ force: true })
  }
})

/** A cpuset of v1 takes no process before it has processors and memory. */
function filled(place: string): boolean {
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    if (!existsSync(join(place, '..', 'cgroup.procs')) || !existsSync(join(place, file))) continue
    const above = readFileSync(join(place, '..', file), 'utf8')
    if (readFileSync(join(place, file), 'utf8').trim() === '' && above.trim() !== '')
      writeFileSync(join(place, file), above)
  }
  return true
}

function isGone(place: string): boolean {
  try {
    rmdirSync(place)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}
