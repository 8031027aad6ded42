// lxc.conf: the global keys, for root and for ordinary users.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import t from 'tap'
import { globalConfig, globalPaths, readGlobal } from '../../lib/config/global.ts'
import { GLOBAL_KEYS } from '../../lib/config/keys.ts'

const root = globalPaths({ uid: 0, home: '/root' })

t.test('paths', async t => {
  t.same(root, { file: '/etc/lxc/lxc.conf', lxcpath: '/var/lib/lxc', defaultConfig: '/etc/lxc/default.conf' })
  t.same(globalPaths({ uid: 1000, home: '/home/u/' }), {
    file: '/home/u/.config/lxc/lxc.conf',
    lxcpath: '/home/u/.local/share/lxc',
    defaultConfig: '/home/u/.config/lxc/default.conf',
  })
  t.equal(globalPaths({ uid: 1000 }).lxcpath, '/.local/share/lxc', 'no HOME is /, as in LXC')
})

t.test('values', async t => {
  const values = readGlobal(
    `# lxc.lxcpath = /no
lxc.lxcpathology = /no
  lxc.lxcpath=/srv//lxc/
lxc.lxcpath = /later
lxc.bdev.zfs.root = tank/lxc
lxc.cgroup.use =
something else
`,
    root,
  )
  t.equal(values.get('lxc.lxcpath'), '/srv/lxc', 'the first line counts')
  t.equal(values.get('lxc.default_config'), '/etc/lxc/default.conf')
  t.equal(values.get('lxc.bdev.zfs.root'), 'tank/lxc')
  t.equal(values.get('lxc.bdev.lvm.vg'), 'lxc', 'the default')
  t.equal(values.get('lxc.cgroup.use'), undefined)
  t.throws(() => readGlobal('\nlxc.cgroup.pattern = /abs', root), {
    code: 'ERR_CONFIG_VALUE',
    file: '/etc/lxc/lxc.conf',
    line: 2,
    column: 22,
  })
})

t.test('files', async t => {
  const caller = { uid: 1000, home: t.testdir({}) }
  const { file } = globalPaths(caller)
  t.equal(globalConfig('lxc.lxcpath', caller), `${caller.home}/.local/share/lxc`, 'a missing file is none')
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, 'lxc.lxcpath = /a\n')
  t.equal(globalConfig('lxc.lxcpath', caller), '/a')
  writeFileSync(file, 'lxc.lxcpath = /b\n')
  t.equal(globalConfig('lxc.lxcpath', caller), '/b', 'read anew')
  t.throws(() => globalConfig('lxc.lxcpth' as 'lxc.lxcpath', caller), {
    code: 'ERR_CONFIG_UNKNOWN_KEY',
    hint: 'did you mean "lxc.lxcpath"?',
  })
  t.equal(Object.keys(GLOBAL_KEYS).length, 9)
})
