// Typed options and the lines they stand for, in both directions.
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { Config, type ConfigKey } from '../../lib/config/config.ts'
import type { Key } from '../../lib/config/key.ts'
import { applyOptions, type ConfigOptions } from '../../lib/config/options.ts'
import { readOptions } from '../../lib/config/read_options.ts'
import { ALL_KEYS, nameOf, type Pattern, SAMPLES } from './samples.ts'

const context = { directory: '/var/lib/lxc/web' }
const compile = (options: ConfigOptions, config = new Config()) => {
  const files = applyOptions(config, options, context)
  return { text: config.toString(), files }
}

t.test('each option has its lines', async t => {
  const cases: [ConfigOptions, string][] = [
    [{ hostname: 'web' }, 'lxc.uts.name = web'],
    [{ rootfs: '/srv/web' }, 'lxc.rootfs.path = /srv/web'],
    [{ rootfs: { path: '/srv/web', readonly: true } }, 'lxc.rootfs.path = /srv/web\nlxc.rootfs.options = ro'],
    [
      { rootfs: { overlay: { lower: ['/a', '/b'] } } },
      'lxc.rootfs.path = overlay:/a:/b:/var/lib/lxc/web/overlay/delta',
    ],
    [
      { idmap: [{ type: 'both', container: 0, host: 100000, range: 65536 }] },
      'lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536',
    ],
    [{ idmap: false }, ''],
    [
      { mounts: [{ source: '/a b', target: 'c', create: 'dir', optional: true }] },
      'lxc.mount.entry = /a\\040b c none bind,create=dir,optional',
    ],
    [
      { mounts: [{ source: 'tmpfs', target: 'tmp', type: 'tmpfs', options: ['size=1m'] }] },
      'lxc.mount.entry = tmpfs tmp tmpfs size=1m',
    ],
    [
      {
        network: [
          {
            type: 'veth',
            link: 'br0',
            ipv4: ['10.0.3.5/24'],
            gateway: '10.0.3.1',
            mtu: 1400,
            vlan: 5,
            limits: { egress: '1Mbit' },
          },
          { type: 'none' },
        ],
      },
      `lxc.net.0.type = veth
lxc.net.0.flags = up
lxc.net.0.link = br0
lxc.net.0.ipv4.address = 10.0.3.5/24
lxc.net.0.ipv4.gateway = 10.0.3.1
lxc.net.0.mtu = 1400
lxc.net.0.veth.vlan.id = 5
caisson.net.0.limit.egress = 1Mbit
lxc.net.1.type = none`,
    ],
    [
      { network: [{ type: 'macvlan', link: 'eth0', mode: 'bridge' }] },
      'lxc.net.0.type = macvlan\nlxc.net.0.flags = up\nlxc.net.0.link = eth0\nlxc.net.0.macvlan.mode = bridge',
    ],
    [{ limits: { memory: '1M', cpu: 0.5 } }, 'lxc.cgroup2.memory.max = 1048576\nlxc.cgroup2.cpu.max = 50000 100000'],
    [{ capabilities: { drop: ['sys_time', 'mknod'] } }, 'lxc.cap.drop = sys_time mknod'],
    [{ capabilities: { keep: [] } }, 'lxc.cap.keep = none'],
    [{ seccomp: false }, 'caisson.seccomp = none'],
    [{ apparmor: 'generated' }, 'lxc.apparmor.profile = generated'],
    [{ environment: { A: 'b c', D: '' } }, 'lxc.environment = A=b c\nlxc.environment = D='],
    [
      { hooks: { start: ['/a'], 'pre-start': ['/b', '/c'] } },
      'lxc.hook.pre-start = /b\nlxc.hook.pre-start = /c\nlxc.hook.start = /a',
    ],
    [{ config: 'lxc.tty.max = 4\n' }, 'lxc.tty.max = 4'],
    [
      {
        config: [
          ['lxc.tty.max', '4'],
          ['lxc.autodev', '0'],
        ],
      },
      'lxc.tty.max = 4\nlxc.autodev = 0',
    ],
  ]
  for (const [options, text] of cases)
    t.equal(compile(options).text, text === '' || options.config === text ? text : `${text}\n`, JSON.stringify(options))
})

t.test('policies become files beside the config', async t => {
  t.same(compile({ seccomp: { policy: '2\ndenylist\n' } }), {
    text: 'lxc.seccomp.profile = /var/lib/lxc/web/seccomp\n',
    files: [{ path: '/var/lib/lxc/web/seccomp', content: '2\ndenylist\n' }],
  })
  const { text, files } = compile({
    seccomp: {
      defaultAction: 'allow',
      rules: [{ syscall: 'mount', action: { errno: 1 }, args: [{ index: 0, op: '==', value: 5n }] }],
    },
  })
  t.equal(text, 'caisson.seccomp = /var/lib/lxc/web/seccomp.json\n')
  t.match(JSON.parse(files[0]?.content ?? ''), { defaultAction: 'allow', rules: [{ args: [{ value: '0x5' }] }] })
})

