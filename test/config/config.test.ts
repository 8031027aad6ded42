// The config language: reading, changing and writing configs.
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Config, completions, completionsOfValue, isConfigKey } from '../../lib/config/config.ts'

const COMMON = `# a comment

lxc.uts.name = web
	lxc.net.0.type=veth
lxc.net.0.link = "lxcbr0"
lxc.cap.drop = sys_time sys_module
lxc.cap.drop = 	mknod
martian = 1
lxc.tty.max = 4`

t.test('what is read is written as it was', async t => {
  for (const text of [COMMON, `${COMMON}\n`, COMMON.replaceAll('\n', '\r\n'), '', '\n', '\r\n\n', '# only']) {
    t.equal(Config.parse(text).toString(), text)
  }
})

t.test('values in text and in meaning', async t => {
  const config = Config.parse(COMMON)
  t.equal(config.get('lxc.uts.name'), 'web')
  t.equal(config.get('lxc.net.0.link'), 'lxcbr0', 'one pair of quotes is removed')
  t.same(config.get('lxc.cap.drop'), ['sys_time', 'sys_module', 'mknod'])
  t.same(config.value('lxc.cap.drop'), [25, 16, 27])
  t.equal(config.value('lxc.tty.max'), 4)
  t.equal(config.get('lxc.pty.max'), undefined)
  t.equal(config.value('lxc.pty.max'), 0, 'the default')
  t.same(config.value('lxc.mount.entry'), [])
  t.equal(config.value('lxc.init.cmd'), '/sbin/init')
  t.notOk(config.has('lxc.init.cmd'))
  t.same(config.keys('lxc.net'), ['lxc.net.0.type', 'lxc.net.0.link'])
  t.same(config.interfaces(), [0])
  t.same(config.where('lxc.uts.name'), { file: undefined, line: 3, column: 16 })
  t.match(config.diagnostics, [{ kind: 'foreign', line: 8 }], 'a line without "lxc." is passed over, and said')
  t.same(
    config.entries('lxc.cap').map(entry => entry.text),
    ['sys_time', 'sys_module', 'mknod'],
  )
})

t.test('quotes', async t => {
  const read = (text: string) => Config.parse(`lxc.init.cmd = ${text}`).get('lxc.init.cmd')
  t.equal(read('"a b"'), 'a b')
  t.equal(read("'a b'"), 'a b')
  t.equal(read(`"a'`), `"a'`, 'only a matching pair')
  t.equal(read('"'), '"')
  t.equal(read('""a""'), '"a"', 'only one pair')
  t.equal(read('a # b'), 'a # b', 'no comments behind values')
  const config = new Config()
  for (const value of [' a ', '"a"', "'a'", '"', `"'`, 'a = b', '# a']) {
    config.set('lxc.init.cmd', value)
    t.equal(Config.parse(config.toString()).get('lxc.init.cmd'), value, `${value} comes back`)
  }
})

t.test('a value never becomes a line (L1)', async t => {
  const config = new Config()
  for (const value of ['a\nlxc.cap.keep = none', 'a\rb', 'a\0b', '\ud800']) {
    t.throws(() => config.set('lxc.init.cmd', value), { code: 'ERR_CONFIG_VALUE' })
  }
  t.throws(() => config.set('lxc.sysctl.a=b' as 'lxc.sysctl.a', '1'), { code: 'ERR_CONFIG_UNKNOWN_KEY' })
  t.throws(() => config.set('lxc.sysctl.a\nb', '1'), { code: 'ERR_CONFIG_UNKNOWN_KEY' })
  t.equal(config.toString(), '')
  t.equal(config.set('lxc.init.cmd', 'a').toString(), 'lxc.init.cmd = a\n', 'control: one of one line is a line')
})

