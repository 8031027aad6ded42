/**
 * Which containers stand on the storage of others, in LXC's files: `lxc_snapshots` of the one below lists those above, as
 * pairs of lines lxcpath and name; `lxc_rdepends` of the one above lists those below.
 */
import { existsSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { ContainerError } from './errors.ts'
import { ifMissing, writeWhole } from './host/file.ts'
import { type Place, placeOf } from './store.ts'

type Pair = Pick<Place, 'lxcpath' | 'name'>

const ABOVE = 'lxc_snapshots'
const BELOW = 'lxc_rdepends'

async function readPairs(directory: string, file: string): Promise<Pair[]> {
  const text = (await readFile(path.join(directory, file), 'utf8').catch(ifMissing)) ?? ''
  const lines = text.split('\n').filter(line => line !== '')
  return lines.flatMap((lxcpath, at) =>
    at % 2 === 0 && lines[at + 1] !== undefined ? [{ lxcpath, name: lines[at + 1] as string }] : [],
  )
}

async function writePairs(directory: string, file: string, pairs: readonly Pair[]): Promise<void> {
  const target = path.join(directory, file)
  if (pairs.length === 0) await rm(target, { force: true })
  else await writeWhole(target, pairs.map(pair => `${pair.lxcpath}\n${pair.name}\n`).join(''), 0o644)
}

const isSame = (a: Pair, b: Pair): boolean => a.lxcpath === b.lxcpath && a.name === b.name

/** The containers that stand on this one. One that is gone counts no more. */
export async function dependentsOf(place: Place): Promise<Pair[]> {
  const pairs = await readPairs(place.directory, ABOVE)
  const living = await Promise.all(
    pairs.map(async pair => {
      const below = await readPairs(placeOf(pair.name, pair.lxcpath).directory, BELOW)
      return below.some(one => isSame(one, place)) ? [pair] : []
    }),
  )
  return living.flat()
}

/** Notes in `directory`, where the container `above` is being made, and in the one below that it stands on that. */
export async function addDependent(below: Place, above: Place, directory: string): Promise<void> {
  const pairs = await readPairs(below.directory, ABOVE)
  if (!pairs.some(pair => isSame(pair, above))) await writePairs(below.directory, ABOVE, [...pairs, above])
  await writePairs(directory, BELOW, [...(await readPairs(directory, BELOW)), below])
}

/** Notes whose layers a container has that is made in `directory`: those that lie in another container. Its snapshots go with that one. */
export async function dependOnLayers(layers: readonly string[], above: Place, directory: string): Promise<void> {
  const owners = new Set(layers.map(layer => path.dirname(layer)))
  for (const owner of owners) {
    const below = placeOf(path.basename(owner), path.dirname(owner))
    if (above.directory === owner || above.directory.startsWith(`${owner}/`) || !existsSync(below.configFile)) continue
    await addDependent(below, above, directory)
  }
}

/** Takes it back, when the one above goes. */
export async function removeDependent(above: Place): Promise<void> {
  for (const pair of await readPairs(above.directory, BELOW)) {
    const below = placeOf(pair.name, pair.lxcpath)
    const pairs = await readPairs(below.directory, ABOVE)
    if (pairs.length > 0)
      await writePairs(
        below.directory,
        ABOVE,
        pairs.filter(one => !isSame(one, above)),
      )
  }
}

/** A renamed container stands on what it stood on; called after the rename. */
export async function renameDependent(from: Place, to: Place): Promise<void> {
  for (const pair of await readPairs(to.directory, BELOW)) {
    const below = placeOf(pair.name, pair.lxcpath)
    const others = (await readPairs(below.directory, ABOVE)).filter(one => !isSame(one, from))
    await writePairs(below.directory, ABOVE, [...others, to])
  }
}

/** A copy stands on what its source stands on. */
export async function copyDependencies(source: Place, above: Place, directory: string): Promise<void> {
  for (const pair of await readPairs(source.directory, BELOW)) {
    await addDependent(placeOf(pair.name, pair.lxcpath), above, directory)
  }
}

/** Throws ERR_CONTAINER_BUSY when others stand on it. */
export async function refuseDependents(place: Place, verb: string): Promise<void> {
  const [first] = await dependentsOf(place)
  if (first === undefined) return
  throw new ContainerError(
    'ERR_CONTAINER_BUSY',
    `Cannot ${verb} container "${place.name}": "${first.name}" stands on its storage`,
    {
      container: place.name,
      hint: `destroy "${first.name}" first`,
    },
  )
}
