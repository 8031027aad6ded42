// Limits set live, read back and taken back, and the numbers of stats(): on cgroups of our own, of whichever version is here.
import { readFileSync } from 'node:fs'
import t from 'tap'
import type { Limits } from '../lib/config/limits.ts'
import { hierarchyWith } from '../lib/host/cgroups.ts'
import { agrees, changeLimits, readControl, writeControl } from '../lib/resources.ts'
import { parseIoStat, parseKeyed, parseNetDev, parseThrottle, readStats } from '../lib/stats.ts'
import { host, running, without } from './support/cgroup.ts'
import { needsRoot } from './support/host.ts'
import { until } from './support/until.ts'

/** Some memory and some time. */
const BUSY = 'const b = Buffer.alloc(2e7, 1); setInterval(() => b.fill(2), 20)'

const text = (path: string) => readFileSync(path, 'utf8').trim()

t.test('limits of a running container', { skip: needsRoot || without('memory') || without('pids') }, async t => {
  const { running: container, file } = await running(t, BUSY)
  const v1 = hierarchyWith(host, 'memory')?.version === 1
  const memory = () => text(file(v1 ? 'memory.limit_in_bytes' : 'memory.max'))
  const swap = () =>
    v1 ? String(Number(text(file('memory.memsw.limit_in_bytes'))) - Number(memory())) : text(file('memory.swap.max'))
  const set = (limits: Limits) => changeLimits(container, limits)

  t.strictSame(await set({ memory: '256M', pids: 77 }), [
    { file: 'memory.max', value: '268435456' },
    { file: 'pids.max', value: '77' },
  ])
  t.strictSame([memory(), text(file('pids.max'))], ['268435456', '77'])
  await set({ swap: '64M' })
  t.strictSame([memory(), swap()], ['268435456', '67108864'], 'swap beside the memory that is allowed')
  for (const size of ['1G', '512M', '128M', '300M']) {
    await set({ memory: size })
    t.equal(swap(), '67108864', `memory ${size}, up or down, leaves swap as it was`)
  }
  await set({ memory: '200M', swap: '100M' })
  t.strictSame([memory(), swap()], ['209715200', '104857600'])
  await set({ memorySoft: '100M', swap: false })
  t.equal(swap(), '0')
  t.equal(text(file(v1 ? 'memory.soft_limit_in_bytes' : 'memory.high')), '104857600')

  const before = memory()
  await t.rejects(set({ memory: '1G', pids: 50, io: { '4095:7': { readBps: 1000 } } }), {
    code: /^(ENODEV|ERR_NO_CGROUP)$/,
  })
  t.strictSame([memory(), text(file('pids.max'))], [before, '77'], 'a set that fails half-way is taken back')
  await t.rejects(set({ pids: -1 }), { code: 'ERR_INVALID_OPTION' })
  await t.rejects(set({ memry: 1 } as Limits), { code: 'ERR_INVALID_OPTION', hint: /memory/ })
})

t.test('processors', { skip: needsRoot || without('cpu') }, async t => {
  const { running: container, file } = await running(t, BUSY)
  const v1 = hierarchyWith(host, 'cpu')?.version === 1
  const time = () =>
    v1 ? `${text(file('cpu.cfs_quota_us'))} ${text(file('cpu.cfs_period_us'))}` : text(file('cpu.max'))
  await changeLimits(container, { cpu: 0.5, cpuWeight: 200 })
  t.equal(time(), '50000 100000')
  t.equal(text(file(v1 ? 'cpu.shares' : 'cpu.weight')), v1 ? '2048' : '200')
  await changeLimits(container, { cpu: '20ms/50ms' })
  t.equal(time(), '20000 50000')
  if (hierarchyWith(host, 'cpuset') !== undefined) {
    await changeLimits(container, { cpuset: 1 })
    t.equal(text(file('cpuset.cpus')), '0')
    await t.rejects(changeLimits(container, { cpuset: '0,4095' }), { code: 'ERR_INVALID_OPTION', hint: /no CPU 4095/ })
  }
})