t.test('mistakes have a file, a line and a column', async t => {
  const read = (text: string) => () => Config.parse(text, { file: '/c/web' })
  t.throws(read('\n  lxc.net.0.typ = veth'), {
    code: 'ERR_CONFIG_UNKNOWN_KEY',
    message: /^\/c\/web:2: Cannot set "lxc.net.0.typ": there is no key "lxc.net.0.typ"/,
    hint: 'did you mean "lxc.net.0.type"?',
    file: '/c/web',
    line: 2,
    column: 3,
  })
  t.throws(read('lxc.cap.drop = chown sys_tim'), {
    code: 'ERR_CONFIG_VALUE',
    hint: 'did you mean "sys_time"?',
    line: 1,
    column: 22,
  })
  t.throws(read('lxc.cap.drop'), { code: 'ERR_CONFIG_SYNTAX', line: 1 })
  t.throws(read('lxc.hook = /bin/true'), { code: 'ERR_CONFIG_VALUE' })
  t.throws(read('lxc.sysctl = 1'), { code: 'ERR_CONFIG_VALUE' })
  t.throws(read('lxc.net.2147483647.type = veth'), { code: 'ERR_CONFIG_UNKNOWN_KEY' })
  t.throws(read('lxc.arch ='), { code: 'ERR_CONFIG_VALUE' })
})

t.test('lenient reading keeps what is wrong, and says so', async t => {
  const text = 'lxc.foo = 1\nlxc.autodev = yes\nlxc.broken\nlxc.tty.max = 2\n'
  const config = Config.parse(text, { lenient: true })
  t.same(
    config.diagnostics.map(({ kind, line }) => [kind, line]).sort(),
    [
      ['unknown', 1],
      ['value', 2],
      ['value', 3],
      ['foreign', 3],
    ].sort(),
  )
  t.equal(config.value('lxc.tty.max'), 2)
  t.equal(config.value('lxc.autodev'), true)
  t.equal(config.toString(), text)
})

t.test('empty values', async t => {
  const after = (text: string) => Config.parse(text)
  t.same(after('lxc.cap.drop = chown\nlxc.cap.drop =').value('lxc.cap.drop'), [])
  t.same(after('lxc.cap.keep = chown\nlxc.cap.drop =').value('lxc.cap.keep'), [], 'either clears both')
  t.same(after('lxc.cap.keep = chown\nlxc.cap.keep = kill none mknod').get('lxc.cap.keep'), ['none', 'mknod'])
  t.equal(after('lxc.autodev =').value('lxc.autodev'), false)
  t.equal(after('lxc.monitor.signal.pdeath =').value('lxc.monitor.signal.pdeath'), 0)
  t.equal(after('lxc.tty.max = 3\nlxc.tty.max =').value('lxc.tty.max'), 0)
  t.same(after('lxc.sysctl.a = 1\nlxc.sysctl.b = 2\nlxc.sysctl.a =').keys(), ['lxc.sysctl.b'])
  t.same(after('lxc.sysctl.a = 1\nlxc.sysctl.b = 2\nlxc.sysctl =').keys(), [])
  t.same(after('lxc.hook.mount = a\nlxc.hook.version = 1\nlxc.hook =').keys(), ['lxc.hook.version'])
  const nets = 'lxc.net.0.type = veth\nlxc.net.10.type = empty\n'
  t.same(after(`${nets}lxc.net.0 =`).keys(), ['lxc.net.10.type'])
  t.same(after(`${nets}lxc.net =`).keys(), [])
  t.same(after('lxc.cgroup.dir = a\nlxc.cgroup.cpu.shares = 1\nlxc.cgroup =').keys(), ['lxc.cgroup.dir'])
  t.same(after('lxc.net.0.link = a\nlxc.net.0.type = veth').keys(), ['lxc.net.0.type'], 'the type begins an interface')
})

t.test('lists with slots', async t => {
  const config = Config.parse('lxc.mount.auto = proc:rw sys:ro cgroup:rw\nlxc.mount.auto = proc cgroup2:ro:force\n')
  t.same(config.get('lxc.mount.auto'), ['sys:ro', 'proc:mixed', 'cgroup2:ro:force'], 'each file system has one mode')
  config.append('lxc.time.offset.boot = 1h\nlxc.time.offset.boot = 5ms\nlxc.time.offset.boot = 2h')
  t.same(config.get('lxc.time.offset.boot'), ['5000000ns', '7200s'])
})

