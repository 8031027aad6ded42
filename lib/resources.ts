/**
 * The limits of a running container: set live, read back, taken back together when one of them fails; and its control files
 * by name. All paths are computed from the Spec it was started with; nothing that a caller says becomes part of one but the
 * name of a file.
 */
import { readFile, writeFile } from 'node:fs/promises'
import type { CgroupSetting } from './config/cgroup_keys.ts'
import { compileLimits, type Limits } from './config/limits.ts'
import { ContainerError, errnoName } from './errors.ts'
import { type CgroupHost, directoryOf, readCgroups } from './host/cgroups.ts'
import { readHardware } from './host/hardware.ts'
import type { CgroupFile, CgroupHierarchy, CgroupSpec } from './native/spec.ts'
import { controllerOf, holder, placeFiles } from './spec/controls.ts'

/** The cgroups of a container that runs. */
export interface Running {
  readonly name: string
  readonly cgroup: Pick<CgroupSpec, 'hierarchies'>
  /** Read now unless given. */
  readonly host?: CgroupHost
}

/** The directory of a container in one hierarchy. */
export function containerDirectory({ mount, base, path }: CgroupHierarchy): string {
  return directoryOf(mount, base, path)
}

// ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** One file as it was and as it shall be. */
interface Change {
  readonly path: string
  readonly wanted: string
  readonly before: string
}

/**
 * Changes limits at once. Returns the settings that a config keeps (`lxc.cgroup2.FILE`). When one can't be set, those before
 * it are set back; the error is ERR_INVALID_OPTION for a limit that makes no sense, ERR_NO_CGROUP for one that this host can't
 * hold, or the kernel's. On v1 a memory limit below what can't be reclaimed is EBUSY; on v2 the kernel kills (cgroup-v2.rst).
 */
export async function changeLimits(running: Running, limits: Limits): Promise<CgroupSetting[]> {
  const settings = compileLimits(limits, readHardware())
  const host = running.host ?? readCgroups()
  const { hierarchies } = running.cgroup
  const wanted = settings.map(setting => ({ ...setting, version: 2 as const, key: setting.file, place: {} }))
  const files = placeFiles(await withMemory(wanted, hierarchies), host, hierarchies, process.geteuid?.() === 0)
  await apply(running, await inLiveOrder(files, hierarchies))
  return settings
}

/** On v1 a limit of swap is one of the sum: without a new limit of memory it adds to the one that is in force. */
async function withMemory<T extends CgroupSetting & { version: 1 | 2 }>(
  wanted: readonly T[],
  hierarchies: readonly CgroupHierarchy[],
): Promise<T[]> {
  const [swap] = wanted.filter(({ file }) => file === 'memory.swap.max')
  const v1 = memoryOfV1(hierarchies)
  if (swap === undefined || v1 === undefined || wanted.some(({ file }) => file === 'memory.max')) return [...wanted]
  const limit = (await readFile(`${v1}/memory.limit_in_bytes`, 'utf8')).trim()
  return isUnlimited(limit) ? [...wanted] : [{ ...swap, file: 'memory.max', value: limit }, ...wanted]
}

function memoryOfV1(hierarchies: readonly CgroupHierarchy[]): string | undefined {
  const found = hierarchies.find(({ version, controllers }) => version === 1 && controllers.includes('memory'))
  return found === undefined ? undefined : containerDirectory(found)
}

/** v1 counters without a limit read as the highest multiple of a page. */
function isUnlimited(text: string): boolean {
  return text === '-1' || text === 'max' || BigInt(text) >= 2n ** 62n
}

const LIMIT = 'memory.limit_in_bytes'
const SUM = 'memory.memsw.limit_in_bytes'

/**
 * v1 wants memory ≤ memory and swap at every moment: the sum goes first when memory grows beyond it. Where only memory is
 * changed the sum moves along, so that the swap that was allowed stays what it was.
 */
async function inLiveOrder(
  files: readonly CgroupFile[],
  hierarchies: readonly CgroupHierarchy[],
): Promise<CgroupFile[]> {
  const limit = files.find(({ name }) => name === LIMIT)
  const directory = memoryOfV1(hierarchies)
  if (limit === undefined || directory === undefined) return [...files]
  const now = await readFile(`${directory}/${SUM}`, 'utf8').then(
    text => text.trim(),
    () => undefined,
  )
  if (now === undefined) return [...files] // a kernel that doesn't count swap
  let sum = files.find(({ name }) => name === SUM)
  if (sum === undefined && !isUnlimited(now)) {
    const before = (await readFile(`${directory}/${LIMIT}`, 'utf8')).trim()
    const value = isUnlimited(limit.value) ? '-1' : String(BigInt(limit.value) + BigInt(now) - BigInt(before))
    sum = { ...limit, name: SUM, value }
  }
  if (sum === undefined) return [...files]
  const rest = files.filter(({ name }) => name !== LIMIT && name !== SUM)
  const grows = isUnlimited(limit.value) || (!isUnlimited(now) && BigInt(limit.value) > BigInt(now))
  return grows ? [...rest, sum, limit] : [...rest, limit, sum]
}

