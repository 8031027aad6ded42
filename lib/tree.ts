/** Directory trees of containers: removed without leaving them, whatever a container has put there. */
import { randomUUID } from 'node:crypto'
import { lstat, readFile, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { empty } from './confine/ownership.ts'
import { ContainerError } from './errors.ts'
import { ifMissing } from './host/file.ts'

/** The prefix of a directory that nobody takes for a container: it is being made, or removed. */
export const CREATION = '.caisson-'

/** Removes a container's directory: out of sight first, so that nobody finds half of it, whoever is killed. */
export async function discardTree(place: { lxcpath: string; name: string; directory: string }): Promise<void> {
  await refuseMounts(place.directory)
  const gone = path.join(place.lxcpath, `${CREATION}${place.name}-${randomUUID()}`)
  const moved = await rename(place.directory, gone).then(() => true, ifMissing)
  if (moved) await removeTree(gone)
}

/**
 * Removes a tree. Links are removed, not followed; a mount below it is another file system and stops the removal, so that nothing of the
 * host that was bound there is lost.
 */
export async function removeTree(directory: string): Promise<void> {
  const info = await lstat(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (info === undefined) return
  await refuseMounts(directory)
  const remove = () => rm(directory, { recursive: true, force: true, maxRetries: 3 })
  await remove().catch(async (error: NodeJS.ErrnoException) => {
    // A container of a user without rights: its files belong to the user's subordinate ids.
    if (!['EACCES', 'EPERM'].includes(error.code ?? '') || !(await empty(directory))) throw error
    await remove()
  })
}

async function refuseMounts(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').flatMap(line => {
    const point = line
      .split(' ')[4]
      ?.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    return point === directory || point?.startsWith(`${directory}/`) ? [point] : []
  })
  if (mounts.length === 0) return
  throw new ContainerError('EBUSY', `Cannot remove ${directory}: ${mounts[0]} is mounted below it`, {
    path: mounts[0],
    hint: `umount ${mounts[0]}`,
  })
}
