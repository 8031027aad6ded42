// The escape corpus, D, F, K and O: who is who, and who reaches whom. Two containers, other users of the host, and its own processes.
import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { Container } from '../../lib/index.ts'
import { errorOf, look, makeContainer, startContainer, tagOf } from '../support/container.ts'
import { runElsewhere } from '../support/elsewhere.ts'
import { needsRoot } from '../support/host.ts'
import { probe } from '../support/probe.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot
const onX64 = skip || (process.arch === 'x64' ? false : 'numbers of calls are those of x86-64')
const NOBODY = 65534

const sh = async (container: Container, script: string, options = {}): Promise<string> =>
  (await container.attach(['sh', '-c', script], { reject: false, ...options })).stdout
const call = async (container: Container, ...words: (string | number)[]) =>
  JSON.parse((await container.attach(['/probe', 'syscall', ...words.map(String)])).stdout) as {
    result: number
    error: string | null
  }
/** As nobody on the host: what a command prints, both ways, and its status. */
function asNobody(...command: readonly string[]): string {
  const script = '"$@" 2>&1; echo "status $?"'
  return execFileSync(
    'setpriv',
    [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', 'sh', '-c', script, 'sh', ...command],
    { encoding: 'utf8', cwd: '/' },
  )
}

t.test('E-D4 ids that the image’s passwd makes up are nobody', { skip }, async t => {
  const { container, rootfs: root } = await makeContainer(t)
  const lines = [
    'root:x:0:0:root:/root:/bin/sh',
    '4294967296:x:0:0::/:/bin/sh',
    '-1:x:0:0::/:/bin/sh',
    'wrapped:x:4294967296:0::/:/bin/sh',
    'negative:x:-1:0::/:/bin/sh',
    'empty:x::0::/:/bin/sh',
    'good:x:7:8::/:/bin/sh',
  ]
  writeFileSync(join(root, 'etc/passwd'), `${lines.join('\n')}\n`)
  await container.start()
  for (const user of ['4294967296', '-1', 'wrapped', 'negative', 'empty', '7\n0'])
    t.match(await errorOf(container.attach(['id', '-u'], { user })), { code: /^E/ }, JSON.stringify(user))
  t.equal((await container.attach(['id', '-u'], { user: 'good' })).stdout, '7\n', 'control: an honest line is read')
})

t.test('E-D5 a file that excludes a group excludes its members', { skip }, async t => {
  const { container } = await startContainer(t)
  await sh(container, 'echo secret > /tmp/file; chown 0:29 /tmp/file; chmod 604 /tmp/file')
  const read = (options: object) => sh(container, 'cat /tmp/file', { user: 1000, ...options })
  t.equal(await read({ groups: [29] }), '', 'a member')
  t.equal(await read({ group: 29 }), '', 'who has it as his own')
  t.equal(await read({ groups: [] }), 'secret\n', 'control: who is no member')
  t.strictSame((await look(container, { user: 1000, groups: [29, 44] })).groups.toSorted(), [29, 44], 'and no others')
})

t.test('E-D8 what forged files say of a container is not believed', { skip }, async t => {
  const victim = spawn('sleep', ['1000'])
  t.teardown(() => victim.kill('SIGKILL'))
  const { container, lxcpath } = await startContainer(t)
  const runDir = `/run/caisson/${tagOf(lxcpath)}/c`
  t.equal(await container.state(), 'RUNNING', 'control: it is asked, and answers')
  t.match(statSync(runDir), { uid: 0, mode: 0o40700 }, 'only root could forge anything')
  t.match(asNobody('ls', runDir), /denied/)
  await container.stop({ force: true })
  for (const name of ['pid', 'init.pid', 'state', 'init']) {
    if (existsSync(runDir)) writeFileSync(join(runDir, name), `${victim.pid}\n`)
    writeFileSync(join(lxcpath, 'c', name), `${victim.pid}\nRUNNING\n`)
  }
  const again = await Container.open('c', { path: lxcpath })
  t.equal(await again.state(), 'STOPPED')
  t.equal(await again.initPid(), null)
  t.match(await errorOf(again.attach(['id'])), { code: 'ERR_CONTAINER_NOT_RUNNING' })
  t.match(await errorOf(again.stop({ force: true })), { code: 'ERR_CONTAINER_NOT_RUNNING' })
  t.equal(victim.exitCode ?? victim.signalCode, null, 'who was named lives')
})

t.test('E-D9 who gets the pid of an ended init is not hit', { skip: onX64 }, async t => {
  const { container, lxcpath } = await startContainer(t)
  const init = (await container.initPid()) as number
  const monitor = Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1])
  const attached = container.attach(['/probe', 'sleep'], { reject: false })
  await until(() => attached.pid, 'it runs')
  process.kill(monitor, 'SIGKILL')
  await until(() => !existsSync(`/proc/${init}`), 'init ends with it')
  // clone3(2) with a pid of one's choice: `struct clone_args` has it in an array.
  const program = `import ctypes, os, struct, sys
pid = ctypes.c_int(int(sys.argv[1]))
args = struct.pack('11Q', 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(pid), 1, 0)
got = ctypes.CDLL(None).syscall(435, args, len(args))
if got == 0: os.execv('/bin/sleep', ['sleep', '1000'])
print(got); sys.stdout.flush(); os.waitpid(got, 0)`
  const maker = spawn('python3', ['-c', program, String(init)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = (await once(maker.stdout, 'data')) as [Buffer]
  const stranger = Number(said.toString())
  t.teardown(() => stranger > 0 && existsSync(`/proc/${stranger}`) && process.kill(stranger, 'SIGKILL'))
  t.equal(stranger, init, 'control: somebody else has the pid now')
  t.equal(await container.state(), 'STOPPED')
  attached.kill('SIGKILL')
  t.match(await errorOf(container.stop({ force: true })), { code: 'ERR_CONTAINER_NOT_RUNNING' })
  t.match(await errorOf(container.attach(['id'])), { code: 'ERR_CONTAINER_NOT_RUNNING' })
  const again = await Container.open('c', { path: lxcpath })
  await again.destroy({ force: true })
  t.match(readFileSync(`/proc/${init}/status`, 'utf8'), /Name:\tsleep\nUmask:.*\nState:\tS/, 'he lives')
  await attached.then(
    () => undefined,
    () => undefined,
  )
})

t.test('E-F5 E-I14 two containers share no id, and neither reaches the other’s processes', { skip: onX64 }, async t => {
  const one = await startContainer(t)
  const { container: two } = await makeContainer(t)
  // A /proc of the other's processes cannot be mounted without the other's ids, so there is none.
  two.config.set('lxc.mount.auto', ['sys:ro']).set('lxc.namespace.share.pid', `${one.lxcpath}/c`)
  await two.start({ command: ['/probe', 'sleep'] })
  const ranges = await Promise.all(
    [one.container, two].map(async each =>
      readFileSync(`/proc/${await each.initPid()}/uid_map`, 'utf8')
        .trim()
        .split(/\s+/)
        .map(Number),
    ),
  )
  const [[, a = 0, size = 0], [, b = 0]] = ranges as [number[], number[]]
  t.ok(Math.abs(a - b) >= size, `disjoint: ${a} and ${b}`)
  const [PTRACE, PTRACE_ATTACH, KCMP, PIDFD_SEND_SIGNAL] = [101, 16, 312, 424]
  t.match(
    (await two.attach(['sh', '-c', 'kill -9 1'], { reject: false })).stderr,
    /not permitted/,
    'control: it is there; no signal',
  )
  t.match(await call(two, PTRACE, PTRACE_ATTACH, 1, 0, 0), { result: -1 }, 'no ptrace')
  t.match(await call(two, KCMP, 1, 1, 0, 0, 0), { result: -1 }, 'no kcmp')
  t.match(await call(two, PIDFD_SEND_SIGNAL, 0, 9, 0, 0), { result: -1 })
  t.equal(await one.container.state(), 'RUNNING')
  t.match(
    await call(one.container, PTRACE, PTRACE_ATTACH, 1, 0, 0),
    { result: 0 },
    'control: in its own container root may trace',
  )
})

t.test('E-F6 capabilities of a file mean something only where they were given', { skip }, async t => {
  const volume = directory(t)
  const file = join(volume, 'probe')
  copyFileSync(probe, file)
  const mounts = [{ source: volume, target: '/volume', create: 'dir' as const }]
  const one = await startContainer(t, { mounts })
  const two = await startContainer(t, { mounts })
  const root = (await look(one.container)).uidMap[0]?.[1] as number
  execFileSync('setcap', ['-n', String(root), 'cap_net_raw+ep', file])
  const effective = async (container: Container) =>
    (JSON.parse((await container.attach(['/volume/probe'], { user: 1000 })).stdout) as { status: { CapEff: string } })
      .status.CapEff
  t.equal(await effective(one.container), '0000000000002000', 'control: there it has it')
  t.equal(await effective(two.container), '0000000000000000', 'another container')
  t.match(asNobody(file), /"CapEff":"0000000000000000"/, 'the host')
})

t.test('E-F9 E-P1 a start from a worker of a busy program is the same start', { skip }, async t => {
  const library = new URL('../../dist/index.js', import.meta.url).href
  const [lxcpath, root] = [directory(t), rootfs(t)]
  const code = `
    import { Worker } from 'node:worker_threads'
    import { pbkdf2 } from 'node:crypto'
    let busy = true
    const burn = () => pbkdf2('a', 'b', 20000, 64, 'sha512', () => busy && burn())
    for (let each = 0; each < 4; each++) burn()
    const others = Array.from({ length: 2 }, () => new Worker('for (;;) Buffer.allocUnsafeSlow(1 << 16).fill(1)', { eval: true }))
    const worker = new Worker(\`import('${library}').then(async ({ Container }) => {
      const container = await Container.create('c', ${JSON.stringify({ path: lxcpath, rootfs: root })})
      const seen = []
      for (let each = 0; each < 2; each++) seen.push(JSON.parse((await container.execute(['/probe'])).stdout))
      await container.start()
      seen.push(JSON.parse((await container.attach(['/probe'])).stdout))
      await container.destroy({ force: true });
      (await import('node:worker_threads')).parentPort.postMessage(seen.map(({ uidMap, status }) => [uidMap.length, status.Seccomp, status.CapBnd]))
    })\`, { eval: true })
    worker.once('message', seen => { busy = false; for (const other of others) other.terminate(); console.log(JSON.stringify(seen)); worker.once('exit', () => process.exit()) })
    worker.once('error', error => { console.log(JSON.stringify(String(error))); process.exit(1) })`
  const seen = JSON.parse(runElsewhere(code)) as unknown[][]
  const { container } = await startContainer(t)
  const here = await look(container)
  t.strictSame(
    seen,
    Array.from({ length: 3 }, () => [1, '2', here.status.CapBnd]),
    'control: as one that is started here',
  )
})

t.test('E-K1 E-K2 the monitor’s socket is a path that only its own user passes', { skip }, async t => {
  const { container, lxcpath } = await startContainer(t, { config: 'lxc.namespace.keep = net\n' })
  const init = (await container.initPid()) as number
  const monitor = /^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1]
  const held = readdirSync(`/proc/${monitor}/fd`).flatMap(
    fd => /socket:\[(\d+)\]/.exec(readlinkSync(`/proc/${monitor}/fd/${fd}`))?.[1] ?? [],
  )
  const lines = (await sh(container, 'cat /proc/net/unix')).split('\n').map(line => line.split(/\s+/))
  const ours = lines.filter(words => held.includes(words[6] ?? ''))
  t.ok(
    ours.some(words => words[7] !== undefined),
    'control: in the host’s network it sees the name of one',
  )
  t.strictSame(
    ours.filter(words => words[7]?.startsWith('@')),
    [],
    'none is abstract',
  )
  const path = `/run/caisson/${tagOf(lxcpath)}/c/socket`
  t.match(statSync(path), { mode: 0o140600, uid: 0 })
  t.equal(await sh(container, `ls ${path} 2>/dev/null`), '', 'it is not there inside')
  const connect = [
    'python3',
    '-c',
    `import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect("${path}"); print("connected")`,
  ] as const
  t.match(asNobody(...connect), /Permission denied/, 'another user of the host')
  t.match(execFileSync(connect[0], connect.slice(1), { encoding: 'utf8' }), 'connected', 'control: its own user passes')
})

