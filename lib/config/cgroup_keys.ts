/**
 * Names and values of cgroup files, v1 to v2 and back, where there is an exact meaning; the rest is refused by name.
 *
 * The scale between cpu.shares and cpu.weight is the kernel's own (kernel/sched/core.c: 1024 shares are weight 100),
 * rounded to the nearest. A swap limit of v1 counts memory too, so the two need each other.
 */
import { ContainerError } from '../errors.ts'

/** One write to a file of a container's cgroup. */
export interface CgroupSetting {
  readonly file: string
  readonly value: string
}

/** A file of one version: its name in the other, and how a value of it reads there; undefined when none does. */
interface Twin {
  readonly name: string
  value?(value: string): string | undefined
}

const PERIOD = '100000'
const max = (value: string): string => (value === '-1' ? 'max' : value)
const minusOne = (value: string): string => (value === 'max' ? '-1' : value)
const only = (word: string, other: string) => (value: string) => (value === word ? other : undefined)

/** A number on another scale, or nothing when it leaves the range of the other. */
function scale(factor: number, least: number, most: number): (value: string) => string | undefined {
  return value => {
    const scaled = /^[0-9]+$/.test(value) ? Math.round(Number(value) * factor) : Number.NaN
    return scaled >= least && scaled <= most ? String(scaled) : undefined
  }
}

const SAME = [
  'cpuset.cpus',
  'cpuset.mems',
  'cpu.idle',
  'cpu.uclamp.min',
  'cpu.uclamp.max',
  'pids.max',
  'rdma.max',
  'misc.max',
  'devices.allow',
  'devices.deny',
]

const TO_V2: Readonly<Record<string, Twin>> = {
  ...Object.fromEntries(SAME.map(name => [name, { name }])),
  'cpu.shares': { name: 'cpu.weight', value: scale(100 / 1024, 1, 10000) },
  'cpu.cfs_burst_us': { name: 'cpu.max.burst' },
  'memory.limit_in_bytes': { name: 'memory.max', value: max },
  'memory.use_hierarchy': { name: '', value: only('1', '') },
  'blkio.bfq.weight': { name: 'io.bfq.weight' },
  'freezer.state': { name: 'cgroup.freeze', value: value => ({ FROZEN: '1', THAWED: '0' })[value] },
}

const TO_V1: Readonly<Record<string, Twin>> = {
  ...Object.fromEntries(SAME.map(name => [name, { name }])),
  'cpu.weight': { name: 'cpu.shares', value: scale(1024 / 100, 2, 262144) },
  'cpu.max.burst': { name: 'cpu.cfs_burst_us' },
  'memory.max': { name: 'memory.limit_in_bytes', value: minusOne },
  'io.bfq.weight': { name: 'blkio.bfq.weight' },
  'cgroup.freeze': { name: 'freezer.state', value: value => ({ '1': 'FROZEN', '0': 'THAWED' })[value] },
}

const IO: readonly (readonly [v1: string, v2: string])[] = [
  ['blkio.throttle.read_bps_device', 'rbps'],
  ['blkio.throttle.write_bps_device', 'wbps'],
  ['blkio.throttle.read_iops_device', 'riops'],
  ['blkio.throttle.write_iops_device', 'wiops'],
]

/** Huge pages carry their size in the name. */
const HUGE = /^(hugetlb\.[0-9]+[KMGT]?B(?:\.rsvd)?)\.(limit_in_bytes|max)$/

/** The files that only together mean what one of the other version does. */
const QUOTA = { quota: 'cpu.cfs_quota_us', period: 'cpu.cfs_period_us', both: 'cpu.max' } as const
const SWAP = { v1: 'memory.memsw.limit_in_bytes', v2: 'memory.swap.max' } as const

/**
 * The same settings for a hierarchy of the other version, in order. Throws ERR_CONFIG_UNSUPPORTED for one that has no
 * exact meaning there.
 */
export function translateCgroup(settings: readonly CgroupSetting[], to: 1 | 2): CgroupSetting[] {
  const last = new Map(settings.map(({ file, value }) => [file, value]))
  const translated = settings.flatMap(setting => (to === 2 ? toV2(setting, last) : toV1(setting, last)))
  return translated.filter(({ file, value }, index) => {
    const repeated = translated.findIndex(other => other.file === file && other.value === value)
    return repeated === index || /^devices\./.test(file)
  })
}

type Values = ReadonlyMap<string, string>