t.test('stats', { skip: needsRoot || without('memory') || without('pids') }, async t => {
  const { running: container, child } = await running(t, BUSY)
  await changeLimits(container, { memory: '512M', pids: 100 })
  const stats = await until(async () => {
    const seen = await readStats(container, child.pid as number)
    return seen.cpu.usageUsec > 0 && seen
  }, 'it has used the processor')
  t.ok(stats.cpu.userUsec + stats.cpu.systemUsec > 0)
  t.equal(stats.memory.max, 536_870_912)
  t.ok(stats.memory.current >= 0 && stats.memory.current <= 536_870_912)
  t.ok((stats.memory.peak ?? stats.memory.current) >= stats.memory.current)
  t.ok(stats.pids.current >= 1)
  t.equal(stats.pids.max, 100)
  t.type(stats.io.readBytes, 'number')
  t.ok('lo' in stats.network)
  await t.rejects(readStats({ name: 'x', cgroup: { hierarchies: [] } }, 1), { code: 'ERR_NO_CGROUP', hint: /Delegate/ })
})

t.test('control files by name', { skip: needsRoot || without('pids') }, async t => {
  const { running: container } = await running(t, BUSY)
  await writeControl(container, 'pids.max', '42')
  t.equal(await readControl(container, 'pids.max'), '42')
  for (const name of ['../pids.max', '/etc/passwd', 'a/b', '..', '.', 'pids.max\0', 'tasks', '', 'x'.repeat(5000)]) {
    await t.rejects(readControl(container, name), { code: 'ERR_INVALID_OPTION' }, JSON.stringify(name.slice(0, 20)))
  }
  await t.rejects(writeControl(container, 'pids.max', 'many'), { code: 'EINVAL', path: /pids\.max$/ })
  await t.rejects(writeControl(container, 'pids.none', '1'), { code: 'ENOENT', hint: /cgroup v/ })
  await t.rejects(readControl(container, 'nosuch.max'), { code: 'ERR_INVALID_OPTION', hint: /it has .*pids/ })
})

t.test('what the kernel reads back', async t => {
  for (const [name, wanted, read, good] of [
    ['memory.max', '1000000', '999424', true],
    ['memory.max', '1000000', '1003520', false],
    ['memory.max', 'max', 'max', true],
    ['memory.limit_in_bytes', '-1', '9223372036854771712', true],
    ['memory.max', '5000000', 'max', false],
    ['hugetlb.2MB.max', '3000000', '2097152', true],
    ['pids.max', '10', '9', false],
    ['cpu.max', '50000 100000', '50000 100000', true],
    ['io.weight', '50', 'default 50\n8:0 10', true],
    ['io.max', '8:0 rbps=5', '8:16 rbps=1 wbps=max riops=max wiops=max\n8:0 rbps=5 wbps=max riops=max wiops=max', true],
    ['io.max', '8:0 rbps=5', '', false],
    ['io.max', '8:0 rbps=max', '', true],
    ['blkio.throttle.read_bps_device', '8:0 7', '8:0 7', true],
    ['blkio.throttle.read_bps_device', '8:0 0', '', true],
  ] as const)
    t.equal(agrees(name, wanted, read), good, `${name} ${wanted} → ${read}`)
})

t.test('texts of the kernel', async t => {
  t.strictSame(
    [...parseKeyed('a 1\nb 2 3\nc 4\n')],
    [
      ['a', 1],
      ['c', 4],
    ],
  )
  t.strictSame(parseIoStat('8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n7:0 \n'), {
    '8:0': { readBytes: 1, writeBytes: 2, readOps: 3, writeOps: 4 },
  })
  t.strictSame(parseThrottle('8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n', '8:0 Read 1\n'), {
    '8:0': { readBytes: 5, writeBytes: 6, readOps: 1, writeOps: 0 },
  })
  t.strictSame(parseNetDev('Inter-|  Receive\n face |bytes packets\n  eth0: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n'), {
    eth0: { rxBytes: 1, rxPackets: 2, txBytes: 3, txPackets: 4 },
  })
})