t.test('options override a default config, raw lines override options', async t => {
  const base = Config.parse(
    'lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.cap.drop = chown\nlxc.idmap = u 0 1 1\nlxc.tty.max = 4\n',
  )
  const { text } = compile(
    {
      network: [{ type: 'empty' }],
      capabilities: { keep: ['kill'] },
      idmap: false,
      hostname: 'a',
      config: 'lxc.uts.name = b',
    },
    base,
  )
  t.equal(text, 'lxc.tty.max = 4\nlxc.uts.name = a\nlxc.net.0.type = empty\nlxc.cap.keep = kill\nlxc.uts.name = b')
  t.equal(base.value('lxc.uts.name'), 'b')
  const auto = new Config()
  applyOptions(auto, { idmap: 'auto' }, { ...context, idmap: [{ type: 'uid', container: 0, host: 5, range: 1 }] })
  t.equal(auto.toString(), 'lxc.idmap = u 0 5 1\n')
})

t.test('wrong options', async t => {
  const wrong: [object, object][] = [
    [{ network: [{ type: 'vet' }] }, { code: 'ERR_INVALID_OPTION', hint: 'did you mean "veth"?' }],
    [{ network: [{ type: 'veth', lnk: 'br0' }] }, { code: 'ERR_INVALID_OPTION', hint: 'did you mean "link"?' }],
    [{ network: [{ type: 'phys', link: 'eth0', gateway: 'auto' }] }, { code: 'ERR_INVALID_OPTION' }],
    [{ network: [{ type: 'veth', link: 'a'.repeat(16) }] }, { code: 'ERR_CONFIG_VALUE', message: /lxc.net.0.link/ }],
    [{ hooks: { begin: [] } }, { code: 'ERR_INVALID_OPTION' }],
    [{ hostname: 'a\nlxc.cap.keep = none' }, { code: 'ERR_CONFIG_VALUE' }],
    [{ environment: { A: 'a\nb' } }, { code: 'ERR_CONFIG_VALUE' }],
    [{ idmap: 'auto' }, { code: 'ERR_NO_SUBORDINATE_IDS' }],
    [{ profiles: ['none-such'] }, { code: 'ENOENT' }],
    [{ capabilities: { drop: ['CAP_CHOWN'] } }, { code: 'ERR_CONFIG_VALUE', hint: 'write "chown"' }],
  ]
  for (const [options, error] of wrong)
    t.throws(() => compile(options), error as { code: string }, JSON.stringify(options))
})

t.test('profiles are includes', async t => {
  const dir = t.testdir({ 'small.conf': 'lxc.tty.max = 1\n', 'own.conf': 'lxc.pty.max = 7\n' })
  const config = new Config()
  applyOptions(
    config,
    { profiles: ['small', `${dir}/own.conf`] },
    { ...context, profile: name => `${dir}/${name}.conf` },
  )
  t.same([config.value('lxc.tty.max'), config.value('lxc.pty.max')], [1, 7])
})

const meaning = (config: Config) =>
  Object.fromEntries(
    config
      .keys()
      .sort()
      .map(key => [key, config.value(key as ConfigKey)]),
  )

t.test('any config comes back from its options', async t => {
  const patterns = (Object.keys(ALL_KEYS) as Pattern[]).filter(
    pattern =>
      SAMPLES[pattern].right.length > 0 &&
      pattern !== 'lxc.include' &&
      !pattern.startsWith('lxc.bdev') &&
      !['lxc.lxcpath', 'lxc.default_config', 'lxc.cgroup.pattern', 'lxc.cgroup.use'].includes(pattern),
  )
  const line = fc.constantFrom(...patterns).chain(pattern =>
    fc.record({
      key: fc.nat(1).map(index => nameOf(pattern, index)),
      value: fc.constantFrom(
        ...SAMPLES[pattern].right.map(sample => (typeof sample === 'string' ? sample : sample[0])),
      ),
      type: fc.constant((ALL_KEYS[pattern] as Key).types?.[0]),
    }),
  )
  const more = fc.constantFrom(
    'lxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.net.0.link = br0\ncaisson.net.0.limit.ingress = 1Mbit',
    'lxc.net.0.type = none\nlxc.net.1.type = vlan\nlxc.net.1.flags = up\nlxc.net.1.link = e\nlxc.net.1.vlan.id = 5',
    'lxc.cgroup2.memory.max = 1024\nlxc.cgroup2.cpu.max = 5000 20000\nlxc.cgroup2.pids.max = 5\nlxc.cgroup2.cpu.weight = 3',
    'lxc.cgroup2.memory.swap.max = 0\nlxc.cgroup2.cpu.max = max 100000\nlxc.cgroup2.io.weight = default 5',
    '',
  )
  fc.assert(
    fc.property(more, fc.array(line, { maxLength: 12 }), (start, lines) => {
      const config = Config.parse(`${start}\n${lines.map(({ key, value }) => `${key} = ${value}\n`).join('')}`)
      const again = new Config()
      applyOptions(again, readOptions(config), context)
      return isDeepStrictEqual(meaning(again), meaning(config))
    }),
    { numRuns: 300 },
  )
  const options = readOptions(
    Config.parse(
      'lxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.net.0.link = br0\nlxc.cgroup2.cpu.max = 50000 100000\nlxc.tty.max = 4\n',
    ),
  )
  t.same(options, { network: [{ type: 'veth', link: 'br0' }], limits: { cpu: 0.5 }, config: [['lxc.tty.max', '4']] })
})
