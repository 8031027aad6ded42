// The keys of lxc.conf: the tools are run where /etc/lxc is a directory that only they see.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Container } from '../../lib/index.ts'
import { host } from '../support/cgroup.ts'
import { needsRoot } from '../support/host.ts'
import { project } from '../support/life.ts'
import { directory } from '../support/rootfs.ts'

const skip = needsRoot || (existsSync('/etc/lxc') ? false : 'needs /etc/lxc (package lxc)')

/** A tool of the package, under that lxc.conf. `programs` stand for those of the host that are not installed. */
function tool(at: string, conf: string, name: string, ...args: string[]) {
  const [file, programs] = [join(at, 'lxc.conf'), join(at, 'programs')]
  writeFileSync(file, conf)
  mkdirSync(programs, { recursive: true })
  const fake = `#!/bin/sh\necho "\${0##*/} $*" >> ${at}/told\ncase "\${0##*/} $1" in lvs*|"zfs list") exit 0;; *) exit 5;; esac\n`
  for (const each of ['lvs', 'lvcreate', 'zfs']) writeFileSync(join(programs, each), fake, { mode: 0o755 })
  const real = `for each in lvs lvcreate zfs; do for dir in /usr/sbin /usr/bin; do
    [ ! -e "$dir/$each" ] || mount --bind "${programs}/$each" "$dir/$each"; done; done`
  const script = `mount -t tmpfs none /etc/lxc; cp "$0" /etc/lxc/lxc.conf; mount --bind ${programs} /usr/local/sbin; ${real}; exec "$@"`
  const words = [process.execPath, join(project, `dist/bin/lxc-${name}.js`), ...args]
  const { status, stdout, stderr } = spawnSync('unshare', ['--mount', 'sh', '-ec', script, file, ...words], {
    env: { PATH: process.env.PATH, HOME: '/root' },
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

t.test('lxc.lxcpath and lxc.default_config', { skip }, async t => {
  const at = directory(t)
  const lxcpath = join(at, 'containers')
  writeFileSync(join(at, 'default.conf'), 'lxc.net.0.type = empty\nlxc.group = by-default\n')
  const conf = `lxc.lxcpath = ${lxcpath}\nlxc.default_config = ${at}/default.conf\n`
  t.equal(tool(at, conf, 'config', 'lxc.lxcpath').stdout, `${lxcpath}\n`)
  t.match(tool(at, conf, 'create', '-n', 'c', '-t', 'busybox'), { status: 0, stderr: '' })
  const container = await Container.open('c', { path: lxcpath })
  t.strictSame(container.config.get('lxc.group'), ['by-default'])
  t.equal(tool(at, conf, 'ls').stdout.trim(), 'c')
  t.equal(tool(at, conf, 'destroy', 'c').status, 0)
})

t.test(
  'lxc.cgroup.pattern and lxc.cgroup.use',
  { skip: skip || (host.layout === 'none' && 'no cgroups here') },
  async t => {
    const at = directory(t)
    const container = await Container.create('c', { path: at })
    t.teardown(() => container.destroy({ force: true }))
    const placesWith = async (conf: string) => {
      t.match(tool(at, conf, 'start', '-P', at, 'c'), { status: 0, stderr: '' })
      const lines = readFileSync(`/proc/${await container.initPid()}/cgroup`, 'utf8')
        .trim()
        .split('\n')
      await container.stop({ force: true })
      return new Map(lines.map(line => line.split(':').slice(1) as [string, string]))
    }
    const pattern = `caisson-pattern-${process.pid}`
    const all = await placesWith(`lxc.cgroup.pattern = ${pattern}/%n.x\n`)
    t.ok(
      [...all.values()].some(path => path.includes(`/${pattern}/c.x`)),
      'the name stands for %n',
    )
    if (host.layout === 'v2') return
    const some = await placesWith(`lxc.cgroup.pattern = ${pattern}/%n\nlxc.cgroup.use = pids,memory\n`)
    t.match(some.get('pids'), `/${pattern}/c`)
    t.match(some.get('memory'), `/${pattern}/c`)
    t.notMatch(some.get('freezer'), pattern, 'what is not used stays as it was')
  },
)

t.test('lxc.bdev.*', { skip }, async t => {
  const at = directory(t)
  const conf =
    'lxc.bdev.lvm.vg = tested-group\nlxc.bdev.lvm.thin_pool = tested-pool\nlxc.bdev.zfs.root = tested-root\n' +
    'lxc.bdev.rbd.rbdpool = tested-rbd\nlxc.bdev.rbd.rbduser = tested-user\n'
  const create = (storage: string) => tool(at, conf, 'create', '-P', at, '-n', 'c', '-t', 'busybox', '-B', storage)
  t.equal(create('lvm').status, 1)
  t.equal(create('zfs').status, 1)
  const told = readFileSync(join(at, 'told'), 'utf8')
  t.match(told, /^lvs tested-group$/m)
  t.match(told, /^lvcreate .* --name c .* tested-group\/tested-pool$/m, 'lvm: group and pool')
  t.match(told, /^zfs list -H tested-root$/m)
  t.match(told, /^zfs create .* tested-root\/c$/m, 'zfs: the dataset')
  t.match(create('rbd'), { status: 1, stderr: /rbd/ }, 'rbd is refused, and its pool and user with it')
  t.notOk(existsSync(join(at, 'c')))
})