async function apply(running: Running, files: readonly CgroupFile[]): Promise<void> {
  const done: Change[] = []
  try {
    for (const file of files) done.push(await set(running, file))
  } catch (error) {
    const failures = await takeBack(done)
    if (failures.length === 0 || !(error instanceof ContainerError)) throw error
    const { message, code, path, hint } = error
    throw new ContainerError(code, message.split('\n  hint: ')[0] as string, {
      path,
      hint,
      container: running.name,
      cause: error,
      cleanup: failures,
    })
  }
}

async function takeBack(done: readonly Change[]): Promise<unknown[]> {
  const failures: unknown[] = []
  for (const { path, before, wanted } of done.toReversed()) {
    for (const line of linesToRestore(before, wanted)) await writeFile(path, line).catch(error => failures.push(error))
  }
  return failures
}

/** A file with a line for each device is set back device by device: what was there, or no limit. */
function linesToRestore(before: string, wanted: string): string[] {
  const device = /^(\d+:\d+)\s/.exec(wanted)?.[1]
  if (device === undefined) return [before.split('\n')[0] as string]
  const line = before.split('\n').find(text => text.startsWith(`${device} `))
  if (line !== undefined) return [line]
  return [wanted.includes('=') ? `${device} rbps=max wbps=max riops=max wiops=max` : `${device} 0`]
}

/** Writes one file and makes sure that the kernel took it as it was meant. */
async function set({ name, cgroup }: Running, file: CgroupFile): Promise<Change> {
  const directory = containerDirectory(cgroup.hierarchies[file.hierarchy] as CgroupHierarchy)
  const [used, wanted, before] = await present(directory, file)
  const path = `${directory}/${used}`
  const fail = (error: NodeJS.ErrnoException) => {
    throw refusal(name, used, wanted, path, error)
  }
  await writeFile(path, wanted).catch(fail)
  const after = (await readFile(path, 'utf8').catch(fail)).trim()
  if (agrees(used, wanted, after)) return { path, wanted, before }
  for (const line of linesToRestore(before, wanted)) await writeFile(path, line)
  throw new ContainerError(
    'ERR_FEATURE_MISSING',
    `Cannot limit container ${JSON.stringify(name)}: the kernel made "${after}" of ${used} = ${wanted}`,
    {
      container: name,
      path,
    },
  )
}

/** Which of a file and its fallback exists, and what it says now. */
async function present(directory: string, file: CgroupFile): Promise<[name: string, value: string, before: string]> {
  const tries = [
    [file.name, file.value],
    ...(file.fallbackName === '' ? [] : [[file.fallbackName, file.fallbackValue]]),
  ]
  for (const [name, value] of tries as [string, string][]) {
    const before = await readFile(`${directory}/${name}`, 'utf8').catch(() => undefined)
    if (before !== undefined) return [name, value, before.trim()]
  }
  throw new ContainerError('ERR_NO_CGROUP', `Cannot set "${file.name}": ${directory} has no such file`, {
    path: `${directory}/${file.name}`,
    hint:
      FILE_CURES[controllerOf(file.name)] ??
      'the kernel was built without it, or the controller is not enabled for this container',
  })
}

const FILE_CURES: Readonly<Record<string, string>> = {
  io: 'weights of disks need the bfq scheduler or io.cost: echo bfq > /sys/block/DISK/queue/scheduler',
  blkio: 'weights of disks need the bfq scheduler: echo bfq > /sys/block/DISK/queue/scheduler',
  memory: 'limits of swap need a kernel that counts it: boot with swapaccount=1',
}

const CURES: Readonly<Record<string, string>> = {
  EBUSY: 'it uses more than that now and nothing more can be reclaimed: stop processes in it first',
  EACCES: 'the cgroup is not delegated to this user',
  EPERM: 'the cgroup is not delegated to this user',
  ENODEV: 'name a whole disk, not a partition or a file system without one',
  EINVAL: 'a limit of the cgroup above is stricter, or the value is outside what this kernel takes',
}

function refusal(
  container: string,
  name: string,
  value: string,
  path: string,
  error: NodeJS.ErrnoException,
): ContainerError {
  const [code, text] = errnoName(Math.abs(error.errno ?? 5))
  const { errno, syscall } = error
  return new ContainerError(
    code,
    `Cannot limit container ${JSON.stringify(container)}: write ${path} "${value}": ${code}, ${text}`,
    {
      container,
      errno,
      syscall,
      path,
      hint:
        name.startsWith('memory.memsw') && code === 'EINVAL'
          ? 'memory and swap together may not be less than memory'
          : CURES[code],
      cause: error,
    },
  )
}