t.test('changing', async t => {
  const config = Config.parse('# top\nlxc.tty.max = 1\n# tail\nlxc.net.0.link = br0')
  config
    .set('lxc.tty.max', 4)
    .set('lxc.autodev', false)
    .set('lxc.cap.drop', ['chown', 'kill'])
    .set('lxc.net.0.type', 'veth')
  t.equal(
    config.toString(),
    '# top\nlxc.tty.max = 4\n# tail\nlxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.autodev = 0\nlxc.cap.drop = chown kill\n',
  )
  config.clear('lxc.net.0').clear('lxc.cap.drop')
  t.equal(config.toString(), '# top\nlxc.tty.max = 4\n# tail\nlxc.autodev = 0\n')
  const copy = config.copy()
  t.same(config.clear().keys(), [])
  t.same(copy.keys(), ['lxc.tty.max', 'lxc.autodev'])
  t.throws(() => config.set('lxc.net' as 'lxc.net.0.name', 'x'), { code: 'ERR_CONFIG_VALUE' })
  t.throws(() => config.set('lxc.tty.max', ['1', '2'] as never), { code: 'ERR_CONFIG_VALUE' })
  t.throws(() => config.get('lxc.utsname' as 'lxc.uts.name'), {
    code: 'ERR_CONFIG_UNKNOWN_KEY',
    hint: 'its name is "lxc.uts.name" since LXC 2.1',
  })
})

t.test('includes (L6)', async t => {
  const dir = t.testdir({
    'common.conf': 'lxc.tty.max = 4\nlxc.cap.drop = chown\nlxc.autodev = 0\nlxc.arch = x86_64\n',
    'c.d': {
      'b.conf': 'lxc.tty.dir = b\n',
      'a.conf': 'lxc.tty.dir = a\n',
      'c.txt': 'lxc.broken',
      '.conf': 'lxc.broken',
    },
    loop: 'lxc.tty.max = 1\n',
  })
  writeFileSync(join(dir, 'loop'), `lxc.include = ${dir}/loop\n`)
  const text = `lxc.tty.max = 1\nlxc.include = ${dir}/common.conf\nlxc.include = ${dir}/c.d\nlxc.include = ${dir}/none/\n`
  writeFileSync(join(dir, 'config'), text)
  const config = await Config.read(join(dir, 'config'))
  t.equal(config.toString(), text, 'included lines are not written')
  t.equal(config.value('lxc.tty.max'), 4, 'an include counts at its place')
  t.equal(config.value('lxc.tty.dir'), 'b', 'directories are read in the order of names')
  t.match(config.where('lxc.tty.max'), { file: join(dir, 'common.conf'), line: 1 })
  t.equal(Config.parse(text).value('lxc.tty.max'), 4, 'synchronously too')
  t.equal(new Config().set('lxc.include', join(dir, 'common.conf')).value('lxc.tty.max'), 4)

  config.set('lxc.tty.max', 2)
  t.equal(config.value('lxc.tty.max'), 2, 'a value that an include set is overridden behind it')
  config.clear('lxc.tty.max').clear('lxc.cap').clear('lxc.autodev')
  t.equal(config.value('lxc.tty.max'), 0)
  t.same(config.value('lxc.cap.drop'), [])
  t.equal(config.value('lxc.autodev'), true, 'cleared is the default, which for this key an empty value is not')
  t.equal(config.toString(), `${text.replace('lxc.tty.max = 1\n', '')}lxc.tty.max =\nlxc.cap.drop =\nlxc.autodev = 1\n`)
  t.throws(() => config.clear('lxc.arch'), { code: 'ERR_CONFIG_CONFLICT' })

  t.throws(() => Config.parse(`lxc.include = ${dir}/none`), { code: 'ENOENT', path: `${dir}/none`, line: 1 })
  await t.rejects(Config.read(join(dir, 'loop')), { message: /includes itself/, line: 1 })
  await t.rejects(Config.read('/dev/zero'), { message: /too large/ }, 'what has no end')
  t.throws(() => Config.parse('lxc.include = /dev/zero'), { message: /too large/ })
  t.same((await Config.read('/dev/null')).keys(), [])
  await t.rejects(Config.read(dir), { code: 'EISDIR' })
  await t.rejects(Config.read(join(dir, 'none')), { code: 'ENOENT', path: join(dir, 'none') })
})

t.test('old names are a warning of the process, once for a file', async t => {
  const file = join(t.testdir({ config: 'lxc.utsname = old\nlxc.tty = 1\n' }), 'config')
  const warnings: (Error & { code?: string; detail?: string })[] = []
  const hear = (warning: Error) => void warnings.push(warning)
  process.on('warning', hear)
  t.teardown(() => process.off('warning', hear))
  await Config.read(file)
  await Config.read(file)
  await new Promise(resolve => setImmediate(resolve))
  t.match(warnings, [
    {
      name: 'ConfigWarning',
      code: 'CAISSON_OLD_NAMES',
      message: /"lxc.utsname" is named "lxc.uts.name".*and 1 more/,
      detail: /line 2/,
    },
  ])
  t.equal(warnings.length, 1)
})

