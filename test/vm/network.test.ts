// The kinds of interfaces that this machine's kernel may lack: ipvlan, vlan, VLANs of a bridge, in Debian's full kernel. Emulated, so slow:
// only what the native tests of links need, and the keys of a config that ask for them.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { needsRoot } from '../support/host.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const vmRun = fileURLToPath(new URL('vm-run', import.meta.url))
const SECONDS = 300
/** With Node in it, on an emulated processor that others share. */
const SLOW_SECONDS = 1200

function obstacle(): string | false {
  if (needsRoot) return needsRoot
  const { status, stderr, error } = spawnSync(vmRun, ['--kernel', 'full', '--prepare'], { encoding: 'utf8' })
  return status === 0 ? false : (error?.message ?? stderr.trim().split('\n').at(-1) ?? `vm-run ended with ${status}`)
}

const missing = obstacle()
if (missing) t.test('links in the full kernel', { skip: missing }, async () => undefined)
else {
  t.setTimeout((2 * (SECONDS + 60) + SLOW_SECONDS + 60) * 1000)
  for (const program of ['test_link', 'test_link_traffic']) {
    const options = [
      '--kernel',
      'full',
      '--timeout',
      String(SECONDS),
      '--dir',
      root,
      '--',
      `build/native/${program}`,
      '--emulated',
    ]
    t.spawn(vmRun, options, { timeout: (SECONDS + 30) * 1000 }, `${program} in the full kernel`)
  }
  const machine = ['--kernel', 'full', '--timeout', String(SLOW_SECONDS), '--scratch', '/tmp', '--dir', root]
  const env = ['--env', `TAP_TIMEOUT=${SLOW_SECONDS}`, '--env', 'TS_NODE_TRANSPILE_ONLY=1']
  const test = [process.execPath, '--import=@tapjs/typescript/import', 'test/system/50-keys-vlan.test.ts']
  const options = { timeout: (SLOW_SECONDS + 30) * 1000 }
  t.spawn(vmRun, [...machine, ...env, '--', ...test], options, 'keys of VLANs and ipvlan in the full kernel')
}
