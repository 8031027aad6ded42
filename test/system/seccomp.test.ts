// Filters where they work: in a container, on its init and on what is attached to it; and calls that are answered here.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { granting, POLICY } from '../../examples/08-syscalls.ts'
import { Container } from '../../lib/index.ts'
import type { SyscallRequest } from '../../lib/seccomp/notify.ts'
import { elsewhere } from '../support/elsewhere.ts'
import { needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const NR = { dup: 32, socket: 41, getppid: 110, mknod: 133, io_uring_setup: 425, fsopen: 430, keyctl: 250 }
const X32_BIT = 0x4000_0000

interface Answer {
  readonly result: number
  readonly error: string | null
}

/** A running container of the probe, under a policy or the default. */
async function running(t: Test, policy?: string): Promise<Container> {
  const root = rootfs(t)
  const path = directory(t)
  const container = await Container.create('filtered', {
    path,
    rootfs: root,
    ...(policy === undefined ? {} : { seccomp: { policy } }),
  })
  t.teardown(() => container.destroy({ force: true }))
  await container.start()
  return container
}

async function call(container: Container, number: number, ...args: (number | string)[]): Promise<Answer> {
  const { stdout } = await container.attach(['/probe', 'syscall', `${number}`, ...args.map(String)])
  return JSON.parse(stdout) as Answer
}

t.test('the default filter holds for init and for what is attached', { skip: needsRoot }, async t => {
  const container = await running(t)
  const status = readFileSync(`/proc/${await container.initPid()}/status`, 'utf8')
  t.match(status, /^Seccomp:\t2$/m)
  const { stdout } = await container.attach(['/bin/grep', 'Seccomp:', '/proc/self/status'])
  t.match(stdout, /Seccomp:\t2/)
  t.match(await call(container, NR.io_uring_setup), { error: 'EPERM' }, 'J8')
  t.match(await call(container, NR.fsopen), { error: 'ENOSYS' }, 'J4')
  t.match(await call(container, 600), { error: 'ENOSYS' }, 'J5')
  t.match(await call(container, NR.socket, 38, 5, 0), { error: 'EAFNOSUPPORT' }, 'J9: AF_ALG')
  t.match(await call(container, NR.keyctl), { error: 'EPERM' }, 'I7')
  const killed = await container.attach(['/probe', 'syscall', `${X32_BIT | 39}`], { reject: false })
  t.equal(killed.signal, 'SIGSYS', 'J1: x32')
})

t.test('calls are answered here', { skip: needsRoot }, async t => {
  const container = await running(t, '2\ndenylist\n[all]\ngetppid notify\ndup notify\nmknod notify\n')
  const seen: SyscallRequest[] = []
  const errors: unknown[] = []
  const file = openSync('/etc/hostname', 'r')
  t.teardown(() => closeSync(file))
  {
    using _ = container.onSyscall(
      request => {
        seen.push(request)
        if (request.syscall === 'dup') return request.args[0] === 99n ? { fd: file } : { continue: true }
        if (request.args[0] === 1n) throw new Error('not this one')
        return request.args[0] === 2n ? { errno: 'EXDEV' } : { return: 42 }
      },
      { onError: error => errors.push(error) },
    )
    t.match(await call(container, NR.getppid), { result: 42 })
    t.match(seen[0], { syscall: 'getppid', arch: 'x86_64' })
    t.match(await call(container, NR.getppid, 1), { error: 'ENOSYS' })
    t.match(errors, [{ message: 'not this one' }])
    t.match(await call(container, NR.getppid, 2), { error: 'EXDEV' })
    t.ok((await call(container, NR.dup, 99)).result >= 3, 'a descriptor')
    t.ok((await call(container, NR.dup, 0)).result >= 3, 'the kernel itself')
  }
  const { stdout } = await container.attach(['/bin/echo', 'alive'])
  t.equal(stdout, 'alive\n', 'without a handler other calls go on')
})

t.test("the caller's memory", { skip: needsRoot }, async t => {
  const container = await running(t, '2\ndenylist\n[all]\nmknod notify\nmknodat notify\n')
  const seen: unknown[] = []
  using _ = container.onSyscall(request => {
    const path = request.syscall === 'mknod' ? 0 : 1
    seen.push(request.readString(request.args[path] as bigint))
    try {
      request.readMemory(8n, 8)
    } catch (error) {
      seen.push((error as { code: string }).code)
    }
    return { errno: 'EDOM' }
  })
  t.match(await call(container, NR.mknod, '/tmp/näme', 0o20666, 259), { error: 'EDOM' })
  t.strictSame(seen, ['/tmp/näme', 'EFAULT'])
})

t.test('J10: a call whose caller has been killed is nobody else', { skip: needsRoot }, async t => {
  const container = await running(t, '2\ndenylist\n[all]\ngetppid notify\n')
  const seen: SyscallRequest[] = []
  let more: () => void = () => undefined
  const two = new Promise<void>(resolve => {
    more = () => seen.length === 2 && resolve()
  })
  let stale: unknown
  using _ = container.onSyscall(async request => {
    seen.push(request)
    more()
    if (seen.length > 1) return { return: 2 }
    await two
    try {
      request.readMemory(request.args[1] as bigint, 1)
    } catch (error) {
      stale = (error as { code: string }).code
    }
    return { return: 1 }
  })
  const first = container.attach(['/probe', 'syscall', `${NR.getppid}`, '0', 'text'], { reject: false })
  await until(() => seen.length, 'it is asked')
  first.kill('SIGKILL')
  t.equal((await first).signal, 'SIGKILL')
  t.match(await call(container, NR.getppid), { result: 2, error: null })
  await until(() => stale !== undefined, 'the first is looked at')
  t.ok(['ESRCH', 'ENOENT'].includes(stale as string), `${stale}`)
})

t.test(
  'the process that answers may go away, and another one goes on with what it left',
  { skip: needsRoot },
  async t => {
    const container = await running(t, '2\ndenylist\n[all]\ngetppid notify\n')
    const waiting = call(container, NR.getppid)
    const [node, ...args] = elsewhere(`
      const container = await caisson.Container.open(${JSON.stringify(container.name)}, { path: ${JSON.stringify(container.path)} })
      container.onSyscall(() => { process.stdout.write('taken'); return new Promise(() => {}) })`)
    const other = spawn(node, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => other.kill('SIGKILL'))
    t.equal(String((await once(other.stdout, 'data'))[0]), 'taken')
    const seen: SyscallRequest[] = []
    using _ = container.onSyscall(request => {
      seen.push(request)
      return { return: 7 }
    })
    t.equal(
      await Promise.race([waiting.then(() => 'answered'), setTimeout(300, 'waits')]),
      'waits',
      'one process answers',
    )
    t.equal(seen.length, 0)
    other.kill('SIGKILL')
    t.match(await waiting, { result: 7 }, 'the call that it left')
    t.match(await call(container, NR.getppid), { result: 7 }, 'and the next one')
    t.equal(seen.length, 2)
  },
)

t.test('a handler answers after each start', { skip: needsRoot }, async t => {
  const container = await running(t, '2\ndenylist\n[all]\ngetppid notify\n')
  using _ = container.onSyscall(() => ({ return: 9 }))
  t.match(await call(container, NR.getppid), { result: 9 })
  await container.stop({ force: true })
  await container.start()
  t.match(await call(container, NR.getppid), { result: 9 })
})

t.test('a filter without a notify rule has nothing to answer', { skip: needsRoot }, async t => {
  const container = await running(t)
  const heard = new Promise(resolve => container.onSyscall(() => ({ return: 0 }), { onError: resolve }))
  t.match(await heard, { code: 'ERR_CONTAINER_STATE', message: /its filter has no notify rule/ })
})

t.test('device nodes and mounts of the host for an unprivileged container', { skip: needsRoot }, async t => {
  const shared = directory(t)
  writeFileSync(join(shared, 'greeting'), 'hello')
  writeFileSync(join(shared, 'outside'), 'untouched')
  const container = await running(t, POLICY)
  using _ = container.onSyscall(granting({ data: shared }))
  const say = async (script: string) =>
    (await container.attach(['/bin/sh', '-c', script], { reject: false })).stdout.trim()
  t.equal(await say('mknod /var/null c 1 3 && echo lost > /var/null && wc -c < /var/null'), '0', 'a null device')
  t.equal(await say('mknod /var/zero c 1 5 && head -c 3 /var/zero | wc -c'), '3', 'a zero device')
  t.equal(await say('mknod /var/disk b 8 0 2>/dev/null || echo $?; test -e /var/disk || echo none'), '1\nnone')
  t.equal(await say('mkfifo /var/fifo && test -p /var/fifo && echo made'), 'made', "a FIFO is nobody's business")
  t.equal(await say('mkdir /var/data && mount -t share data /var/data && cat /var/data/greeting'), 'hello')
  t.equal(await say('echo x > /var/data/outside; mount -t share other /var/data || echo refused'), 'refused')
  t.equal(readFileSync(join(shared, 'outside'), 'utf8'), 'untouched', 'read-only')
  t.equal(
    await say('mount -t tmpfs none /var/data && mount -t tmpfs | wc -l').then(count => Number(count) > 0),
    true,
    'the rest is left to the kernel',
  )
})

t.test('a mount never leaves the container', { skip: needsRoot }, async t => {
  const container = await running(t, POLICY)
  using _ = container.onSyscall(granting({}))
  const outside = directory(t)
  // A link that leads to the host's directory, were it followed by a process of the host.
  const { exitCode } = await container.attach(
    ['/bin/sh', '-c', `ln -s ${outside} /var/link; mknod /var/link/null c 1 3`],
    { reject: false },
  )
  t.not(exitCode, 0, 'inside, the link leads nowhere')
  t.strictSame(readdirSync(outside), [])
  const { stdout } = await container.attach([
    '/bin/sh',
    '-c',
    `mkdir -p ${outside} && mknod /var/link/null c 1 3 && ls -l ${outside}`,
  ])
  t.match(stdout, /1, +3 .*null/, 'inside, it leads to a directory inside')
  t.strictSame(readdirSync(outside), [])
})
