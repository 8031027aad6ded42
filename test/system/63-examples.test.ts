// The ladder of examples, as root and as an ordinary user, on a machine of its own whose lxcpath nobody else has.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { hasProgram } from '../../lib/native/program.ts'
import { needsRoot } from '../support/host.ts'
import { directory, place, rootfs } from '../support/rootfs.ts'
import { runAsUser } from '../support/user.ts'

const missing = ['ip', 'nft', 'dnsmasq', 'newuidmap', 'umoci'].find(one => !hasProgram(one))
const skip = needsRoot || (missing === undefined ? false : `needs ${missing}`)

/** An image of busybox as a registry would give it. */
function makeLayout(t: Test): string {
  const at = directory(t)
  const tree = rootfs(t, { init: 'busybox' })
  const layout = join(at, 'busybox')
  const umoci = (...args: string[]) => execFileSync('umoci', args, { stdio: 'pipe' })
  umoci('init', '--layout', layout)
  umoci('new', '--image', `${layout}:latest`)
  umoci('unpack', '--image', `${layout}:latest`, join(at, 'bundle'))
  execFileSync('cp', ['-a', `${tree}/.`, join(at, 'bundle/rootfs')])
  umoci('repack', '--image', `${layout}:latest`, join(at, 'bundle'))
  execFileSync('chmod', ['-R', 'a+rX', layout])
  return layout
}

/** Where root's containers are: of root's lxc.conf, which covers the machine's. */
function etc(t: Test): Record<string, string> {
  place(t, '/etc/lxc')
  const at = directory(t)
  mkdirSync(join(at, 'lxc'))
  writeFileSync(join(at, 'lxc/lxc.conf'), `lxc.lxcpath = ${at}/containers\n`)
  return { '/etc/lxc': join(at, 'lxc') }
}

const file = 'test/rootless/examples.ts'
if (skip) t.test('the examples', { skip }, async () => {})
else {
  t.setTimeout(480_000)
  const environment = { CAISSON_TEST_LAYOUT: makeLayout(t) }
  const machine = { ids: 1_048_576, delegated: true, network: 'ip link set lo up', covers: etc(t), environment }
  runAsUser(t, 'root', { ...machine, root: true, delegated: false }, file)
  runAsUser(t, 'an ordinary user', machine, file)
}
