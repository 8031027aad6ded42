/** What limits are measured against: the machine's memory, processors and disks. */
import { readFileSync, statSync } from 'node:fs'
import { totalmem } from 'node:os'
import { parseCpuList } from '../config/cpu_list.ts'
import { ContainerError } from '../errors.ts'

export interface Hardware {
  /** Bytes of memory. */
  readonly memory: number
  /** The processors that are online. */
  readonly cpus: readonly number[]
  /** `MAJOR:MINOR` of the whole disk that a path is, or is stored on. Throws ERR_INVALID_OPTION when there is none. */
  device(path: string): string
}

/** Reads this machine. */
export function readHardware(): Hardware {
  return {
    memory: totalmem(),
    cpus: parseCpuList(readFileSync('/sys/devices/system/cpu/online', 'utf8').trim()) ?? [0],
    device: diskOf,
  }
}

function diskOf(path: string): string {
  if (/^\d+:\d+$/.test(path)) return path
  const refuse = (state: string) =>
    new ContainerError('ERR_INVALID_OPTION', `Cannot limit input and output of "${path}": ${state}`, {
      hint: 'name a block device such as /dev/sda, or a directory of a file system on one',
    })
  const status = statSync(path, { throwIfNoEntry: false })
  if (status === undefined) throw refuse('it does not exist')
  const device = status.isBlockDevice() ? status.rdev : status.dev
  const [major, minor] = [majorOf(device), minorOf(device)]
  if (major === 0) throw refuse('it is not stored on a block device')
  return wholeDisk(major, minor)
}

/** A partition has no queue of its own: the disk's is what is throttled. */
function wholeDisk(major: number, minor: number): string {
  const sys = `/sys/dev/block/${major}:${minor}`
  try {
    readFileSync(`${sys}/partition`)
    return readFileSync(`${sys}/../dev`, 'utf8').trim()
  } catch {
    return `${major}:${minor}`
  }
}

/** makedev(3): 12 bits of major number, 20 of minor number, interleaved. */
function majorOf(device: number): number {
  return Number((BigInt(device) >> 8n) & 0xfffn)
}
function minorOf(device: number): number {
  const bits = BigInt(device)
  return Number((bits & 0xffn) | ((bits >> 12n) & 0xfff00n))
}
