// What a config means for the cgroups of a container, on each kind of host.
import t from 'tap'
import { Config } from '../../lib/config/config.ts'
import { compileLimits } from '../../lib/config/limits.ts'
import type { CgroupHost, Hierarchy } from '../../lib/host/cgroups.ts'
import { type CgroupOptions, resolveCgroup } from '../../lib/spec/cgroup.ts'

const v1 = (...controllers: string[]): Hierarchy => {
  const base = { path: '', controllers, crowded: false }
  return {
    version: 1,
    mount: `/cg/${controllers[0]?.replace('name=', '')}`,
    controllers,
    own: '',
    base,
    relative: { ...base, path: 'me' },
  }
}
const v2 = (mount: string, path: string, ...controllers: string[]): Hierarchy => {
  const base = { path, controllers, crowded: false }
  return { version: 2, mount, controllers, own: path, base, relative: base }
}
const ALL = ['cpu', 'cpuset', 'io', 'memory', 'pids', 'hugetlb']
const known = new Set(['cpu', 'cpuacct', 'cpuset', 'blkio', 'memory', 'devices', 'freezer', 'pids', 'hugetlb'])
const V1S = [
  v1('cpu', 'cpuacct'),
  v1('cpuset'),
  v1('memory'),
  v1('devices'),
  v1('freezer'),
  v1('blkio'),
  v1('pids'),
  v1('name=systemd'),
]
const HOSTS = {
  v1: { layout: 'v1', hierarchies: V1S, known },
  hybrid: { layout: 'hybrid', hierarchies: [...V1S, v2('/cg/unified', '', 'hugetlb')], known },
  v2: { layout: 'v2', hierarchies: [v2('/cg', '', ...ALL)], known },
  user: { layout: 'v2', hierarchies: [v2('/cg', 'user@1.service', 'memory', 'pids')], known },
  none: { layout: 'none', hierarchies: [], known },
} satisfies Record<string, CgroupHost>

const OPTIONS: CgroupOptions = {
  directory: 'caisson.web.12345678',
  owner: { uid: 100_000, gid: 100_000 },
  root: true,
  exists: () => false,
}

function resolve(config: string, host: keyof typeof HOSTS, options: Partial<CgroupOptions> = {}) {
  return resolveCgroup(Config.parse(config, { file: 'web.conf' }), HOSTS[host], { ...OPTIONS, ...options })
}

/** `directory/file = value` of what is written, without the defaults. */
function written(config: string, host: keyof typeof HOSTS, options: Partial<CgroupOptions> = {}): string[] {
  const { hierarchies, files } = resolve(config, host, options).spec
  return files
    .filter(({ optional, name }) => !optional && !name.startsWith('devices.'))
    .map(({ hierarchy, name, value }) => `${hierarchies[hierarchy]?.mount}/${name} = ${value}`)
}

t.test('places', async t => {
  const spec = resolve('', 'hybrid').spec
  t.equal(spec.hierarchies.length, 9)
  t.ok(spec.hierarchies.every(({ path, base }) => path === 'caisson.web.12345678' && base === ''))
  t.strictSame(
    spec.hierarchies.filter(({ monitor }) => monitor !== '').map(({ mount, monitor }) => [mount, monitor]),
    [
      ['/cg/systemd', 'caisson.web.12345678.monitor'],
      ['/cg/unified', 'caisson.web.12345678.monitor'],
    ],
    'the monitor has places where services are counted',
  )
  t.strictSame(
    spec.hierarchies.filter(({ delegated }) => delegated).map(({ mount }) => mount),
    ['/cg/systemd', '/cg/unified'],
  )
  t.match(spec, { ownerUid: 100_000, ownerGid: 100_000 })
  t.equal(
    resolve('', 'v2', { owner: undefined }).spec.hierarchies[0]?.inner,
    'inner',
    'a privileged root is kept from its limits',
  )
  t.equal(resolve('', 'v2').spec.hierarchies[0]?.inner, '')
  t.equal(resolve('', 'user').spec.hierarchies[0]?.base, 'user@1.service')
  t.strictSame(resolve('', 'none').spec.hierarchies, [])
})

