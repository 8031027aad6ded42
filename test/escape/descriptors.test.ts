// The escape corpus, A: what the caller holds open, and whose programs and libraries run on the host's side.
import { execFileSync, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { hasProgram } from '../../lib/native/program.ts'
import { startContainer } from '../support/container.ts'
import { elsewhere } from '../support/elsewhere.ts'
import { needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot

/** The library's exports in a Node that has inherited descriptors 47, 500 and 1023 of a file, as a careless caller would hand them on. */
function careless(t: Test, code: string): string {
  const canary = join(directory(t), randomUUID())
  writeFileSync(canary, 'canary')
  const script = `ulimit -n 4096; exec 47<${canary} 500<${canary} 1023</etc; exec "$@"`
  const env = { PATH: process.env.PATH, LISTEN_FDS: '1100', LISTEN_PID: '1', HOST_SECRET: 'canary' }
  return execFileSync('bash', ['-c', script, 'bash', ...elsewhere(code)], { encoding: 'utf8', env })
}

t.test('E-A3 E-A8 what the caller holds open reaches nobody', { skip }, async t => {
  const lxcpath = directory(t)
  const hook = join(lxcpath, 'hook')
  writeFileSync(hook, `#!/bin/sh\nls /proc/self/fd > ${lxcpath}/said\n`, { mode: 0o755 })
  const lines = `lxc.hook.pre-start = ${hook}\n`
  const said = JSON.parse(
    careless(
      t,
      `const { execFileSync } = await import('node:child_process')
       const fs = await import('node:fs')
       const container = await caisson.Container.create('c', ${JSON.stringify({ path: lxcpath, rootfs: rootfs(t), config: lines })})
       const ls = async act => (await act).stdout.trim().split(/\\s+/)
       const init = await ls(container.execute(['ls', '/proc/self/fd']))
       await container.start()
       const report = JSON.parse((await container.attach(['/probe'])).stdout)
       const attached = await ls(container.attach(['ls', '/proc/self/fd']))
       const started = fs.readdirSync('/proc/' + await container.initPid() + '/fd')
       const control = execFileSync('ls', ['/proc/self/fd'], { encoding: 'utf8' }).trim().split(/\\s+/)
       await container.destroy({ force: true })
       console.log(JSON.stringify({ init, attached, started, control, env: report.env }))
       process.exit()`,
    ),
  ) as Record<'init' | 'attached' | 'started' | 'control', string[]> & { env: Record<string, string> }
  // ls holds the directory open while it reads it
  t.strictSame(said.init, ['0', '1', '2', '3'], 'execute')
  t.strictSame(said.attached, ['0', '1', '2', '3'], 'attach')
  t.strictSame(said.started.toSorted(), ['0', '1', '2'], 'init of a start')
  t.strictSame(readFileSync(join(lxcpath, 'said'), 'utf8').trim().split('\n'), ['0', '1', '2', '3'], 'a hook')
  t.notOk(Object.keys(said.env).some(name => /LISTEN|SECRET/.test(name)))
  for (const fd of ['47', '500', '1023'])
    t.ok(said.control.includes(fd), `control: any other child of that Node has ${fd}`)
})

/** Where the descriptors of a process lead, without what counts instances; one may be closed meanwhile. */
function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap(fd => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/(?<=pipe:|socket:)\[.*/, '')]
    } catch {
      return []
    }
  })
}
const parentOf = (pid: number): number =>
  Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])

t.test('E-A9 the descriptors of init, of its monitor and of what is attached are these kinds', { skip }, async t => {
  const held = openSync('/etc/hostname', 'r')
  t.teardown(() => closeSync(held))
  const { container } = await startContainer(t)
  const init = (await container.initPid()) as number
  const running = container.attach(['/probe', 'sleep'])
  await once(running.stdout as Readable, 'data')
  await until(() => running.pid, 'it runs')
  t.strictSame(new Set(descriptorsOf(init)), new Set(['/dev/pts/0']), 'init has its console')
  t.strictSame(descriptorsOf(running.pid), ['pipe:', 'pipe:', 'pipe:'], 'a program has its pipes')
  const allowed =
    /^(pipe:|socket:|anon_inode:\[(pidfd|eventpoll)\]$|\/memfd:caisson-spec|\/dev\/(null|pts\/0|pts\/ptmx)$|\/(run|sys\/fs\/cgroup)\/.*caisson)/
  const others = descriptorsOf(parentOf(init)).filter(target => !allowed.test(target))
  t.strictSame(others, [], 'the monitor holds nothing of the host but what it works with')
  running.kill('SIGKILL')
  await running.then(
    () => undefined,
    () => undefined,
  )
  t.ok(
    descriptorsOf(process.pid).some(target => !allowed.test(target)),
    'control: the caller holds other things',
  )
})

/** A program at each place where a helper might be looked for, which leaves a word when it is run. */
const HELPERS = [
  'xz',
  'gzip',
  'zstd',
  'tar',
  'ip',
  'nft',
  'iptables',
  'newuidmap',
  'newgidmap',
  'mount',
  'umount',
  'losetup',
  'mkfs.ext4',
  'apparmor_parser',
]

