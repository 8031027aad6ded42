// Kernels that lack a system call, by a filter that answers ENOSYS: either all works without it, or the error names the step and the kernel
// that has the call; and nothing is left.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { tagOf } from '../support/container.ts'
import { elsewhere } from '../support/elsewhere.ts'
import { needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'

const skip = needsRoot

const launcher = fileURLToPath(new URL('../../build/test/missing', import.meta.url))

/** What has to fail; the rest works. Numbers since Linux 5.2 are the same on every architecture. */
const CALLS: readonly [name: string, number: number, since: string, fail: readonly string[]][] = [
  ['fsopen', 430, '5.2', ['run', 'start']],
  ['pidfd_open', 434, '5.3', []],
  ['clone3', 435, '5.3', ['run', 'start']],
  ['close_range', 436, '5.9', []],
  ['openat2', 437, '5.6', ['run', 'start']],
  ['mount_setattr', 442, '5.12', ['run', 'start']],
]

interface Told {
  readonly what: string
  readonly error?: { name: string; code: string; step?: string; syscall?: string; hint?: string; message: string }
}

interface Outcome {
  readonly said: readonly Told[]
  /** Processes, cgroups and run directories that are there at the end. */
  readonly left: readonly string[]
}

/**
 * What each of the deeds of a program says, where a call is missing. A deed that the one before it makes impossible is left out. The pid
 * namespace and the file system of run directories are the program's own, so that all that is in them is of its making.
 */
function deeds(t: Test, number: number): Outcome {
  const lxcpath = directory(t)
  const program = `
    const fs = await import('node:fs')
    const { setTimeout: sleep } = await import('node:timers/promises')
    const said = []
    const ids = new Set([${JSON.stringify(tagOf(lxcpath))}])
    const deed = async (what, act) => {
      try { await act(); said.push({ what }); return true } catch (e) {
        said.push({ what, error: { name: e.name, code: e.code, step: e.step, syscall: e.syscall, hint: e.hint, message: e.message } })
        return false
      } finally { for (const id of fs.readdirSync('/run/caisson')) ids.add(id) }
    }
    let container
    await deed('run', () => caisson.run(['/bin/true']))
    if (await deed('create', async () => {
      container = await caisson.Container.create('c', ${JSON.stringify({ path: lxcpath, rootfs: rootfs(t) })})
    })) {
      if (await deed('start', () => container.start())) {
        await deed('attach', async () => {
          const fds = JSON.parse((await container.attach(['/probe'])).stdout).fds
          if (Object.keys(fds).join() !== '0,1,2') throw new Error('descriptors leak: ' + JSON.stringify(fds))
        })
        await deed('stop', () => container.stop())
      }
      await deed('destroy', () => container.destroy({ force: true }))
    }
    const processes = () => fs.readdirSync('/proc').filter(pid => /^[0-9]+$/.test(pid) && Number(pid) !== process.pid)
      .filter(pid => { try { return !/^State:\tZ/m.test(fs.readFileSync('/proc/' + pid + '/status', 'utf8')) } catch { return false } })
    const cgroups = (at = '/sys/fs/cgroup') => {
      let below = []
      try { below = fs.readdirSync(at, { withFileTypes: true }).filter(entry => entry.isDirectory()) } catch {}
      return below.flatMap(({ name }) => [...([...ids].some(id => name.includes(id)) ? [at + '/' + name] : []), ...cgroups(at + '/' + name)])
    }
    for (let tries = 0; tries < 200 && processes().length + cgroups().length > 0; tries++) await sleep(100)
    const left = [...processes().map(pid => 'process ' + pid + ' ' + fs.readFileSync('/proc/' + pid + '/cmdline')), ...cgroups()]
    // After the library's own clean-up at the end of the process.
    process.on('exit', () => {
      for (const id of fs.readdirSync('/run/caisson')) if (ids.has(id) && id.length === 8) left.push('/run/caisson/' + id)
      fs.writeSync(1, JSON.stringify({ said, left }))
    })`
  mkdirSync('/run/caisson', { recursive: true, mode: 0o700 })
  const script = 'mount -t tmpfs -o mode=700 none /run/caisson && exec "$@"'
  const inner = ['sh', '-c', script, 'sh', launcher, String(number), ...elsewhere(program)]
  const { status, signal, stdout, stderr } = spawnSync(
    'unshare',
    ['--pid', '--fork', '--kill-child', '--mount-proc', '--mount', ...inner],
    { encoding: 'utf8', env: { PATH: process.env.PATH }, timeout: 60_000 },
  )
  t.strictSame([status, signal, stderr], [0, null, ''], 'the program ends by itself')
  return JSON.parse(stdout) as Outcome
}

t.test('the launcher', { skip }, async t => {
  const told = spawnSync(launcher, ['430', 'grep', 'Seccomp:', '/proc/self/status'], { encoding: 'utf8' })
  t.match(told, { status: 0, stdout: 'Seccomp:\t2\n' })
  t.equal(spawnSync(launcher, ['x', 'true']).status, 2)
})

for (const [name, number, since, fail] of CALLS) {
  t.test(`a kernel without ${name}`, { skip, timeout: 120_000 }, async t => {
    const { said, left } = deeds(t, number)
    for (const { what, error } of said) {
      if (error === undefined) continue
      const hint = new RegExp(`${name}.*Linux ${since.replace('.', '\\.')}`)
      t.match(error, { name: 'ContainerError', code: 'ERR_FEATURE_MISSING', step: /./, syscall: name, hint }, what)
    }
    const failed = said.flatMap(({ what, error }) => (error === undefined ? [] : [what]))
    t.strictSame(failed, fail, 'what needs the call fails, and all else works')
    const done = ['run', 'create', 'start', ...(fail.includes('start') ? [] : ['attach', 'stop']), 'destroy']
    t.equal(said.map(({ what }) => what).join(), done.join())
    t.strictSame(left, [], 'nothing is left')
  })
}
