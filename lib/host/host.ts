/** What this host and this user can do, as far as resolving a Spec depends on it. Read once, cheaply, without running a program. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { findProgram, hasProgram } from '../native/program.ts'
import { type Parts, takeAll } from '../turns.ts'
import { type CgroupHost, readCgroups } from './cgroups.ts'
import { type IdRange, nameOf, readSubordinateIds } from './users.ts'

export interface Host {
  readonly uid: number
  readonly gid: number
  readonly user: string
  /** The caller may write id maps, mounts and cgroups as it likes. */
  readonly root: boolean
  readonly subuids: readonly IdRange[]
  readonly subgids: readonly IdRange[]
  /** newuidmap(1) and newgidmap(1); undefined for root, who needs neither, and when they are not installed. */
  readonly newuidmap: string | undefined
  readonly newgidmap: string | undefined
  readonly cgroups: CgroupHost
  /** The highest capability of this kernel. */
  readonly lastCapability: number
  readonly bootId: string
  /** The directories of /sys that count how often each processor was too hot: what the host does can be read from them. */
  readonly throttles: readonly string[]
}

/** Reads the facts. */
export function readHost(): Host {
  return takeAll(hostParts())
}

/** The same in parts. */
export function* hostParts(): Parts<Host> {
  const uid = process.geteuid?.() ?? 0
  const user = nameOf(uid)
  const helper = (name: string) => (uid !== 0 && hasProgram(name) ? findProgram(name) : undefined)
  const ids = {
    subuids: readSubordinateIds('/etc/subuid', user, uid),
    subgids: readSubordinateIds('/etc/subgid', user, uid),
    newuidmap: helper('newuidmap'),
    newgidmap: helper('newgidmap'),
  }
  yield
  const cgroups = readCgroups()
  yield
  return {
    uid,
    gid: process.getegid?.() ?? 0,
    user,
    root: uid === 0,
    ...ids,
    cgroups,
    lastCapability: Number(line('/proc/sys/kernel/cap_last_cap') || '40'),
    bootId: line('/proc/sys/kernel/random/boot_id'),
    throttles: throttlesBelow('/sys/devices/system/cpu'),
  }
}

/** All processors have one or none has. */
export function throttlesBelow(directory: string): string[] {
  if (!existsSync(`${directory}/cpu0/thermal_throttle`)) return []
  const processors = readdirSync(directory).filter(name => /^cpu\d+$/.test(name))
  return processors.map(name => `${directory}/${name}/thermal_throttle`)
}

function line(path: string): string {
  return readFileSync(path, 'utf8').trim()
}
