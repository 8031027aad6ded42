/**
 * The control files that a config, or a call of `limit()`, asks for: each in the hierarchy that has its controller, in the
 * words of that hierarchy's version, in an order that the kernel accepts.
 */
import { type CgroupSetting, translateCgroup } from '../config/cgroup_keys.ts'
import type { Entry } from '../config/config.ts'
import type { Place } from '../config/mistake.ts'
import { ContainerError } from '../errors.ts'
import { type CgroupHost, cureFor, hierarchyWith } from '../host/cgroups.ts'
import type { CgroupFile, CgroupHierarchy } from '../native/spec.ts'

/** One file that is asked for, and in which version's words. */
export interface Wanted extends CgroupSetting {
  readonly version: 1 | 2
  /** What to call it in an error: the key of a config, or the file. */
  readonly key: string
  readonly place: Place
}

/** The file that a key names; undefined for `lxc.cgroup.dir` and the like, which say where and not what. */
export function fileOf({ name }: Pick<Entry, 'name'>): string | undefined {
  return /^lxc\.cgroup2?\.(?!(?:dir|relative|pattern|use)(?:\.|$))(.+)$/.exec(name)?.[1]
}

/** The controller of a file: what stands before the first dot; 'cgroup' for cgroup.freeze and the like. */
export function controllerOf(file: string): string {
  return file.split('.')[0] as string
}

/** What the other version calls a controller. */
function counterpart(controller: string): string {
  return { io: 'blkio', blkio: 'io', cpuacct: 'cpu' }[controller] ?? controller
}

/**
 * The files that a config asks for. Many configs say the same for both versions, for whatever host they meet: of a controller
 * that both families mention, only the family of the version that the controller has here is taken.
 */
export function wantedFiles(
  entries: readonly Entry[],
  host: CgroupHost,
  hierarchies: readonly CgroupHierarchy[],
): Wanted[] {
  const all = entries.flatMap((entry): Wanted[] => {
    const file = fileOf(entry)
    if (file === undefined || controllerOf(file) === 'devices') return [] // devices.ts
    const version = entry.name.startsWith('lxc.cgroup2.') ? 2 : 1
    const place = { file: entry.line.file, line: entry.line.number }
    return [{ version, file, value: String(entry.value), key: entry.name, place }]
  })
  return all.filter(({ version, file }) => {
    const controller = controllerOf(file)
    const rivals = all.filter(one => one.version !== version).map(one => controllerOf(one.file))
    if (!rivals.includes(controller) && !rivals.includes(counterpart(controller))) return true
    return holder(file, version, hierarchies) !== undefined || hierarchyWith(host, controller) === undefined
  })
}

/** Index of the hierarchy of a version that has a file. */
export function holder(file: string, version: number, hierarchies: readonly CgroupHierarchy[]): number | undefined {
  // cgroup.freeze needs no controller, nor has io.pressure needed one since Linux 5.2.
  const core = version === 2 && /^cgroup\.|^(cpu|memory|io|irq)\.pressure$/.test(file)
  const index = hierarchies.findIndex(
    hierarchy => hierarchy.version === version && (core || hierarchy.controllers.includes(controllerOf(file))),
  )
  return index < 0 ? undefined : index
}

/** Each file where it belongs. Throws ERR_NO_CGROUP or ERR_CONFIG_UNSUPPORTED for what can't be held. */
export function placeFiles(
  wanted: readonly Wanted[],
  host: CgroupHost,
  hierarchies: readonly CgroupHierarchy[],
  root: boolean,
): CgroupFile[] {
  const here = wanted.flatMap(({ file, value, version }) => {
    const index = holder(file, version, hierarchies)
    return index === undefined ? [] : [fileFor(index, { file, value })]
  })
  const carried = ([1, 2] as const).flatMap(version => {
    const strangers = wanted.filter(
      one => one.version === version && holder(one.file, version, hierarchies) === undefined,
    )
    const other = version === 1 ? 2 : 1
    for (const one of strangers) {
      const controller = controllerOf(one.file)
      if (holder(`${counterpart(controller)}.`, other, hierarchies) === undefined) {
        throw missing(one, controller, cureFor(host, controller, root))
      }
    }
    return translate(strangers, other).flatMap(setting => {
      const index = holder(setting.file, other, hierarchies)
      return index === undefined ? [] : [fileFor(index, setting)]
    })
  })
  return inOrder([...here, ...carried])
}

