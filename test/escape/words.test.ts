// The escape corpus, E, and some of B, J, N, O and P: terminals, logs, paths and values that mean more than they seem to.
import { execFileSync, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type AttachOptions, Container } from '../../lib/index.ts'
import { errorOf, look, makeContainer, startContainer, tagOf } from '../support/container.ts'
import { elsewhere } from '../support/elsewhere.ts'
import { leavesNoTrace, needsRoot } from '../support/host.ts'
import { probe } from '../support/probe.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot
const sh = async (container: Container, script: string, options: AttachOptions = {}): Promise<string> =>
  (await container.attach(['sh', '-c', script], { reject: false, ...options })).stdout

const onX64 = skip || (process.arch === 'x64' ? false : 'numbers of calls are those of x86-64')

t.test('E-E1 nothing inside types into the caller’s terminal', { skip: onX64 }, async t => {
  const [lxcpath, root] = [directory(t), rootfs(t)]
  const [IOCTL, TIOCSTI] = ['16', '0x5412']
  const typed = (said: string) => said.split('\n').some(line => line.startsWith('typed:X'))
  const read = `read -t 1 -n 1 x </dev/tty; echo; echo "typed:$x"`
  // A terminal of its own for the whole, which script(1) makes; the program inside has it as its standard input.
  const under = (command: readonly string[]) =>
    spawnSync(
      'script',
      ['-qec', `${command.map(word => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')}; ${read}`, '/dev/null'],
      {
        encoding: 'utf8',
        env: { PATH: process.env.PATH, SHELL: '/bin/bash', TERM: 'xterm' },
      },
    ).stdout
  const inside = elsewhere(
    `const container = await caisson.Container.create('c', ${JSON.stringify({ path: lxcpath, rootfs: root })})
     await container.start()
     for (const fd of ['0', '1', '2']) for (const request of ['${TIOCSTI}', '0x100005412'])
       await container.attach(['/probe', 'syscall', '${IOCTL}', fd, request, 'X'], { stdio: 'inherit', reject: false })
     await container.destroy({ force: true })
     process.exit()`,
  )
  const said = under(inside)
  t.match(said, /"error":"EPERM"/, 'the calls were made')
  t.notOk(typed(said), 'and typed nothing')
  t.ok(typed(under([probe, 'syscall', IOCTL, '0', TIOCSTI, 'X'])), 'control: a program of the host types')
})

t.test('E-E4 the ptys of the host are not there', { skip }, async t => {
  const held = [openSync('/dev/ptmx', 'r+'), openSync('/dev/ptmx', 'r+')]
  t.teardown(() => held.forEach(closeSync))
  const host = readdirSync('/dev/pts').filter(name => name !== 'ptmx')
  const { container } = await startContainer(t)
  const inside = (await sh(container, 'ls /dev/pts')).trim().split('\n')
  t.strictSame(
    inside.filter(name => !['0', 'ptmx'].includes(name)),
    [],
    'its console and the way to more',
  )
  t.ok(host.length >= 2, 'control: the host has others')
  const own = await sh(container, 'stat -c %d /dev/pts')
  t.not(own.trim(), execFileSync('stat', ['-c', '%d', '/dev/pts'], { encoding: 'utf8' }).trim(), 'another instance')
  t.equal(await sh(container, 'readlink /dev/ptmx; tty', { tty: true }).then(text => /pts\/\d+/.test(text)), true)
})

