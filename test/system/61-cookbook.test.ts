// LXC's first steps on a machine of its own: its files below /etc/lxc, its bridge lxcbr0, and the name of its image server.
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Container, Images } from '../../lib/index.ts'
import { hasProgram } from '../../lib/native/program.ts'
import { needsRoot } from '../support/host.ts'
import { directory, place } from '../support/rootfs.ts'
import { FIRST, runAsUser, USER } from '../support/user.ts'

const missing = ['script', 'openssl', 'ip', 'newuidmap', '/usr/libexec/lxc/lxc-user-nic'].find(one => !hasProgram(one))
const skip = needsRoot || (missing === undefined ? false : `needs ${missing}`)

/** The bridge as lxc-net makes it; port 443 for everybody, since the image server is the test. */
const MACHINE = `
ip link set lo up
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
ip link add lxcbr0 type bridge && ip address add 10.0.3.1/24 dev lxcbr0 && ip link set lxcbr0 up
mount -t tmpfs none /run/lxc
# LXC's helper looks in /sys whether it is a bridge
mount --rbind /sys/fs/cgroup /mnt && mount -t sysfs none /sys && mount --rbind /mnt /sys/fs/cgroup`

const NETWORK = `lxc.net.0.type = veth
lxc.net.0.link = lxcbr0
lxc.net.0.flags = up
lxc.net.0.ipv4.address = 10.0.3.7/24
`

/** /etc/lxc and /etc/hosts of the machine, by the path that they cover. */
function etc(t: Test): Record<string, string> {
  for (const path of ['/etc/lxc', '/run/lxc']) place(t, path)
  const at = directory(t)
  mkdirSync(join(at, 'lxc'))
  writeFileSync(join(at, 'lxc/default.conf'), NETWORK)
  writeFileSync(join(at, 'lxc/lxc.conf'), `lxc.lxcpath = ${at}/containers\n`)
  writeFileSync(join(at, 'lxc/lxc-usernet'), `${USER} veth lxcbr0 2\n`)
  writeFileSync(join(at, 'hosts'), `${readFileSync('/etc/hosts', 'utf8')}\n127.0.0.1 images.linuxcontainers.org\n`)
  return { '/etc/lxc': join(at, 'lxc'), '/etc/hosts': join(at, 'hosts') }
}

/** What the image server has: two images, which are one. */
async function makeImages(t: Test): Promise<string> {
  const at = directory(t)
  const base = await Container.create('base', { path: join(at, 'containers') })
  t.teardown(() => base.destroy())
  await base.files.write('/etc/motd', 'from the image\n')
  const images = await Images.open(join(at, 'images'))
  const { fingerprint: image } = await images.publish(base, { compression: 'xz' })
  await images.serve(join(at, 'www'), [
    { image, distribution: 'debian', release: 'bookworm' },
    { image, distribution: 'alpine', release: '3.20' },
  ])
  return join(at, 'www')
}

/** Containers of root: one that nobody else may look at, one that all may. */
async function makeOthers(t: Test) {
  const made = { CAISSON_TEST_HIDDEN: directory(t), CAISSON_TEST_SHOWN: directory(t) }
  for (const [which, path] of Object.entries(made)) {
    const container = await Container.create('rooted', { path })
    t.teardown(() => container.destroy())
    const mode = which.endsWith('SHOWN') ? 0o755 : 0o711
    for (const place of [path, join(path, 'rooted')]) chmodSync(place, place === path || mode === 0o755 ? mode : 0o700)
  }
  return made
}

const file = 'test/rootless/cookbook.ts'
if (skip) t.test('the cookbook', { skip }, async () => {})
else {
  const environment = { CAISSON_TEST_IMAGES: await makeImages(t), ...(await makeOthers(t)) }
  t.setTimeout(480_000)
  const machine = { ids: 65_536, delegated: true, network: MACHINE, covers: etc(t), environment }
  const idmap = ['u', 'g'].map(kind => `lxc.id_map = ${kind} 0 ${FIRST} 65536\n`).join('')
  const files = { '.config/lxc/default.conf': `lxc.include = /etc/lxc/default.conf\n${idmap}` }
  runAsUser(t, 'root', { ...machine, root: true, delegated: false }, file)
  runAsUser(t, 'an ordinary user', { ...machine, files }, file)
}
