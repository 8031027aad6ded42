// Parts of the confinement, one by one: what attach leaves off by name, and the other doors into the kernel that a filter has to guard.
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { diagnose } from '../../lib/index.ts'
import { errorOf, look, makeContainer, startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { probe } from '../support/probe.ts'
import { directory } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot

t.test('attach leaves off what is named, and nothing else', { skip }, async t => {
  const { container } = await startContainer(t)
  const plain = await look(container)
  t.not(plain.status.CapBnd, '000001ffffffffff')
  t.equal(plain.status.Seccomp, '2')

  const caps = await look(container, { elevated: ['caps'] })
  t.ok(BigInt(`0x${caps.status.CapEff}`) > BigInt(`0x${plain.status.CapEff}`), 'caps: more than init may have')
  t.match(caps.status, { Seccomp: '2' })
  t.strictSame([caps.cgroup, caps.namespaces], [plain.cgroup, plain.namespaces])

  const filter = await look(container, { elevated: ['seccomp'] })
  t.equal(filter.status.Seccomp, '0')
  t.equal(filter.status.CapEff, plain.status.CapEff)

  // It sees its cgroup from inside the namespace of the container's, of which the caller's is no part.
  const cgroup = await look(container, { elevated: ['cgroup'] })
  t.notSame(cgroup.cgroup, plain.cgroup, 'cgroup: that of the caller')
  t.match(cgroup.status, { CapEff: plain.status.CapEff, Seccomp: '2' })

  const all = await look(container, { elevated: true })
  t.match(all.status, { Seccomp: '0', CapEff: caps.status.CapEff })
  t.notSame(all.cgroup, plain.cgroup)
  t.throws(() => container.attach(['/probe'], { elevated: ['cap' as 'caps'] }), {
    code: 'ERR_INVALID_OPTION',
    hint: 'did you mean "caps"?',
  })
})

t.test('only the namespaces that are named are entered', { skip }, async t => {
  const { container } = await startContainer(t, { idmap: false })
  const init = await container.initPid()
  const program = container.attach(['sh', '-c', 'echo ready; exec sleep 60'], {
    namespaces: ['mnt', 'net'],
    reject: false,
  })
  await once(program.stdout as Readable, 'data')
  await until(() => program.pid, 'it runs')
  const has = (kind: string) => readlinkSync(`/proc/${program.pid}/ns/${kind}`)
  for (const kind of ['mnt', 'net']) t.equal(has(kind), readlinkSync(`/proc/${init}/ns/${kind}`), kind)
  for (const kind of ['uts', 'ipc', 'pid'])
    t.equal(has(kind), readlinkSync(`/proc/self/ns/${kind}`), `${kind}: the caller’s`)
  program.kill('SIGKILL')
  await program
  t.match(await errorOf(container.attach(['true'], { namespaces: ['network' as 'net'] })), {
    code: 'ERR_INVALID_OPTION',
  })
})

/** A call by one of the kernel's other doors, on the host: the control without which a refusal inside says nothing. */
const answers = (...args: string[]): string | null => {
  try {
    return JSON.parse(execFileSync(probe, args, { encoding: 'utf8' })).error
  } catch {
    return 'killed'
  }
}
const I386 = { getpid: '20', io_uring_setup: '425', personality: '136' }
const compat = answers('syscall32', I386.getpid) === null ? false : 'this kernel runs no i386 programs'

t.test('i386 calls, really made, meet the same filter', { skip: skip || compat }, async t => {
  t.equal(answers('syscall32', I386.io_uring_setup, '0', '0'), 'EFAULT', 'the host has the call')
  const { container } = await startContainer(t)
  const call = async (...args: string[]) =>
    JSON.parse((await container.attach(['/probe', 'syscall32', ...args])).stdout)
  t.match(await call(I386.getpid), { error: null })
  t.match(await call(I386.io_uring_setup, '0', '0'), { error: /^(ENOSYS|EPERM)$/ })
})

t.test('an x32 call ends its process', { skip: skip || process.arch !== 'x64' ? 'x86-64 only' : false }, async t => {
  const { container } = await startContainer(t)
  const x32 = String(0x4000_0000 | 39)
  const ended = await container.attach(['/probe', 'syscall', x32], { reject: false })
  t.equal(ended.signal, 'SIGSYS')
  const free = await container.attach(['/probe', 'syscall', x32], { reject: false, elevated: ['seccomp'] })
  t.not(free.signal, 'SIGSYS', 'without the filter it is the kernel that answers')
})

/** The programs that were executed and the domains that were entered while a script ran, by process. */
function traced(t: Test, lxcpath: string, body: string): Map<string, string[]> {
  const log = join(directory(t), 'strace')
  const index = fileURLToPath(new URL('../../dist/index.js', import.meta.url))
  const script = `import { Container } from ${JSON.stringify(index)}
    const container = await Container.open('c', { path: ${JSON.stringify(lxcpath)} })
    ${body}`
  const calls = 'trace=landlock_restrict_self,execve,execveat'
  const options = ['-f', '-qq', '-e', calls, '-e', 'signal=none', '-o', log]
  execFileSync('strace', [...options, process.execPath, '--input-type=module', '-e', script], { stdio: 'inherit' })
  const lines = readFileSync(log, 'utf8').trim().split('\n')
  const byProcess = new Map<string, string[]>()
  for (const line of lines) {
    const pid = line.split(' ')[0] as string
    byProcess.set(pid, [...(byProcess.get(pid) ?? []), line])
  }
  return byProcess
}

t.test('a monitor that will start nothing again is in a Landlock domain of its own', { skip }, async t => {
  if ((await diagnose()).find(({ feature }) => feature === 'Landlock')?.ok !== true) return
  const { container, lxcpath } = await makeContainer(t)
  const domains = (body: string) =>
    [...traced(t, lxcpath, body).values()].filter(lines =>
      lines.some(line => /landlock_restrict_self\(.*= 0$/.test(line)),
    )
  const own = domains(`await container.execute(['true'])`)
  t.equal(own.length, 1, 'of one process')
  t.notMatch(own[0]?.at(-1), /execve/, 'which executes nothing from then on')
  t.equal(await container.state(), 'STOPPED', 'and has still undone all')
  t.strictSame(
    domains(`await container.start(); await container.stop({ force: true })`),
    [],
    'not one whose init may reboot',
  )
  container.config.set('lxc.hook.post-stop', '/bin/true')
  await container.config.save()
  t.strictSame(domains(`await container.execute(['true'])`), [], 'nor one that has a program to run at the end')
})
