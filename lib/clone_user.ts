/** What is otherwise when an ordinary user copies a container: files have ids of the container on disk, and nothing can be mounted for them. */
import path from 'node:path'
import type { Config } from './config/config.ts'
import { runConfined, WORK } from './confine/confine.ts'
import { grantedIds, rootAmong } from './confine/ownership.ts'
import { ContainerError } from './errors.ts'
import { readHost } from './host/host.ts'
import type { Shift } from './host/shift.ts'
import { allocateIds, RANGE } from './ids.ts'
import type { Waiting } from './lock.ts'
import type { Content } from './storage/view.ts'
import type { Place } from './store.ts'

const isUser = (): boolean => process.geteuid?.() !== 0

/** Throws ERR_FEATURE_MISSING for what a user cannot have of a copy, before anything of it is made. */
export function refuseForUser(source: Place, config: Config, isClone: boolean): void {
  if (!isUser() || !isClone || config.value('lxc.hook.clone').length === 0) return
  throw new ContainerError(
    'ERR_FEATURE_MISSING',
    `Cannot clone "${source.name}": its lxc.hook.clone is run with the copy mounted, which only root can do`,
    { container: source.name, hint: 'clear lxc.hook.clone, or give a function as hook' },
  )
}

/** Whether all of a container's ids are one range, as `idmap: 'auto'` gives it. */
export function isWholeRange(maps: readonly Shift[]): boolean {
  return maps.length > 0 && maps.every(map => map.container === 0 && map.range === RANGE)
}

/** Gives a container that is being made a range of its own. */
export async function renewIds(config: Config, place: Place, aside: string, waiting: Waiting): Promise<void> {
  const { first, count } = await allocateIds(readHost(), place.directory, aside, waiting)
  config.clear('lxc.idmap').set('lxc.idmap', `u 0 ${first} ${count}`).set('lxc.idmap', `g 0 ${first} ${count}`)
}

/**
 * A range of its own for a user's copy, whose files are then written with it. Undefined: ids stay on disk as they are, because the copy
 * keeps them, there is no other range, or they are shown through a map.
 */
export async function idsOfCopy(
  content: Content,
  config: Config,
  place: Place,
  aside: string,
  options: Waiting & { readonly newIds: boolean },
): Promise<readonly Shift[] | undefined> {
  const maps = content.shift ?? []
  if (!isUser() || !options.newIds || content.volume.type !== 'dir' || !isWholeRange(maps)) return undefined
  await renewIds(config, place, aside, options)
  const own = config.value('lxc.idmap')
  return own[0]?.host === maps[0]?.host ? undefined : own
}

/** Runs a script of sh(1) as the root of the copy, with its root file system and the owner of that as arguments before `args`. */
export async function runOnRoot(
  script: string,
  rootfs: string,
  maps: readonly Shift[],
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const shift = grantedIds()
  const [directory, name] = [path.dirname(rootfs), path.basename(rootfs)]
  const words = ['-euc', script, path.join(WORK, name), ...args, rootAmong(shift, maps)]
  await runConfined('sh', words, { directory, shift, signal })
}