/** All that the host does with a container whose image and whose caller's PATH are full of traps. */
const EVERYTHING = `
const container = await caisson.Container.create('c', options)
await container.start()
await container.attach(['true'], { user: 'alice' })
await container.stats()
await container.files.write('/tmp/x', 'y')
await container.files.read('/tmp/x')
await container.stop({ force: true })
await container.snapshots.create('s')
await container.clone('d').then(clone => clone.destroy())
await container.destroy({ force: true, snapshots: true })
process.exit()`

t.test(
  'E-A6 every program that runs on the host’s side is the host’s',
  { skip: skip || (hasProgram('strace') ? false : 'needs strace') },
  async t => {
    const [lxcpath, traps, root] = [directory(t), directory(t), rootfs(t)]
    const sprung = join(directory(t), 'sprung')
    const trap = `#!/bin/sh\necho "$0" >> ${sprung}\n`
    for (const name of HELPERS) {
      writeFileSync(join(traps, name), trap, { mode: 0o755 })
      for (const place of ['usr/local/bin', 'usr/local/sbin']) {
        mkdirSync(join(root, place), { recursive: true })
        writeFileSync(join(root, place, name), trap, { mode: 0o755 })
      }
    }
    const trace = join(lxcpath, 'trace')
    const options = `const options = ${JSON.stringify({ path: join(lxcpath, 'lxc'), rootfs: root })}\n`
    const env = { PATH: `${traps}:${process.env.PATH}` }
    const node = elsewhere(options + EVERYTHING)
    execFileSync('/usr/bin/strace', ['-f', '-qq', '-s', '300', '-e', 'trace=execve,execveat', '-o', trace, ...node], {
      env,
    })
    const calls = readFileSync(trace, 'utf8')
      .split('\n')
      .filter(line => /execve(at)?\(/.test(line) && line.includes(' = 0'))
    const programs = calls
      .map(line => /execve\("([^"]*)"|execveat\(\d+, "([^"]*)"/.exec(line))
      .map(found => found?.[1] ?? found?.[2])
    t.ok(
      programs.includes('/sbin/init') && programs.includes('') && programs.includes(process.execPath),
      'control: the trace sees programs',
    )
    t.strictSame(
      [...new Set(programs)].filter(
        path =>
          !['', '/proc/self/exe', process.execPath, '/sbin/init', '/bin/true'].includes(path ?? '?') &&
          !/^\/(usr\/)?s?bin\/[a-z0-9.]+$/.test(path ?? '?'),
      ),
      [],
      'by absolute paths of the host',
    )
    t.notOk(existsSync(sprung), 'no trap has been sprung')
    spawnSync('/bin/sh', ['-c', 'tar'], { env: { PATH: traps } })
    t.ok(existsSync(sprung), 'control: a program of the PATH springs it')
  },
)

t.test(
  'E-A5 nothing on the host’s side loads a library of the image',
  { skip: skip || (hasProgram('gcc') ? false : 'needs gcc') },
  async t => {
    const [lxcpath, root] = [directory(t), rootfs(t)]
    const canary = join(lxcpath, 'loaded')
    writeFileSync(
      join(lxcpath, 'evil.c'),
      `#include <fcntl.h>\n__attribute__((constructor)) static void go(void) { creat("${canary}", 0600); }\n`,
    )
    const library = join(lxcpath, 'evil.so')
    execFileSync('gcc', ['-shared', '-fPIC', '-o', library, join(lxcpath, 'evil.c')])
    for (const place of [
      'lib',
      'lib64',
      'lib/x86_64-linux-gnu',
      'usr/lib/x86_64-linux-gnu',
      'usr/lib/x86_64-linux-gnu/gconv',
      'etc/ssl',
    ]) {
      mkdirSync(join(root, place), { recursive: true })
      for (const name of ['libnss_evil.so.2', 'libnss_files.so.2', 'libc.so.6', 'libcrypto.so.3', 'UTF-16.so'])
        copyFileSync(library, join(root, place, name))
    }
    writeFileSync(join(root, 'etc/nsswitch.conf'), 'passwd: evil files\ngroup: evil files\nhosts: evil\n')
    writeFileSync(join(root, 'etc/ld.so.preload'), '/lib/libnss_evil.so.2\n')
    writeFileSync(join(root, 'etc/openssl.cnf'), `.include ${canary}\n`)
    const { container } = await startContainer(t, { path: lxcpath, rootfs: root })
    await container.attach(['true'], { user: 'alice', group: 'audio' })
    await container.stats()
    await container.files.read('/etc/passwd')
    const monitor = parentOf((await container.initPid()) as number)
    for (const pid of [monitor, process.pid])
      t.notMatch(readFileSync(`/proc/${pid}/maps`, 'utf8'), root, 'no mapping of the image')
    await container.stop({ force: true })
    t.notOk(existsSync(canary))
    execFileSync('true', { env: { LD_PRELOAD: library } })
    t.ok(existsSync(canary), 'control: loaded by a program of the host, it shows')
  },
)