t.test('E-E5 control characters of a container’s words are shown, and not sent on', { skip }, async t => {
  const lxcpath = directory(t)
  const log = join(lxcpath, 'log')
  const hook = join(lxcpath, 'hook')
  const words = 'before\u001b[31m\u009b2J\u202eafter\rhidden'
  writeFileSync(hook, `#!/bin/sh\nprintf '%s\\n' '${words}' 'caisson c 0 ERROR forged' >&2; exit 3\n`, { mode: 0o755 })
  const { container } = await makeContainer(t, { config: `lxc.log.file = ${log}\nlxc.log.level = TRACE\n` })
  await container.start()
  const failed = (await errorOf(container.attach(['sh', '-c', 'cat >&2; exit 3'], { input: words }))) as Error & {
    cause?: { stderr?: string }
  }
  t.match(failed.message, 'before\\u{1b}[31m\\u{9b}2J\\u{202e}after\\u{d}hidden')
  t.match(failed.cause?.stderr, words, 'control: they are there, for who asks for the bytes')
  t.match((await errorOf(container.attach(['/\u001b[31m']))).message, /\\u\{1b\}/, 'the name of a program')
  await container.stop({ force: true })
  container.config.set('lxc.hook.pre-start', [hook])
  await errorOf(container.start())
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n')
  t.ok(
    lines.some(line => line.includes('forged')),
    'control: the log tells of it',
  )
  t.ok(
    lines.every(line => /^caisson c \d{14}\.\d{3} /.test(line)),
    'one event is one line',
  )
  t.notMatch(lines.join(''), /\p{Cc}/u, 'without control characters')
})

t.test('E-E6 a link at the place of a log leads nowhere', { skip }, async t => {
  for (const key of ['lxc.console.logfile', 'lxc.log.file'] as const) {
    const place = directory(t)
    const victim = join(place, 'victim')
    writeFileSync(victim, 'canary')
    symlinkSync(victim, join(place, 'log'))
    const { container } = await makeContainer(t, { config: `${key} = ${join(place, 'log')}\nlxc.log.level = TRACE\n` })
    const failure = await container.start().then(
      () => undefined,
      (error: Error & { code?: string }) => error,
    )
    t.match(failure?.code ?? 'started', /^(started|E[A-Z_]+)$/, `${key}: ${failure?.message ?? 'started without it'}`)
    if (failure === undefined) await container.stop({ force: true })
    t.equal(readFileSync(victim, 'utf8'), 'canary', key)
    const honest = join(place, 'honest')
    container.config.clear(key).set(key, honest)
    await container.start()
    t.ok(await until(() => existsSync(honest) && readFileSync(honest, 'utf8'), 'words'), 'control: a file is written')
    await container.stop({ force: true })
  }
})

t.test('E-E7 a slow reader of a terminal gets every byte', { skip }, async t => {
  const { container } = await startContainer(t)
  const SIZE = 4_000_000
  const running = container.attach(['/probe', 'write-stdout', String(SIZE)], { tty: true, maxBuffer: 2 * SIZE })
  await once(running, 'spawn')
  const { terminal } = running
  let [count, wrong, pauses] = [0, 0, 0]
  terminal?.on('data', (chunk: Buffer) => {
    for (const byte of chunk) if (byte !== 97 + (count++ % 26)) wrong++
    if (count / 40_000 < pauses) return
    pauses++
    terminal.pause()
    setTimeout(() => terminal.resume(), 5)
  })
  await running
  t.strictSame([count, wrong], [SIZE, 0])
  t.ok(pauses > 50, 'control: it did make it wait')
})

t.test('E-B18 separators in the paths of layers are no options', { skip }, async t => {
  const colon = join(directory(t), 'a:b')
  mkdirSync(colon)
  const first = await Container.create('base', { path: colon, template: 'busybox' })
  t.teardown(() => first.destroy({ force: true }))
  t.match(await errorOf(first.clone('clone', { snapshot: true })), { code: 'ERR_INVALID_OPTION' }, 'a colon is refused')
  const odd = join(directory(t), 'a,b\\d,upperdir=e')
  mkdirSync(odd)
  const canary = randomUUID()
  const base = await Container.create('base', { path: odd, template: 'busybox' })
  t.teardown(() => base.destroy({ force: true, snapshots: true }))
  writeFileSync(join(odd, 'base/rootfs/canary'), canary)
  const clone = await base.clone('clone', { snapshot: true })
  t.teardown(() => clone.destroy({ force: true }))
  t.match(clone.config.get('lxc.rootfs.path'), /^overlay/, 'it stands on the other’s layers')
  await clone.start()
  t.equal(await sh(clone, 'cat /canary; echo changed > /canary; cat /canary'), `${canary}changed\n`)
  await clone.stop({ force: true })
  t.equal(readFileSync(join(odd, 'base/rootfs/canary'), 'utf8'), canary, 'the lower layer is as it was')
  t.notOk(existsSync('e') || existsSync(join(odd, 'e')), 'and no other upper one was made')
})