function toV2(setting: CgroupSetting, all: Values): CgroupSetting[] {
  const { file, value } = setting
  if (file === QUOTA.quota || file === QUOTA.period) {
    return [{ file: QUOTA.both, value: `${max(all.get(QUOTA.quota) ?? '-1')} ${all.get(QUOTA.period) ?? PERIOD}` }]
  }
  if (file === SWAP.v1) {
    const swap = value === '-1' ? 'max' : difference(value, all.get('memory.limit_in_bytes'))
    return swap === undefined ? refuse(setting, 2, 'set lxc.cgroup2.memory.swap.max') : [{ file: SWAP.v2, value: swap }]
  }
  const throttle = IO.find(([name]) => name === file)
  const device = /^([0-9]+:[0-9]+)\s+([0-9]+)$/.exec(value)
  if (throttle !== undefined && device !== null) {
    return [{ file: 'io.max', value: `${device[1]} ${throttle[1]}=${device[2] === '0' ? 'max' : device[2]}` }]
  }
  const huge = HUGE.exec(file)
  if (huge?.[2] === 'limit_in_bytes') return [{ file: `${huge[1]}.max`, value: max(value) }]
  return twin(setting, TO_V2, 2)
}

function toV1(setting: CgroupSetting, all: Values): CgroupSetting[] {
  const { file, value } = setting
  if (file === QUOTA.both) {
    const [quota = 'max', period = PERIOD] = value.trim().split(/\s+/)
    return [
      { file: QUOTA.period, value: period },
      { file: QUOTA.quota, value: minusOne(quota) },
    ]
  }
  if (file === SWAP.v2) {
    const sum = value === 'max' ? '-1' : sumOf(value, all.get('memory.max'))
    return sum === undefined ? refuse(setting, 1, 'set memory.max in bytes too') : [{ file: SWAP.v1, value: sum }]
  }
  if (file === 'io.max') return throttles(setting)
  const huge = HUGE.exec(file)
  if (huge?.[2] === 'max') return [{ file: `${huge[1]}.limit_in_bytes`, value: minusOne(value) }]
  return twin(setting, TO_V1, 1)
}

function throttles(setting: CgroupSetting): CgroupSetting[] {
  const [device, ...limits] = setting.value.trim().split(/\s+/)
  return limits.map(limit => {
    const [name, amount = ''] = limit.split('=')
    const file = IO.find(([, v2]) => v2 === name)?.[0]
    if (file === undefined || !/^([0-9]+|max)$/.test(amount)) return refuse(setting, 1)
    return { file, value: `${device} ${amount === 'max' ? '0' : amount}` }
  })
}

function twin(setting: CgroupSetting, twins: Readonly<Record<string, Twin>>, to: 1 | 2): CgroupSetting[] {
  const found = Object.hasOwn(twins, setting.file) ? (twins[setting.file] as Twin) : refuse(setting, to)
  const value = found.value === undefined ? setting.value : found.value(setting.value)
  if (value === undefined) return refuse(setting, to)
  return found.name === '' ? [] : [{ file: found.name, value }]
}

function refuse({ file, value }: CgroupSetting, to: 1 | 2, hint?: string): never {
  const key = `lxc.cgroup${to === 1 ? '2' : ''}.${file}`
  throw new ContainerError(
    'ERR_CONFIG_UNSUPPORTED',
    `Cannot translate "${key} = ${value}": cgroup v${to} has nothing of the same meaning`,
    {
      hint: hint ?? `remove the line, or set what you need by lxc.cgroup${to === 2 ? '2' : ''}.*`,
    },
  )
}

const FACTORS: Readonly<Record<string, bigint>> = { '': 1n, k: 2n ** 10n, m: 2n ** 20n, g: 2n ** 30n, t: 2n ** 40n }

/** As the kernel reads a size: memparse(). */
function bytes(text: string | undefined): bigint | undefined {
  const match = /^([0-9]+)([kmgt]?)$/i.exec(text ?? '')
  return match === null
    ? undefined
    : BigInt(match[1] as string) * (FACTORS[(match[2] as string).toLowerCase()] as bigint)
}

function difference(total: string, part: string | undefined): string | undefined {
  const [a, b] = [bytes(total), bytes(part)]
  return a === undefined || b === undefined || a < b ? undefined : String(a - b)
}

function sumOf(a: string, b: string | undefined): string | undefined {
  const [x, y] = [bytes(a), bytes(b)]
  return x === undefined || y === undefined ? undefined : String(x + y)
}

/** The table, for the reference page: names in v1 and in v2. */
export const CGROUP_TWINS: readonly (readonly [v1: string, v2: string])[] = [
  ...Object.entries(TO_V2).map(([v1, { name }]) => [v1, name || '(always so)'] as const),
  [`${QUOTA.quota}, ${QUOTA.period}`, QUOTA.both],
  [`${SWAP.v1} − memory.limit_in_bytes`, SWAP.v2],
  ...IO.map(([v1, v2]) => [v1, `io.max ${v2}=`] as const),
  ['hugetlb.SIZE[.rsvd].limit_in_bytes', 'hugetlb.SIZE[.rsvd].max'],
]
