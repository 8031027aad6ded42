// cgroup files of one version under the names of the other, and limits as files.
import t from 'tap'
import { translateCgroup } from '../../lib/config/cgroup_keys.ts'
import { compileLimits } from '../../lib/config/limits.ts'

const lines = (text: string) =>
  text.split('\n').map(line => {
    const [file, value] = line.split(' = ') as [string, string]
    return { file, value }
  })
const print = (settings: readonly { file: string; value: string }[]) =>
  settings.map(({ file, value }) => `${file} = ${value}`).join('\n')

t.test('there and back', async t => {
  const pairs: [string, string][] = [
    ['cpu.shares = 512', 'cpu.weight = 50'],
    ['cpu.cfs_period_us = 200000\ncpu.cfs_quota_us = 50000', 'cpu.max = 50000 200000'],
    ['cpu.cfs_period_us = 100000\ncpu.cfs_quota_us = -1', 'cpu.max = max 100000'],
    ['cpuset.cpus = 0-1', 'cpuset.cpus = 0-1'],
    ['memory.limit_in_bytes = 256M', 'memory.max = 256M'],
    ['memory.limit_in_bytes = -1', 'memory.max = max'],
    ['memory.limit_in_bytes = 1024\nmemory.memsw.limit_in_bytes = 1536', 'memory.max = 1024\nmemory.swap.max = 512'],
    ['memory.memsw.limit_in_bytes = -1', 'memory.swap.max = max'],
    ['blkio.throttle.read_bps_device = 8:0 1048576', 'io.max = 8:0 rbps=1048576'],
    ['blkio.throttle.write_iops_device = 8:0 0', 'io.max = 8:0 wiops=max'],
    ['hugetlb.2MB.limit_in_bytes = 4194304', 'hugetlb.2MB.max = 4194304'],
    ['hugetlb.1GB.rsvd.limit_in_bytes = -1', 'hugetlb.1GB.rsvd.max = max'],
    ['freezer.state = FROZEN', 'cgroup.freeze = 1'],
    ['pids.max = 64', 'pids.max = 64'],
    [
      'devices.deny = a\ndevices.allow = c 1:3 rwm\ndevices.deny = a',
      'devices.deny = a\ndevices.allow = c 1:3 rwm\ndevices.deny = a',
    ],
  ]
  for (const [v1, v2] of pairs) {
    t.equal(print(translateCgroup(lines(v1), 2)), v2, v1)
    t.equal(print(translateCgroup(lines(v2), 1)), v1, v2)
  }
  t.same(translateCgroup(lines('memory.use_hierarchy = 1'), 2), [], 'v2 is always so')
  t.equal(print(translateCgroup(lines('cpu.cfs_quota_us = 1000'), 2)), 'cpu.max = 1000 100000')
})

t.test('what has no exact meaning is refused by name', async t => {
  const v1 = [
    'cpu.rt_runtime_us = 1',
    'memory.soft_limit_in_bytes = 1',
    'memory.use_hierarchy = 0',
    'blkio.weight = 500',
    'net_cls.classid = 1',
    'cpu.shares = 2',
    'memory.memsw.limit_in_bytes = 10',
    'freezer.state = x',
    '__proto__ = 1',
  ]
  for (const line of v1) {
    t.throws(
      () => translateCgroup(lines(line), 2),
      { code: 'ERR_CONFIG_UNSUPPORTED', message: `"lxc.cgroup.${line}"` },
      line,
    )
  }
  for (const line of [
    'memory.high = 1',
    'memory.low = 1',
    'io.weight = default 5',
    'memory.swap.max = 5',
    'io.max = 8:0 x=1',
  ]) {
    t.throws(
      () => translateCgroup(lines(line), 1),
      { code: 'ERR_CONFIG_UNSUPPORTED', message: `"lxc.cgroup2.${line}"` },
      line,
    )
  }
})

t.test('limits', async t => {
  const host = { memory: 1000, cpus: [0, 2, 4, 7], device: () => '8:16' }
  const compile = (limits: Parameters<typeof compileLimits>[0]) => print(compileLimits(limits, host))
  t.equal(
    compile({ memory: '256M', memorySoft: '40%', swap: false }),
    'memory.max = 268435456\nmemory.high = 400\nmemory.swap.max = 0',
  )
  t.equal(compile({ cpu: 0.5 }), 'cpu.max = 50000 100000')
  t.equal(compile({ cpu: '40%' }), 'cpu.max = 40000 100000')
  t.equal(compile({ cpu: '50ms/200ms' }), 'cpu.max = 50000 200000')
  t.equal(compile({ cpuset: 2, cpuWeight: 50, pids: 10 }), 'cpuset.cpus = 0,2\ncpu.weight = 50\npids.max = 10')
  t.equal(compile({ cpuset: '7,2,4' }), 'cpuset.cpus = 2,4,7')
  t.equal(
    compile({ io: { '/dev/sda': { readBps: '1M', writeIops: 5 } }, ioWeight: 7 }),
    'io.max = 8:16 rbps=1048576 wiops=5\nio.weight = default 7',
  )
  t.equal(compile({ hugetlb: { '2MB': '4MiB' } }), 'hugetlb.2MB.max = 4194304')
  const wrong = [
    { memory: 'much' },
    { memory: -1 },
    { cpu: 0 },
    { cpuset: 5 },
    { cpuset: '0-2' },
    { cpuset: 'a' },
    { pids: 0.5 },
    { cpuWeight: 0 },
    { io: { sda: { readBps: 'x' } } },
    { hugetlb: { big: 1 } },
    { memori: 1 } as object,
  ]
  for (const limits of wrong)
    t.throws(() => compileLimits(limits, host), { code: 'ERR_INVALID_OPTION' }, JSON.stringify(limits))
  t.throws(() => compileLimits({ memory: '40%' }), { code: 'ERR_INVALID_OPTION' })
})
