/**
 * What a running container uses, told by its cgroups of either version and by its init's view of the network.
 * cgroup-v2.rst, cgroup-v1/{memory,cpuacct,pids,blkio-controller}.rst, proc(5)
 */
import { readFile } from 'node:fs/promises'
import { ContainerError } from './errors.ts'
import type { CgroupHierarchy } from './native/spec.ts'
import { containerDirectory, type Running } from './resources.ts'

/** What a container uses now and has used so far. Sizes are bytes, times microseconds. */
export interface Stats {
  /** Processor time; `throttledUsec`: how long it was kept waiting by its own limit. */
  cpu: { usageUsec: number; userUsec: number; systemUsec: number; throttledUsec?: number }
  /** `max`: its limit, null without one; `peak`: Linux 5.19 on v2; `kernel`: Linux 5.18 on v2. */
  memory: { current: number; peak?: number; max: number | null; swap?: number; kernel?: number }
  pids: { current: number; max: number | null }
  /** By `MAJOR:MINOR`. Writes that wait in memory are not counted yet. */
  io: { readBytes: number; writeBytes: number; devices: Record<string, DeviceStats> }
  /** By interface of the container. */
  network: Record<string, { rxBytes: number; txBytes: number; rxPackets: number; txPackets: number }>
}
export interface DeviceStats {
  readBytes: number
  writeBytes: number
  readOps: number
  writeOps: number
}

/** Reads what a container uses; `init` is its init's pid. Throws ERR_NO_CGROUP when it has no cgroup that could tell. */
export async function readStats(running: Running, init: number): Promise<Stats> {
  const { hierarchies } = running.cgroup
  if (hierarchies.length === 0) {
    throw new ContainerError(
      'ERR_NO_CGROUP',
      `Cannot measure container ${JSON.stringify(running.name)}: it has no cgroup`,
      {
        container: running.name,
        hint: 'it was started by a user without a delegated cgroup: systemd-run --user --scope -p Delegate=yes -- …',
      },
    )
  }
  const files = new Files(hierarchies)
  const [cpu, memory, pids, io, network] = await Promise.all([
    cpuOf(files),
    memoryOf(files),
    pidsOf(files),
    ioOf(files),
    networkOf(init),
  ])
  return { cpu, memory, pids, io, network }
}

/** Control files by version and controller; what isn't there reads as undefined. */
class Files {
  readonly #hierarchies: readonly CgroupHierarchy[]

  constructor(hierarchies: readonly CgroupHierarchy[]) {
    this.#hierarchies = hierarchies
  }

  /** Whether a controller is mounted as v1. */
  isV1(controller: string): boolean {
    return this.#hierarchies.some(({ version, controllers }) => version === 1 && controllers.includes(controller))
  }

  async v1(controller: string, name: string): Promise<string | undefined> {
    return read(
      this.#hierarchies.find(({ version, controllers }) => version === 1 && controllers.includes(controller)),
      name,
    )
  }

  async v2(name: string): Promise<string | undefined> {
    return read(
      this.#hierarchies.find(({ version }) => version === 2),
      name,
    )
  }
}

async function read(hierarchy: CgroupHierarchy | undefined, name: string): Promise<string | undefined> {
  if (hierarchy === undefined) return undefined
  return readFile(`${containerDirectory(hierarchy)}/${name}`, 'utf8').catch(() => undefined)
}

/** The numbers of a flat keyed file, `key number` on each line. */
export function parseKeyed(text: string | undefined): Map<string, number> {
  const lines = (text ?? '').split('\n').map(line => line.split(' '))
  return new Map(lines.filter(words => words.length === 2).map(([key, number]) => [key as string, Number(number)]))
}

/** A counter, or null for 'max' and for v1's way of saying it. */
function amount(text: string | undefined): number | null {
  const trimmed = text?.trim() ?? 'max'
  return /^\d+$/.test(trimmed) && Number(trimmed) < 2 ** 62 ? Number(trimmed) : null
}

function optional<K extends string>(key: K, value: number | null | undefined): { [P in K]?: number } {
  return (value === null || value === undefined ? {} : { [key]: value }) as { [P in K]?: number }
}

async function cpuOf(files: Files): Promise<Stats['cpu']> {
  // Every v2 cgroup counts processor time, beside a v1 controller too.
  const unified = parseKeyed(await files.v2('cpu.stat'))
  if (unified.has('usage_usec')) {
    const [usageUsec, userUsec, systemUsec] = ['usage_usec', 'user_usec', 'system_usec'].map(
      key => unified.get(key) ?? 0,
    ) as [number, number, number]
    const throttled = unified.get('throttled_usec') ?? throttledOfV1(await files.v1('cpu', 'cpu.stat'))
    return { usageUsec, userUsec, systemUsec, ...optional('throttledUsec', throttled) }
  }
  const micro = async (name: string) => Math.floor((amount(await files.v1('cpuacct', name)) ?? 0) / 1000)
  const [usageUsec, userUsec, systemUsec] = await Promise.all([
    micro('cpuacct.usage'),
    micro('cpuacct.usage_user'),
    micro('cpuacct.usage_sys'),
  ])
  return {
    usageUsec,
    userUsec,
    systemUsec,
    ...optional('throttledUsec', throttledOfV1(await files.v1('cpu', 'cpu.stat'))),
  }
}