t.test('E-K3 System V objects and queues of the host are not there', { skip: onX64 }, async t => {
  const [SHMGET, SHMCTL, IPC_CREAT, IPC_RMID] = [29, 31, 0o1000, 0]
  const key = 0x0ca15500 + (process.pid & 0xff)
  const host = (...words: number[]) =>
    JSON.parse(execFileSync(probe, ['syscall', ...words.map(String)], { encoding: 'utf8' })) as { result: number }
  const id = host(SHMGET, key, 4096, IPC_CREAT | 0o666).result
  const name = `/dev/shm/caisson-${randomUUID()}`
  writeFileSync(name, 'canary', { mode: 0o666 })
  t.teardown(() => {
    host(SHMCTL, id, IPC_RMID, 0)
    execFileSync('rm', [name])
  })
  t.equal(host(SHMGET, key, 0, 0).result, id, 'control: the host finds it')
  const { container } = await startContainer(t)
  t.match(await call(container, SHMGET, key, 0, 0), { result: -1, error: 'ENOENT' })
  t.equal(await sh(container, 'ls -A /dev/shm /dev/mqueue; ipcs -m | grep -c 0x'), '/dev/mqueue:\n\n/dev/shm:\n0\n')
})

t.test('E-K6 what listens on the host’s loopback is not reached', { skip }, async t => {
  const server = createServer(socket => socket.end('canary')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const ask = `nc -w 2 127.0.0.1 ${port} </dev/null 2>/dev/null`
  const { container } = await startContainer(t)
  t.equal(await sh(container, ask), '')
  const { container: control } = await startContainer(t, { config: 'lxc.namespace.keep = net\n' })
  t.equal(await sh(control, ask), 'canary', 'control: with the host’s network it is')
})

t.test('E-K7 names of interfaces that are none are refused', { skip }, async t => {
  const { container } = await makeContainer(t)
  for (const name of ['a/b', '..', '.', 'a b', 'x'.repeat(16), 'a%d', 'a:b', 'a\nlxc.cap.keep = none', '']) {
    const failure = await Promise.resolve()
      .then(() =>
        container.config
          .clear('lxc.net')
          .set('lxc.net.0.type', 'empty')
          .set('lxc.net.1.type', 'veth')
          .set('lxc.net.1.name', name),
      )
      .then(() =>
        name === '' ? Promise.reject(Object.assign(new Error('empty: no name'), { code: 'E' })) : container.start(),
      )
      .then(
        () => undefined,
        (error: Error & { code?: string }) => error,
      )
    t.match(failure, { code: /^E/ }, JSON.stringify(name))
  }
  container.config.clear('lxc.net').set('lxc.net.0.type', 'veth').set('lxc.net.0.name', 'good0')
  await container.start()
  t.match(await sh(container, 'ls /sys/class/net'), /good0/, 'control: one that is a name is given')
})

t.test('E-B19 other users of the host neither list nor run what is in a container’s tree', { skip }, async t => {
  const lxcpath = directory(t)
  const container = await Container.create('c', { path: lxcpath, template: 'busybox' })
  t.teardown(() => container.destroy({ force: true }))
  const root = join(lxcpath, 'c/rootfs')
  const setuid = join(root, 'bin/evil')
  copyFileSync('/usr/bin/id', setuid)
  execFileSync('chmod', ['4755', setuid])
  for (const state of ['stopped', 'running', 'stopped again']) {
    if (state === 'running') await container.start()
    if (state === 'stopped again') await container.stop({ force: true })
    t.match(asNobody(setuid), /denied[\s\S]*status 126/, `${state}: run`)
    t.match(asNobody('ls', root), /denied/, `${state}: list`)
  }
  t.match(execFileSync(setuid, { encoding: 'utf8' }), /uid=0/, 'control: its owner runs it')
})

t.test('E-B20 a file inside gets no id that the container has not', { skip }, async t => {
  const volume = directory(t)
  execFileSync('chmod', ['777', volume])
  const mounts = [{ source: volume, target: '/volume', create: 'dir' as const }]
  const { container } = await startContainer(t, { mounts })
  const { container: shifted } = await startContainer(t, {
    mounts: [{ ...mounts[0], idmap: 'container' as const } as (typeof mounts)[0]],
  })
  const root = (await look(container)).uidMap[0]?.[1]
  await sh(container, 'touch /volume/plain')
  await sh(shifted, 'touch /volume/shifted')
  t.equal(statSync(join(volume, 'plain')).uid, root, 'unshifted: its own range')
  t.equal(statSync(join(volume, 'shifted')).uid, 0, 'shifted, as asked: what is its root is the host’s')
  for (const [each, name] of [
    [container, 'plain'],
    [shifted, 'shifted'],
  ] as const) {
    const before = statSync(join(volume, name)).uid
    t.not(
      (await each.attach(['chown', '70000', `/volume/${name}`], { reject: false })).exitCode,
      0,
      `${name}: an id that it has not`,
    )
    t.equal(statSync(join(volume, name)).uid, before)
    t.equal(
      (await each.attach(['chown', '5', `/volume/${name}`], { reject: false })).exitCode,
      0,
      'control: one that it has',
    )
    t.equal(statSync(join(volume, name)).uid, before + 5)
  }
})

t.test('E-O9 signals of the container hit nobody outside', { skip }, async t => {
  const victim = spawn('sleep', ['1000'])
  t.teardown(() => victim.kill('SIGKILL'))
  const { container } = await startContainer(t)
  const init = (await container.initPid()) as number
  const monitor = Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1])
  await sh(
    container,
    `for s in KILL STOP; do kill -$s ${victim.pid} ${monitor} ${process.pid} 1; done 2>/dev/null; true`,
  )
  t.equal(await container.state(), 'RUNNING', 'its own init does not end by them')
  const running = container.attach(['sleep', '1000'], { reject: false })
  await until(() => running.pid, 'it runs')
  await sh(container, 'kill -9 -1')
  t.match(await running.then(result => result), { signal: 'SIGKILL' }, 'control: its own processes end')
  t.equal(victim.exitCode ?? victim.signalCode, null, 'those of the host live')
  t.match(readFileSync(`/proc/${victim.pid}/status`, 'utf8'), /State:\t[SR]/)
  t.match(readFileSync(`/proc/${monitor}/status`, 'utf8'), /State:\t[SR]/)
})

t.test('E-P2 exit codes of other children are neither stolen nor doubled', { skip }, async t => {
  const { container } = await makeContainer(t)
  const codes = new Map<number, number>()
  const children = Array.from({ length: 60 }, async (_, index) => {
    const child = spawn('sh', ['-c', `sleep 0.0${index % 10}; exit ${index}`])
    child.on('exit', code => codes.set(index, (codes.get(index) ?? 0) + (code === index ? 1 : 100)))
    await once(child, 'exit')
  })
  const runs = Array.from({ length: 12 }, (_, index) =>
    container.execute(['sh', '-c', `exit ${index}`], { reject: false }),
  )
  const ended: (number | null)[] = []
  for (const run of runs.slice(0, 1)) ended.push((await run).exitCode)
  await Promise.allSettled(runs)
  await Promise.all(children)
  t.strictSame(
    [...codes.values()],
    Array.from({ length: 60 }, () => 1),
    'each once, and its own',
  )
  t.equal(codes.size, 60)
})
