// A sandbox for each test, by the runners themselves: their tests fail on purpose, and what they say is looked at.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { inSandbox } from '../../lib/harness.ts'
import { directory } from '../support/rootfs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const fixture = (name: string) => join(root, 'test/harness/fixtures', name)

/** Runs a program without this runner's own variables, which would make it a part of this run. */
function node(args: readonly string[], env: Record<string, string> = {}) {
  const { PATH = '', HOME = '/' } = process.env
  const options = { cwd: root, encoding: 'utf8', env: { PATH, HOME, TS_NODE_TRANSPILE_ONLY: '1', ...env } } as const
  return spawnSync(process.execPath, args, options)
}

t.test('node:test: a failed test has the log, and its files are kept', async t => {
  const keep = join(directory(t), 'kept')
  const { status, stdout } = node(['--test', '--test-reporter=tap', fixture('node.mjs')], { KEEP: keep })
  t.equal(status, 1)
  t.match(stdout, /^ *# \$ \/bin\/sh -c echo first; echo second >&2; exit 7$/m)
  t.match(stdout, /^ *# +first\n *# +second\n *# +\[exit code 7\]$/m)
  t.notMatch(stdout, /nobody wants to know/, 'a test that passes says nothing')
  t.equal(readFileSync(join(keep, 'a/b'), 'utf8'), 'kept')
})

t.test('tap: an assertion that fails throws nothing, and the log is there all the same', async t => {
  const { status, stdout } = node([fixture('tap.mjs')], { TAP: '1' })
  t.equal(status, 1)
  t.match(stdout, /^ *# \$ \/bin\/echo said$/m)
  t.match(stdout, /^ *# +said\n *# +\[exit code 0\]$/m)
})

t.test('another runner finds it on standard error', async t => {
  const { status, stderr } = node([fixture('other.mjs')])
  t.equal(status, 3)
  t.match(stderr, /said\n {2}\[killed by SIGKILL\]$/m)
})

t.test('the examples pass', async t => {
  const typescript = '--import=@tapjs/typescript/import'
  t.match(node(['--test', typescript, 'examples/11-harness.test.ts']), { status: 0 })
  t.match(node([typescript, 'examples/harness-tap.test.ts'], { TAP: '1' }), { status: 0 })
})

const vitest = join(root, 'node_modules/vitest/vitest.mjs')
t.test(
  'the example of vitest passes',
  { skip: existsSync(vitest) ? false : 'needs vitest: npm install --no-save vitest' },
  async t => {
    t.match(node([vitest, 'run', 'examples/harness-vitest.test.mjs']), { status: 0 })
  },
)

t.test('each test has a sandbox of its own, empty but for its files', async t => {
  const leave = inSandbox<undefined>({ files: { mine: 'x' } }, box => box.run(['/bin/touch', 'left']))
  const look = inSandbox<undefined>({ files: { 'deep/er/file': 'y' } }, async box => {
    t.equal((await box.run(['/bin/sh', '-c', 'find . -type f'])).stdout, './deep/er/file\n')
    t.equal((await box.run(['/bin/cat', 'deep/er/file'])).stdout, 'y')
    t.equal(String(await box.files.read('/work/deep/er/file')), 'y')
  })
  await leave(undefined)
  await look(undefined)
})

t.test('bad options', async t => {
  const body = () => undefined
  t.throws(() => inSandbox({ file: {} } as never, body), { code: 'ERR_INVALID_OPTION', hint: /"files"/ })
  for (const name of ['../up', '/etc/passwd', 'a/../../b', '', 'a//b', './a']) {
    t.throws(() => inSandbox({ files: { [name]: '' } }, body), {
      code: 'ERR_INVALID_OPTION',
      message: /not a path below/,
    })
  }
})
