/** Words of LXC's in the values of options: lists with | between, namespaces. */

import { UsageError } from './options.ts'
import type { Unshared } from './unshare.ts'

/** The namespaces as lxc-attach and lxc-unshare name them. */
export const NAMESPACES: Readonly<Record<string, Unshared>> = {
  MOUNT: 'mnt',
  PID: 'pid',
  UTSNAME: 'uts',
  IPC: 'ipc',
  USER: 'user',
  NETWORK: 'net',
  CGROUP: 'cgroup',
}

/** `MOUNT|PID`, as what the words stand for. Throws UsageError for one that is none of them. */
export function readList<V>(text: string, known: Readonly<Record<string, V>>, what: string): V[] {
  return text.split('|').map(word => {
    const value = known[word.trim().toUpperCase()]
    if (value === undefined) throw new UsageError(`${word} is not ${what}: known are ${Object.keys(known).join(', ')}`)
    return value
  })
}
