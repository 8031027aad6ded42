/** Making a directory of a container aside, where nobody takes it for one, and putting it in its place by one rename. */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import path from 'node:path'
import { ContainerError } from './errors.ts'
import { tryLock } from './lock.ts'
import { native } from './native/binding.ts'
import { explainRights } from './rights.ts'
import type { Place } from './store.ts'
import { CREATION, removeTree } from './tree.ts'

/** Throws ERR_CONTAINER_EXISTS when the name is taken. */
export function refuseTaken(place: Place): void {
  if (!existsSync(place.directory)) return
  throw new ContainerError(
    'ERR_CONTAINER_EXISTS',
    `Cannot create container "${place.name}": ${place.directory} exists`,
    {
      container: place.name,
      path: place.directory,
      hint: 'choose another name, or destroy that container first',
    },
  )
}

/** A directory of ours, locked while we live; removed with everything in it when `act` fails. */
export async function withAside(place: Place, act: (aside: string) => Promise<void>): Promise<void> {
  const aside = path.join(place.lxcpath, `${CREATION}${place.name}-${randomUUID()}`)
  await mkdir(aside, { mode: 0o700 }).catch(error => {
    throw explainRights(error, `Cannot create container "${place.name}"`, place.lxcpath, place.name)
  })
  const lock = tryLock(path.join(aside, 'lock'), `create container "${place.name}"`)
  try {
    await act(aside)
  } catch (error) {
    await removeTree(aside)
    throw error
  } finally {
    if (lock !== undefined) native().addon.closeDescriptors([lock])
  }
}

/** Puts what was made aside in its place: from here on it is a container. */
export async function publish(place: Place, aside: string): Promise<void> {
  refuseTaken(place)
  await rename(aside, place.directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOTEMPTY' || error.code === 'EEXIST') refuseTaken(place)
    throw error
  })
}
