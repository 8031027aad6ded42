/** Finding containers on disk. */
import { accessSync, existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { ContainerError } from './errors.ts'
import { ifMissing } from './host/file.ts'
import { finishRename } from './move.ts'
import { isMonitored } from './recover.ts'
import { explainRights } from './rights.ts'
import { type Place, placeOf, resolveLxcpath, validateName } from './store.ts'

/** Whether LXC has begun to make it and has not said that it is done: its mark lies there as long. */
export const isPartial = (place: Place): boolean => existsSync(path.join(place.directory, 'partial'))

/** Whether it has a config. Throws EACCES where this user may not know. */
function isThere({ name, configFile }: Place): boolean {
  try {
    accessSync(configFile)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES')
      throw explainRights(error, `Cannot open container "${name}"`, configFile, name)
    return false
  }
}

/** The place of a container that exists. Throws ERR_CONTAINER_NOT_FOUND, EACCES. */
export async function findPlace(name: string, lxcpath: string | undefined): Promise<Place> {
  validateName(name)
  const place = placeOf(name, resolveLxcpath(lxcpath))
  await finishRename(place)
  if (isPartial(place)) {
    throw new ContainerError('ERR_CONTAINER_NOT_FOUND', `Cannot open container "${name}": LXC has not finished it`, {
      container: name,
      path: path.join(place.directory, 'partial'),
      hint: 'wait for lxc-create; when that has died, remove what it left with lxc-destroy',
    })
  }
  // One that was started with a config from elsewhere can be reached while it runs.
  if (isThere(place) || isMonitored(place.runDir)) return place
  throw new ContainerError(
    'ERR_CONTAINER_NOT_FOUND',
    `Cannot open container "${name}": ${place.configFile} does not exist`,
    {
      container: name,
      path: place.configFile,
      hint: `Container.list({ path: ${JSON.stringify(place.lxcpath)} }) names those that do`,
    },
  )
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory).catch(ifMissing)) ?? []
  } catch (error) {
    throw explainRights(error, 'Cannot list containers', directory)
  }
}

/** The places of the containers of an lxcpath, by name: of those on disk, of those that run, or of both. */
export async function listPlaces(
  lxcpath: string | undefined,
  state: 'defined' | 'active' | 'all' = 'defined',
): Promise<Place[]> {
  const at = resolveLxcpath(lxcpath)
  const defined = state === 'active' ? [] : await namesIn(at)
  const started = state === 'defined' ? [] : await namesIn(path.dirname(placeOf('any', at).runDir))
  const isActive = (place: Place) => state !== 'defined' && isMonitored(place.runDir)
  return [...new Set([...defined, ...started])]
    .toSorted()
    .flatMap(name => (/^[A-Za-z0-9]/.test(name) ? [placeOf(name, at)] : []))
    .filter(place => (state !== 'active' && existsSync(place.configFile) && !isPartial(place)) || isActive(place))
}