t.test('lxc.cgroup.dir and its kin', async t => {
  const at = (config: string, options: Partial<CgroupOptions> = {}) => {
    const [one] = resolve(config, 'v2', options).spec.hierarchies
    return [one?.base, one?.path, one?.monitorBase, one?.monitor, one?.inner]
  }
  t.strictSame(at('lxc.cgroup.dir = a/b'), ['', 'a/b/caisson.web.12345678', '', 'a/b/caisson.web.12345678.monitor', ''])
  const exact = 'lxc.cgroup.dir.container = t/web\nlxc.cgroup.dir.monitor = m/web\nlxc.cgroup.dir.container.inner = in'
  t.strictSame(at(exact), ['', 't/web', '', 'm/web', 'in'])
  t.strictSame(
    at(exact, { exists: path => path === '/cg/t' }),
    ['t', 'web', '', 'm/web', 'in'],
    "what stands is the host's",
  )
  t.strictSame(at('', { pattern: 'lxc/web' }), ['', 'lxc/web', '', 'lxc/web.monitor', ''])
  t.throws(() => resolve('lxc.cgroup.dir = a\nlxc.cgroup.dir.container = b', 'v2'), {
    code: 'ERR_CONFIG_CONFLICT',
    line: 1,
  })
  t.throws(() => resolve('lxc.cgroup.dir.container = b', 'v2'), { code: 'ERR_CONFIG_CONFLICT' })
  t.equal(resolve('lxc.cgroup.relative = 1', 'hybrid').spec.hierarchies[0]?.base, 'me')
  t.strictSame(
    resolve('', 'hybrid', { use: ['memory'] }).spec.hierarchies.map(({ mount }) => mount),
    ['/cg/memory', '/cg/unified'],
  )
})

t.test('files in the words of the host', async t => {
  const both = 'lxc.cgroup2.memory.max = 1M\nlxc.cgroup.memory.limit_in_bytes = 2M'
  t.strictSame(written(both, 'v2'), ['/cg/memory.max = 1M'], 'of two families the one that is here')
  t.strictSame(written(both, 'hybrid'), ['/cg/memory/memory.limit_in_bytes = 2M'])
  t.strictSame(written('lxc.cgroup2.memory.swap.max = 512\nlxc.cgroup2.memory.max = 1024', 'hybrid'), [
    '/cg/memory/memory.limit_in_bytes = 1024',
    '/cg/memory/memory.memsw.limit_in_bytes = 1536',
  ])
  t.strictSame(
    written('lxc.cgroup.memory.memsw.limit_in_bytes = 1536\nlxc.cgroup.memory.limit_in_bytes = 1024', 'v2'),
    ['/cg/memory.swap.max = 512', '/cg/memory.max = 1024'],
  )
  t.strictSame(written('lxc.cgroup2.cpu.max = 50000 100000', 'v1'), [
    '/cg/cpu/cpu.cfs_period_us = 100000',
    '/cg/cpu/cpu.cfs_quota_us = 50000',
  ])
  t.strictSame(written('lxc.cgroup2.cgroup.freeze = 0\nlxc.cgroup2.io.pressure = x', 'hybrid'), [
    '/cg/unified/cgroup.freeze = 0',
    '/cg/unified/io.pressure = x',
  ])
  t.throws(() => resolve('\nlxc.cgroup2.memory.low = 1', 'hybrid'), { code: 'ERR_CONFIG_UNSUPPORTED' })
  t.throws(() => resolve('\nlxc.cgroup2.cpu.max = 1000 1000', 'user', { root: false }), {
    code: 'ERR_NO_CGROUP',
    file: 'web.conf',
    line: 2,
    message: /"lxc.cgroup2.cpu.max".*controller "cpu"/,
    hint: /./,
  })
})