t.test('names of before LXC 2.1', async t => {
  const old = `lxc.utsname = old
lxc.network.type = veth
lxc.network.link = br0
lxc.network.ipv4 = 10.0.3.5/24
# second
lxc.network.type = macvlan
lxc.network.macvlan.mode = bridge
lxc.rootfs = /srv/old
lxc.rootfs.backend = btrfs
lxc.kmsg = 0
lxc.limit.nofile = 10
lxc.id_map = u 0 1000 10
`
  const config = Config.parse(old)
  t.equal(
    config.toString(),
    `lxc.uts.name = old
lxc.net.0.type = veth
lxc.net.0.link = br0
lxc.net.0.ipv4.address = 10.0.3.5/24
# second
lxc.net.1.type = macvlan
lxc.net.1.macvlan.mode = bridge
lxc.rootfs.path = btrfs:/srv/old
lxc.prlimit.nofile = 10
lxc.idmap = u 0 1000 10
`,
  )
  t.ok(config.diagnostics.length > 0 && config.diagnostics.every(({ kind, line }) => kind === 'legacy' && line))
  t.equal(Config.parse('lxc.rootfs.backend = zfs\nlxc.rootfs = a\n').toString(), 'lxc.rootfs.path = zfs:a\n')
  t.equal(Config.parse('lxc.net.3.type = veth\nlxc.network.type = empty').get('lxc.net.4.type'), 'empty')
  t.throws(() => Config.parse('lxc.network.link = br0'), { code: 'ERR_CONFIG_VALUE' })
})

t.test('saving', async t => {
  const dir = t.testdir({ config: 'lxc.tty.max = 1\n' })
  const file = join(dir, 'config')
  chmodSync(file, 0o640)
  const config = await Config.read(file)
  await config.set('lxc.tty.max', 2).save()
  t.equal(readFileSync(file, 'utf8'), 'lxc.tty.max = 2\n')
  t.equal(statSync(file).mode & 0o777, 0o640)
  symlinkSync('config', join(dir, 'link'))
  await config.set('lxc.tty.max', 3).save(join(dir, 'link'))
  t.equal(readFileSync(file, 'utf8'), 'lxc.tty.max = 3\n', 'through a link')
  mkdirSync(join(dir, 'sub'))
  await config.save(join(dir, 'sub', 'new'))
  t.equal(statSync(join(dir, 'sub', 'new')).mode & 0o777, 0o644)
  await t.rejects(new Config().save(), { code: 'ERR_INVALID_OPTION' })

  const latin = Buffer.from('# caf\xe9 \xff \xc3\xa9\nlxc.tty.max = 1\n', 'latin1')
  writeFileSync(file, latin)
  await (await Config.read(file)).save()
  t.same(readFileSync(file), latin, 'bytes that are not UTF-8 stay')
})

t.test('hardware addresses are drawn once', async t => {
  const config = Config.parse('lxc.net.0.type = veth\nlxc.net.0.hwaddr = xx:66:6A:xX:00:0x\n')
  config.drawHardwareAddresses(() => 15)
  t.equal(config.toString(), 'lxc.net.0.type = veth\nlxc.net.0.hwaddr = fe:66:6A:ff:00:0f\n')
  t.match(
    Config.parse('lxc.net.0.hwaddr = 10:xx:xx:xx:xx:xx').drawHardwareAddresses().toString(),
    /= 10(:[0-9a-f]{2}){5}$/,
  )
})

t.test('names', async t => {
  t.ok(isConfigKey('lxc.prlimit.nofile') && isConfigKey('lxc.prlimit.7') && isConfigKey('lxc.namespace.share.mnt'))
  for (const name of [
    'lxc.prlimit.nofiles',
    'lxc.prlimit',
    'lxc.net.x.type',
    'lxc.cgroup.dir.x',
    'lxc.cgroup2.../x',
    '',
  ]) {
    t.notOk(isConfigKey(name), name)
  }
  t.same(completionsOfValue('lxc.net.3.veth.mode'), ['bridge', 'router'])
  t.same([completionsOfValue('lxc.uts.name'), completionsOfValue('lxc.no')], [[], []])
  t.ok(completions('lxc.net.3.').includes('lxc.net.3.veth.mode') && completions().includes('lxc.prlimit.nofile'))
})
