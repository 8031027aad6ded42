/**
 * Interfaces of containers whose run directory is gone with all that it said: each carries its container's tag, and that is enough to
 * know whose it is and that nobody lives behind it.
 */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { isInitAlive } from './adopt.ts'
import { removeOrphans } from './interfaces.ts'
import { listLinks } from './links.ts'
import { isLocked, tryLock } from './lock.ts'
import { native } from './native/binding.ts'
import { pathHash, readTag } from './network/names.ts'
import { makeRunDir, type Place, placeOf, removeRunDir } from './store.ts'

/** Removes those of one lxcpath; the names of the containers. Where the caller has no rights over the host's network there are none. */
export async function recoverLinks(lxcpath: string): Promise<string[]> {
  if (process.geteuid?.() !== 0) return []
  const links = await listLinks({}, { verb: 'look for interfaces that nobody owns' })
  const tags = links.map(({ alias }) => readTag(alias)).filter(tag => tag?.path === pathHash(lxcpath))
  const names = [...new Set(tags.map(tag => tag?.container ?? ''))]
  const recovered: string[] = []
  for (const name of names) if (await removeOf(placeOf(name, lxcpath))) recovered.push(name)
  return recovered
}

/** Under the operation lock: a container that is being started replaces its orphans by itself. */
async function removeOf(place: Place): Promise<boolean> {
  if (isAlive(place)) return false
  makeRunDir(place)
  const lock = tryLock(path.join(place.runDir, 'operation'), 'recover')
  if (lock === undefined) return false
  try {
    return !isAlive(place) && (await removeOrphans(place, path.join(place.runDir, 'net')))
  } finally {
    native().addon.closeDescriptors([lock])
    if (!existsSync(place.directory)) await removeRunDir(place)
  }
}

const isAlive = ({ runDir }: Place): boolean => isLocked(path.join(runDir, 'lock')) || isInitAlive(runDir)
