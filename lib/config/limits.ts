/** `Limits` of the contract as files of cgroup v2; {@link translateCgroup} makes v1 files of them. cgroup-v2.rst */
import { ContainerError, refuseUnknown } from '../errors.ts'
import type { CgroupSetting } from './cgroup_keys.ts'
import type { Config } from './config.ts'
import { parseCpuList, printCpuList } from './cpu_list.ts'

/** What a container may use at most. */
export interface Limits {
  /** Bytes, or '256M', or '40%' of the host's memory; beyond it the kernel reclaims and then kills. */
  memory?: number | string
  /** Beyond it the container is slowed down and its memory reclaimed. */
  memorySoft?: number | string
  /** Bytes of swap; false is none. */
  swap?: number | string | false
  /** CPUs' worth of time: 0.5, '40%' of one, or '50ms/200ms'. */
  cpu?: number | string
  /** CPUs it may run on: '0-2,7', or how many. */
  cpuset?: string | number
  /** Its share when CPUs are short, 1 to 10000; 100 is that of everybody. */
  cpuWeight?: number
  /** Processes and threads. */
  pids?: number
  /** By device, MAJOR:MINOR or a path like /dev/sda. */
  io?: Record<string, IoLimit>
  /** Its share when a disk is busy, 1 to 10000. */
  ioWeight?: number
  /** By page size, '2MB': bytes. */
  hugetlb?: Record<string, number | string>
}
export interface IoLimit {
  readBps?: number | string
  writeBps?: number | string
  readIops?: number
  writeIops?: number
}

/** What of the host a limit can refer to. */
export interface LimitHost {
  /** Bytes of memory, for a percentage. */
  readonly memory?: number
  /** CPUs one may use, for a number of CPUs. */
  readonly cpus?: readonly number[]
  /** MAJOR:MINOR of a path. */
  device?(path: string): string
}

const PERIOD = 100_000
const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }

type Compile = (value: never, host: LimitHost) => CgroupSetting[]
const one = (file: string, value: string | number): CgroupSetting[] => [{ file, value: String(value) }]

/** A row for each limit. */
const LIMITS: Readonly<Record<keyof Limits, Compile>> = {
  memory: (value: number | string, host) => one('memory.max', memory('memory', value, host)),
  memorySoft: (value: number | string, host) => one('memory.high', memory('memorySoft', value, host)),
  swap: (value: number | string | false, host) =>
    one('memory.swap.max', value === false ? 0 : memory('swap', value, host)),
  cpu: (value: number | string) => one('cpu.max', cpuTime(value)),
  cpuset: (value: string | number, host) => one('cpuset.cpus', cpuList(value, host)),
  cpuWeight: (value: number) => one('cpu.weight', whole('cpuWeight', value, 1, 10000)),
  pids: (value: number) => one('pids.max', whole('pids', value, 1, 4194304)),
  io: (value: Record<string, IoLimit>, host) =>
    Object.entries(value).flatMap(([device, limit]) => ioLimit(device, limit, host)),
  ioWeight: (value: number) => one('io.weight', `default ${whole('ioWeight', value, 1, 10000)}`),
  hugetlb: (value: Record<string, number | string>, host) =>
    Object.entries(value).flatMap(([page, amount]) =>
      one(`hugetlb.${pageSize(page)}.max`, memory('hugetlb', amount, host)),
    ),
}

/** The writes that limits amount to. Throws ERR_INVALID_OPTION. */
export function compileLimits(limits: Limits, host: LimitHost = {}): CgroupSetting[] {
  refuseUnknown(limits, Object.keys(LIMITS), 'limits')
  return (Object.keys(LIMITS) as (keyof Limits)[]).flatMap(name => {
    const value = limits[name]
    return value === undefined ? [] : LIMITS[name](value as never, host)
  })
}

/** Puts limits into a config in place of earlier ones. A file with a line for each device keeps those of other devices. */
export function keepLimits(config: Config, settings: readonly CgroupSetting[]): void {
  const device = (value: string) => /^[0-9]+:[0-9]+ /.exec(value)?.[0]
  for (const { file, value } of settings) {
    const key = `lxc.cgroup2.${file}` as const
    const others = config.value(key).filter(line => device(line) !== undefined && device(line) !== device(value))
    config.clear(key)
    for (const line of [...others, value]) config.set(key, line)
  }
}