function throttledOfV1(text: string | undefined): number | undefined {
  const nanoseconds = parseKeyed(text).get('throttled_time')
  return nanoseconds === undefined ? undefined : Math.floor(nanoseconds / 1000)
}

async function memoryOf(files: Files): Promise<Stats['memory']> {
  const v1 = files.isV1('memory')
  const counter = async (inV1: string, inV2: string) => amount(await (v1 ? files.v1('memory', inV1) : files.v2(inV2)))
  const stat = parseKeyed(await (v1 ? files.v1('memory', 'memory.stat') : files.v2('memory.stat')))
  return {
    current: (await counter('memory.usage_in_bytes', 'memory.current')) ?? 0,
    ...optional('peak', await counter('memory.max_usage_in_bytes', 'memory.peak')),
    max: await counter('memory.limit_in_bytes', 'memory.max'),
    ...optional('swap', v1 ? stat.get('swap') : await counter('', 'memory.swap.current')),
    ...optional('kernel', v1 ? await counter('memory.kmem.usage_in_bytes', '') : stat.get('kernel')),
  }
}

async function pidsOf(files: Files): Promise<Stats['pids']> {
  const counter = async (name: string) => amount(await (files.isV1('pids') ? files.v1('pids', name) : files.v2(name)))
  return { current: (await counter('pids.current')) ?? 0, max: await counter('pids.max') }
}

async function ioOf(files: Files): Promise<Stats['io']> {
  const devices = files.isV1('blkio')
    ? parseThrottle(
        await files.v1('blkio', 'blkio.throttle.io_service_bytes_recursive'),
        await files.v1('blkio', 'blkio.throttle.io_serviced_recursive'),
      )
    : parseIoStat(await files.v2('io.stat'))
  const sum = (key: 'readBytes' | 'writeBytes') =>
    Object.values(devices).reduce((total, device) => total + device[key], 0)
  return { readBytes: sum('readBytes'), writeBytes: sum('writeBytes'), devices }
}

/** io.stat: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`; a device without any is listed without numbers. */
export function parseIoStat(text: string | undefined): Record<string, DeviceStats> {
  const devices: Record<string, DeviceStats> = {}
  for (const line of (text ?? '').split('\n')) {
    const [device, ...words] = line.trim().split(/\s+/)
    const numbers = new Map(words.map(word => word.split('=') as [string, string]))
    if (device === undefined || !/^\d+:\d+$/.test(device) || numbers.size === 0) continue
    const number = (key: string) => Number(numbers.get(key) ?? 0)
    devices[device] = {
      readBytes: number('rbytes'),
      writeBytes: number('wbytes'),
      readOps: number('rios'),
      writeOps: number('wios'),
    }
  }
  return devices
}

/** blkio.throttle.*: `8:0 Read 4096` for each device and kind. */
export function parseThrottle(bytes: string | undefined, operations: string | undefined): Record<string, DeviceStats> {
  const devices: Record<string, DeviceStats> = {}
  const add = (text: string | undefined, keys: Readonly<Record<string, keyof DeviceStats>>) => {
    for (const [, device, kind, number] of (text ?? '').matchAll(/^(\d+:\d+) (\w+) (\d+)$/gm) as Iterable<
      [string, string, string, string]
    >) {
      const key = keys[kind]
      devices[device] ??= { readBytes: 0, writeBytes: 0, readOps: 0, writeOps: 0 }
      if (key !== undefined) devices[device][key] = Number(number)
    }
  }
  add(bytes, { Read: 'readBytes', Write: 'writeBytes' })
  add(operations, { Read: 'readOps', Write: 'writeOps' })
  return devices
}

/** /proc/PID/net is of the network namespace of that process: nobody has to enter it. */
async function networkOf(init: number): Promise<Stats['network']> {
  return parseNetDev(await readFile(`/proc/${init}/net/dev`, 'utf8').catch(() => ''))
}

/** proc(5), /proc/net/dev: eight columns received, eight sent. */
export function parseNetDev(text: string): Stats['network'] {
  const network: Stats['network'] = {}
  for (const line of text.split('\n')) {
    const match = /^\s*([^:|]+):\s*(.*)$/.exec(line)
    const [rxBytes = 0, rxPackets = 0, , , , , , , txBytes = 0, txPackets = 0] = (match?.[2] ?? '')
      .split(/\s+/)
      .map(Number)
    if (match !== null) network[match[1] as string] = { rxBytes, txBytes, rxPackets, txPackets }
  }
  return network
}
