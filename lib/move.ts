/**
 * A container's directory under another name. The config of the new name is written into the old directory first, as `config.next`; the
 * rename of the directory is the moment of the change; then `config.next` becomes `config`, by whoever opens the container next if this
 * process is killed in between. At every moment exactly one name resolves.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename as renameFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { refuseTaken } from './aside.ts'
import { Config } from './config/config.ts'
import { refuseDependents, renameDependent } from './dependents.ts'
import { ifMissing, syncDirectory, writeWhole } from './host/file.ts'
import { readHost } from './host/host.ts'
import { moveIds } from './ids.ts'
import { holdTree, releaseTree } from './image/holders.ts'
import { ownsVolume, setVolume, treesBelow, volumeOf } from './rootfs.ts'
import { backendOf } from './storage/backends.ts'
import type { Place } from './store.ts'

const NEXT = 'config.next'

/** Moves it within a file system. `names` are those of datasets and logical volumes, where they are not the container's. */
export async function moveDirectory(
  place: Place,
  to: Place,
  names: { readonly from: string; readonly to: string } = { from: place.name, to: to.name },
): Promise<void> {
  refuseTaken(to)
  await refuseDependents(place, 'rename')
  const before = await Config.read(place.configFile)
  const config = Config.parse(
    (await readFile(place.configFile, 'utf8')).replaceAll(`${place.directory}/`, `${to.directory}/`),
  )
  if (config.get('lxc.uts.name') === place.name) config.set('lxc.uts.name', to.name)
  const volume = volumeOf(before)
  await moveIds(readHost(), place.directory, to.directory, {})
  for (const tree of treesBelow(volume)) await holdTree(tree, to.directory)
  if (volume !== undefined && ownsVolume(place, before)) {
    const [from, next] = [
      { directory: place.directory, name: names.from },
      { directory: to.directory, name: names.to },
    ]
    setVolume(config, await backendOf(volume).moved(volume, from, next))
  }
  await writeWhole(path.join(place.directory, NEXT), mark(to) + config.toString(), 0o644)
  await mkdir(to.lxcpath, { recursive: true, mode: 0o711 })
  await renameFile(place.directory, to.directory)
  await syncDirectory(to.lxcpath)
  await finishRename(to)
  await renameDependent(place, to)
  for (const tree of treesBelow(volume)) await releaseTree(tree, place.directory)
}
/** The first line of `config.next` says whose it will be: before the moment it belongs to a rename that did not happen. */
const mark = (place: Place): string => `# ${place.directory}\n`

/** Completes a rename that was cut off after its moment. */
export async function finishRename(place: Place): Promise<void> {
  const next = path.join(place.directory, NEXT)
  if (!existsSync(next)) return
  const text = (await readFile(next, 'utf8').catch(ifMissing)) ?? ''
  if (!text.startsWith(mark(place))) return
  await writeWhole(place.configFile, text.slice(mark(place).length), 0o644)
  await rm(next, { force: true })
}