/** Bytes of a number, of a text with K, M, G or T (×1024), or of a percentage of the host's memory. */
function memory(name: string, value: number | string, host: LimitHost): number {
  const percent = typeof value === 'string' ? /^([0-9.]+)%$/.exec(value) : null
  if (percent !== null) {
    if (host.memory === undefined) throw invalid(name, value, 'the size of the host is not known here')
    return Math.floor((host.memory * Number(percent[1])) / 100)
  }
  const match = /^([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(String(value))
  const bytes =
    match === null ? Number.NaN : Math.floor(Number(match[1]) * (UNITS[match[2]?.toLowerCase() ?? ''] as number))
  if (!Number.isSafeInteger(bytes)) throw invalid(name, value, "write bytes, '256M' or '40%'")
  return bytes
}

/** `quota period` in microseconds. */
function cpuTime(value: number | string): string {
  const slice = /^([0-9.]+)ms\/([0-9.]+)ms$/.exec(String(value))
  if (slice !== null) return quota(value, Number(slice[1]) * 1000, Number(slice[2]) * 1000)
  const percent = /^([0-9.]+)%$/.exec(String(value))
  return quota(value, (percent === null ? Number(value) : Number(percent[1]) / 100) * PERIOD, PERIOD)
}

/** The kernel takes periods of 1 ms to 1 s and quotas from 1 ms. */
function quota(value: number | string, time: number, period: number): string {
  if (time >= 1000 && period >= 1000 && period <= 1_000_000) return `${Math.round(time)} ${Math.round(period)}`
  throw invalid('cpu', value, "write CPUs (0.5), '40%' or '50ms/200ms'; the least is 1 ms in a period of 1 ms to 1 s")
}

/** A count takes the first of the host's CPUs; anything else is a list as the kernel has it. */
function cpuList(value: string | number, host: LimitHost): string {
  if (typeof value === 'number' && Number.isInteger(value)) {
    const cpus = host.cpus?.slice(0, value) ?? Array.from({ length: value }, (_, cpu) => cpu)
    if (value >= 1 && cpus.length === value) return printCpuList([...cpus].sort((a, b) => a - b))
    throw invalid('cpuset', value, `there are ${host.cpus?.length ?? 'as many as'} CPUs`)
  }
  const wanted = parseCpuList(String(value))
  if (wanted === undefined) throw invalid('cpuset', value, "write a list like '0-2,7', or how many")
  const absent = wanted.find(cpu => host.cpus?.includes(cpu) === false)
  if (absent === undefined) return printCpuList(wanted)
  throw invalid('cpuset', value, `this host has no CPU ${absent}`)
}

const IO_WORDS = { readBps: 'rbps', writeBps: 'wbps', readIops: 'riops', writeIops: 'wiops' } as const

function ioLimit(device: string, limit: IoLimit, host: LimitHost): CgroupSetting[] {
  refuseUnknown(limit, Object.keys(IO_WORDS), `limits.io["${device}"]`)
  const number = /^[0-9]+:[0-9]+$/.test(device) ? device : host.device?.(device)
  if (number === undefined) throw invalid('io', device, 'write MAJOR:MINOR')
  const words = (Object.keys(IO_WORDS) as (keyof IoLimit)[]).flatMap(name => {
    const value = limit[name]
    return value === undefined ? [] : [`${IO_WORDS[name]}=${memory(`io.${name}`, value, {})}`]
  })
  return words.length === 0 ? [] : one('io.max', [number, ...words].join(' '))
}

function pageSize(page: string): string {
  if (/^[0-9]+[KMG]B$/.test(page)) return page
  throw invalid('hugetlb', page, "name page sizes as the kernel does: '2MB', '1GB'")
}

function whole(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw invalid(name, value, `write a whole number from ${least} to ${most}`)
}

function invalid(name: string, value: unknown, hint: string): ContainerError {
  return new ContainerError('ERR_INVALID_OPTION', `Cannot use ${JSON.stringify(value)} as limits.${name}`, { hint })
}