t.test('every limit of the contract on both versions', async t => {
  const limits = {
    memory: '64M',
    memorySoft: '32M',
    swap: '16M',
    cpu: 0.5,
    cpuset: 1,
    cpuWeight: 200,
    pids: 50,
    io: { '8:0': { readBps: 5 } },
    ioWeight: 50,
  }
  const config = compileLimits(limits, { cpus: [0, 1] })
    .map(({ file, value }) => `lxc.cgroup2.${file} = ${value}`)
    .join('\n')
  t.strictSame(written(config, 'v1').sort(), [
    '/cg/blkio/blkio.throttle.read_bps_device = 8:0 5',
    '/cg/blkio/blkio.weight = 250',
    '/cg/cpu/cpu.cfs_period_us = 100000',
    '/cg/cpu/cpu.cfs_quota_us = 50000',
    '/cg/cpu/cpu.shares = 2048',
    '/cg/cpuset/cpuset.cpus = 0',
    '/cg/memory/memory.limit_in_bytes = 67108864',
    '/cg/memory/memory.memsw.limit_in_bytes = 83886080',
    '/cg/memory/memory.soft_limit_in_bytes = 33554432',
    '/cg/pids/pids.max = 50',
  ])
  t.equal(written(config, 'v2').length, 9)
  const weight = resolve(config, 'v2').spec.files.find(({ name }) => name === 'io.weight')
  t.match(weight, { value: 'default 50', fallbackName: 'io.bfq.weight', fallbackValue: '50' })
  t.strictSame(written('lxc.cgroup2.memory.swap.max = 0', 'v1'), ['/cg/memory/memory.swappiness = 0'])
})

t.test('defaults', async t => {
  const defaults = (config: string, host: keyof typeof HOSTS, options: Partial<CgroupOptions> = {}) =>
    resolve(config, host, options)
      .spec.files.filter(({ optional }) => optional)
      .map(({ name, value }) => `${name} = ${value}`)
  t.strictSame(defaults('', 'v2'), ['pids.max = 4096', 'cgroup.max.descendants = 4096', 'cgroup.max.depth = 64'])
  t.strictSame(defaults('lxc.cgroup2.pids.max = 7', 'v2')[0], 'cgroup.max.descendants = 4096')
  t.strictSame(defaults('', 'v1'), ['pids.max = 4096'])
  t.strictSame(defaults('', 'v1', { pids: 0 }), [])
  t.match(resolve('', 'none').notes, [/pids.max = 4096 does not hold/, /device rules/])
  t.strictSame(resolve('', 'hybrid').notes, [])
})

t.test('devices', async t => {
  const rules = (config: string) =>
    resolve(config, 'v2').spec.devices.map(
      ({ allow, type, major, minor, access }) =>
        `${allow ? '+' : '-'}${String.fromCharCode(type)} ${major}:${minor} ${access}`,
    )
  t.strictSame(rules(''), [
    '-a -1:-1 rwm',
    '+c 1:3 rwm',
    '+c 1:5 rwm',
    '+c 1:7 rwm',
    '+c 1:8 rwm',
    '+c 1:9 rwm',
    '+c 5:0 rwm',
    '+c 5:1 rwm',
    '+c 5:2 rwm',
    '+c 136:-1 rwm',
  ])
  t.equal(rules('lxc.cgroup2.devices.allow = c 10:229 rwm').at(-1), '+c 10:229 rwm', 'added to the defaults')
  t.strictSame(
    rules('lxc.cgroup2.devices.deny = a\nlxc.cgroup2.devices.allow = c 1:3 rw'),
    ['-a -1:-1 rwm', '+c 1:3 rw'],
    'begun anew',
  )
  t.strictSame(rules('lxc.cgroup2.devices.allow = a'), [], 'everything is allowed: no program')
  t.strictSame(
    rules('lxc.cgroup2.devices.deny = a\nlxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 9:9 r'),
    ['-a -1:-1 rwm'],
    'one family is enough',
  )
  t.throws(() => rules('lxc.cgroup2.devices.allow = c 1'), { code: 'ERR_CONFIG_VALUE', line: 1 })
  const hybrid = resolve('', 'hybrid').spec
  t.strictSame(hybrid.devices, [])
  t.strictSame(
    hybrid.files
      .filter(({ name }) => name.startsWith('devices.'))
      .slice(0, 3)
      .map(({ name, value }) => `${name} ${value}`),
    ['devices.deny a', 'devices.allow c 1:3 rwm', 'devices.allow c 1:5 rwm'],
    'v1 holds the same list',
  )
  t.match(resolve('', 'user', { root: false }), { spec: { devices: [] }, notes: [/device rules do not hold/] })
})