/** The largest page of any Linux machine: byte counters are kept in pages, and rounded down to them. */
const PAGE = 65_536

/** Whether a file reads as it was written, in the kernel's own way of writing it. */
export function agrees(name: string, wanted: string, read: string): boolean {
  const device = /^(\d+:\d+)\s+(.*)$/.exec(wanted)
  if (device !== null) return deviceAgrees(device[1] as string, device[2] as string, read)
  const value = (text: string) =>
    text
      .replace(/^default\s+/, '')
      .replace(/\s+/g, ' ')
      .trim()
  const [a, b] = [value(wanted), value(read.split('\n')[0] as string)]
  if (a === b) return true
  if (isAmount(a) && isAmount(b)) {
    if (isUnlimited(a) || isUnlimited(b)) return isUnlimited(a) && isUnlimited(b)
    const huge = /^hugetlb\.(\d+)([KMG])B/.exec(name)
    const unit =
      huge === null ? PAGE : Number(huge[1]) * { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[huge[2] as 'K' | 'M' | 'G']
    return /^(memory|hugetlb)\./.test(name) && BigInt(a) >= BigInt(b) && BigInt(a) - BigInt(b) < BigInt(unit)
  }
  return false
}

function isAmount(text: string): boolean {
  return /^(-1|max|\d+)$/.test(text)
}

/** io.max has `MAJ:MIN rbps=1 wbps=max …`, blkio.throttle.* `MAJ:MIN 1`; what isn't limited may be absent. */
function deviceAgrees(device: string, wanted: string, read: string): boolean {
  const line = read
    .split('\n')
    .find(text => text.startsWith(`${device} `))
    ?.slice(device.length + 1)
  if (line === undefined) return wanted.split(/\s+/).every(word => /^0$|=max$/.test(word))
  const there = line.split(/\s+/)
  return wanted.split(/\s+/).every(word => there.includes(word))
}

// ── control files by name ─────────────────────────────────────────────────────────────────────────────────────────────

/** The text of a control file, without its last line feed. Throws ERR_INVALID_OPTION for what is no name of one here. */
export async function readControl(running: Running, file: string): Promise<string> {
  const path = controlPath(running, file)
  const text = await readFile(path, 'utf8').catch(error => {
    throw accessFailure(running, 'read', file, path, error)
  })
  return text.replace(/\n$/, '')
}

/** Writes a control file as it is. */
export async function writeControl(running: Running, file: string, value: string): Promise<void> {
  const path = controlPath(running, file)
  await writeFile(path, value, { flag: 'r+' }).catch(error => {
    throw accessFailure(running, 'write', file, path, error)
  })
}

function controlPath({ name, cgroup }: Running, file: string): string {
  const refuse = (state: string, hint: string) =>
    new ContainerError(
      'ERR_INVALID_OPTION',
      `Cannot use ${JSON.stringify(file)} of container ${JSON.stringify(name)}: ${state}`,
      { container: name, hint },
    )
  if (typeof file !== 'string' || !/^[A-Za-z0-9_][\w-]*(\.[\w-]+)+$/.test(file)) {
    throw refuse('it is not the name of a control file', 'a name is like "memory.max", without a directory')
  }
  const index =
    holder(file, 2, cgroup.hierarchies) ?? holder(file, 1, cgroup.hierarchies) ?? unifiedCore(file, cgroup.hierarchies)
  const hierarchy = index === undefined ? undefined : cgroup.hierarchies[index]
  if (hierarchy !== undefined) return `${containerDirectory(hierarchy)}/${file}`
  const controllers = cgroup.hierarchies.flatMap(one => one.controllers)
  throw refuse(
    `the container has no controller "${controllerOf(file)}"`,
    `it has ${controllers.join(', ') || 'no cgroups'}`,
  )
}

/** cpu.stat is in every v2 cgroup, with its controller or without. */
function unifiedCore(file: string, hierarchies: readonly CgroupHierarchy[]): number | undefined {
  const index = file.startsWith('cpu.stat') ? hierarchies.findIndex(({ version }) => version === 2) : -1
  return index < 0 ? undefined : index
}

function accessFailure(
  { name, cgroup }: Running,
  verb: string,
  file: string,
  path: string,
  error: NodeJS.ErrnoException,
): ContainerError {
  const [code, text] = errnoName(Math.abs(error.errno ?? 5))
  const versions = [...new Set(cgroup.hierarchies.map(({ version }) => `v${version}`))].join(' and ')
  return new ContainerError(
    code,
    `Cannot ${verb} ${JSON.stringify(file)} of container ${JSON.stringify(name)}: ${verb} ${path}: ${code}, ${text}`,
    {
      container: name,
      errno: error.errno,
      syscall: error.syscall,
      path,
      hint: code === 'ENOENT' ? `this host has cgroup ${versions}, whose files have other names` : undefined,
      cause: error,
    },
  )
}
