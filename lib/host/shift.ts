/** How ids of a container's view stand on disk, where a file system cannot show them through an idmapped mount. */
import { ContainerError } from '../errors.ts'

/** One stretch of ids that is shown inside as `container…` and stands on disk as `host…`. */
export interface Shift {
  readonly type: 'uid' | 'gid' | 'both'
  readonly container: number
  readonly host: number
  readonly range: number
}

/** Where an id of the container's view stands on disk. Throws when the map does not hold it. */
export function shiftId(shift: readonly Shift[] | undefined, type: 'uid' | 'gid', id: number): number {
  if (shift === undefined) return id
  for (const entry of shift) {
    if (entry.type !== type && entry.type !== 'both') continue
    if (id >= entry.container && id < entry.container + entry.range) return entry.host + id - entry.container
  }
  throw new ContainerError('ERR_ID_NOT_GRANTED', `Cannot store ${type} ${id}: the id map does not hold it`)
}
