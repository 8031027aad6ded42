// The tools start out of one bundle, and what V8 compiled of it is kept beside it: where, by whom, and when it is not believed.
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, cpSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

const bin = fileURLToPath(new URL('../../dist/bin', import.meta.url))

/** A copy of the tools without anything kept. */
function copyTools(t: Parameters<typeof directory>[0]) {
  const dist = join(directory(t), 'dist')
  cpSync(bin, join(dist, 'bin'), { recursive: true, filter: file => !/\.js\.v/.test(file) })
  const parts = join(dist, 'bin/parts')
  const kept = () => readdirSync(parts).filter(name => /\.js\.v/.test(name))
  const run = (env = {}) => {
    const said = execFileSync(process.execPath, [join(dist, 'bin/lxc-info.js'), '--usage'], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, ...env },
    })
    t.match(said, /^Usage: lxc-info/)
  }
  return { parts, kept, run, file: () => join(parts, kept()[0] as string) }
}

t.test('what was compiled is kept once, and named after the bundle, the version of Node and the tool', async t => {
  const { parts, kept, run, file } = copyTools(t)
  run({ NODE_DISABLE_COMPILE_CACHE: '1' })
  t.strictSame(kept(), [], 'not when it is turned off')
  run()
  const bundle = readdirSync(parts).find(name => /^tools-.*\.js$/.test(name))
  t.strictSame(kept(), [`${bundle}.${process.version}-${process.arch}.lxc-info`])
  const { mtimeMs, ino, mode } = statSync(file())
  t.equal(mode & 0o022, 0)
  run()
  t.match(statSync(file()), { mtimeMs, ino }, 'the next start uses it')
})

t.test('what V8 does not take is replaced', async t => {
  const { run, file } = copyTools(t)
  run()
  writeFileSync(file(), 'this is no code')
  run()
  t.ok(statSync(file()).size > 1000)
})

t.test('what somebody else could have written is not read', async t => {
  const { run, file } = copyTools(t)
  run()
  const { ino } = statSync(file())
  chmodSync(file(), 0o666)
  run()
  t.not(statSync(file()).ino, ino, 'writable by others')
  t.equal(statSync(file()).mode & 0o022, 0)
})

t.test('only the owner of the bundle writes and is believed', { skip: needsRoot }, async t => {
  const { parts, kept, run, file } = copyTools(t)
  run()
  const { ino } = statSync(file())
  chownSync(file(), 1000, 1000)
  run()
  t.not(statSync(file()).ino, ino, "another user's file")
  const bundle = readdirSync(parts).find(name => /^tools-.*\.js$/.test(name)) as string
  chownSync(join(parts, bundle), 1000, 1000)
  const before = statSync(file()).ino
  run()
  t.equal(statSync(file()).ino, before, 'root keeps nothing beside the bundle of another user')
  t.equal(kept().length, 1)
})