t.test('E-J11 with no_new_privs off the filter holds all the same', { skip: onX64 }, async t => {
  const KEXEC_LOAD = '246'
  for (const value of [0, 1]) {
    const { container } = await startContainer(t, { config: `lxc.no_new_privs = ${value}\n` })
    const { status } = await look(container, { user: 1000 })
    t.match(status, { NoNewPrivs: String(value), Seccomp: '2' }, `no_new_privs ${value}`)
    t.match(JSON.parse((await container.attach(['/probe', 'syscall', '250', '0', '-3', '0'])).stdout), {
      error: 'EPERM',
    })
    t.match(JSON.parse((await container.attach(['/probe', 'syscall', KEXEC_LOAD])).stdout), { result: -1 })
  }
  const { container: control } = await startContainer(t, { seccomp: false })
  t.match(await look(control), { status: { Seccomp: '0' } }, 'control: without a filter there is none')
})

t.test('E-N5 a run directory that somebody else has made is refused', { skip }, async t => {
  const uid = 61_235
  const theirs = `/tmp/caisson-${uid}`
  mkdirSync(theirs, { mode: 0o777 })
  t.teardown(() => execFileSync('rm', ['-r', theirs]))
  const home = directory(t)
  execFileSync('chown', [String(uid), home])
  const code = `
    const container = await caisson.Container.create('c', { path: '${home}/lxc', rootfs: '${rootfs(t)}' })
    const failure = await container.start().then(() => undefined, error => error)
    if (failure === undefined) await container.destroy({ force: true })
    console.log(failure === undefined ? 'started' : failure.code + ' ' + failure.message)
    process.exit()`
  const asUser = () =>
    execFileSync(
      'setpriv',
      [
        `--reuid=${uid}`,
        `--regid=${uid}`,
        '--clear-groups',
        'env',
        '-i',
        `HOME=${home}`,
        'PATH=/usr/bin:/bin',
        ...elsewhere(code),
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' },
    )
  t.match(asUser(), /EPERM .*not a directory of this user/)
  t.strictSame(readdirSync(theirs), [], 'nothing was put there')
  execFileSync('chown', [String(uid), theirs])
  execFileSync('rm', ['-r', `${home}/lxc`])
  await leavesNoTrace(
    t,
    async () => void t.match(asUser(), /^started$/m, 'control: one of its own is taken'),
    tagOf(`${home}/lxc`),
  )
})

t.test('E-P5 odd values are read once, and checked', { skip }, async t => {
  const { container } = await startContainer(t)
  let reads = 0
  const sly = {
    get user() {
      return ++reads === 1 ? 1000 : 0
    },
  }
  t.equal(
    (await container.attach(['id', '-u'], sly as AttachOptions)).stdout,
    '1000\n',
    'what was checked is what is used',
  )
  for (const word of ['a\0b', 'x'.repeat(200_000)])
    t.match(
      await errorOf(Promise.resolve().then(() => container.attach(['echo', word]))),
      { code: /^E/ },
      JSON.stringify(word.slice(0, 9)),
    )
  t.equal((await container.attach(['echo', '\ud800'])).stdout, '\ufffd\n', 'half of a character is none')
  const trap = new Proxy(['echo', 'honest'], { get: (words, key) => Reflect.get(words, key) })
  t.equal((await container.attach(trap)).stdout, 'honest\n', 'control: an honest proxy is a list of words')
})

t.test('E-O4 a thousand mounts and a deep tree do not keep it from being destroyed', { skip }, async t => {
  const { container, lxcpath } = await startContainer(t)
  const made = await sh(
    container,
    'i=0; while [ $i -lt 1000 ]; do mkdir -p /tmp/m/$i && mount -t tmpfs none /tmp/m/$i && i=$((i+1)) || break; done; echo $i; cd /root; i=0; while [ $i -lt 1200 ]; do mkdir d && cd -P d || break; i=$((i+1)); done; echo $i',
  )
  t.match(made, /^1000\n\d{3,}/, 'control: they were made')
  await container.destroy({ force: true })
  t.notOk(existsSync(join(lxcpath, 'c')))
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), lxcpath)
})
