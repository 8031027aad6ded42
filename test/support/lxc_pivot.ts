/** What the host's own LXC leaves behind: the cgroup lxc.pivot, in which its monitors end. */
import { existsSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { readCgroups } from '../../lib/host/cgroups.ts'
import { until } from './until.ts'

/** Called before LXC runs. The answer, once its containers have ended, waits for their monitors and removes what was not there before. */
export function watchPivots(): () => Promise<void> {
  const places = readCgroups().hierarchies.map(({ mount }) => join(mount, 'lxc.pivot'))
  const pivots = places.filter(place => !existsSync(place))
  return async () => void (await until(() => pivots.every(isRemoved), "LXC's monitors have ended"))
}

function isRemoved(cgroup: string): boolean {
  try {
    rmdirSync(cgroup)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
  return true
}