/**
 * Files of v2 that v1 has only something near to, which is what `Limits` say they mean there: a soft limit that counts when
 * the host is short, a weight on v1's own scale (10 to 1000 around 500, systemd's BLKIO_WEIGHT), swap that isn't used.
 */
const NEAR: Readonly<Record<string, (value: string, all: ReadonlyMap<string, string>) => CgroupSetting | undefined>> = {
  'memory.high': value => ({ file: 'memory.soft_limit_in_bytes', value: value === 'max' ? '-1' : value }),
  'io.weight': value => ({ file: 'blkio.weight', value: String(Math.min(1000, Math.max(10, weightOf(value) * 5))) }),
  'memory.swap.max': (value, all) =>
    value === '0' && !all.has('memory.max') ? { file: 'memory.swappiness', value: '0' } : undefined,
}

function translate(settings: readonly CgroupSetting[], to: 1 | 2): CgroupSetting[] {
  const all = new Map(settings.map(({ file, value }) => [file, value]))
  const near = (setting: CgroupSetting) => (to === 1 ? NEAR[setting.file]?.(setting.value, all) : undefined)
  const exact = settings.filter(setting => near(setting) === undefined)
  return [...translateCgroup(exact, to), ...settings.map(near).filter(setting => setting !== undefined)]
}

function weightOf(value: string): number {
  return Number(value.replace(/^default\s+/, ''))
}

/** BFQ knows weights from 1 to 1000 only; its range is laid over v2's as systemd does it (cgroup-util.h, BFQ_WEIGHT). */
function bfqWeight(weight: number): string {
  return String(weight <= 100 ? weight : Math.round(100 + ((weight - 100) * 900) / 9900))
}

/** Where disks are weighed by BFQ, the file has another name and scale. */
const FALLBACKS: Readonly<Record<string, (weight: number) => CgroupSetting>> = {
  'io.weight': weight => ({ file: 'io.bfq.weight', value: bfqWeight(weight) }),
  'blkio.weight': weight => ({ file: 'blkio.bfq.weight', value: bfqWeight(Math.round(weight / 5)) }),
}

function fileFor(hierarchy: number, { file, value }: CgroupSetting): CgroupFile {
  const fallback = FALLBACKS[file]?.(weightOf(value))
  const { file: fallbackName = '', value: fallbackValue = '' } = fallback ?? {}
  return { hierarchy, name: file, value, optional: false, fallbackName, fallbackValue }
}

function missing({ key, place }: Wanted, controller: string, hint: string): ContainerError {
  const state = `no cgroup hierarchy that this user may use has the controller "${controller}"`
  return new ContainerError('ERR_NO_CGROUP', `Cannot set "${key}": ${state}`, { hint, ...place })
}

/** A default of the library, in whichever hierarchy has it; undefined when none has. */
export function defaultFile(setting: CgroupSetting, hierarchies: readonly CgroupHierarchy[]): CgroupFile | undefined {
  const index = holder(setting.file, 2, hierarchies) ?? holder(setting.file, 1, hierarchies)
  return index === undefined ? undefined : { ...fileFor(index, setting), optional: true }
}

/** v1 refuses a sum of memory and swap below the memory that is allowed: memory first. */
function inOrder(files: readonly CgroupFile[]): CgroupFile[] {
  const late = (file: CgroupFile) => Number(file.name === 'memory.memsw.limit_in_bytes')
  return [...files].sort((a, b) => late(a) - late(b))
}
