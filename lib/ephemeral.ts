/**
 * Ephemeral containers (lxc.ephemeral): gone when they stop. The monitor removes the directory itself, if it is root's; what
 * needs programs (lvm, zfs) or the ids of a user namespace is removed by whoever sees the end: `stop`, `exited`, or recover().
 *
 * A start puts a mark into the container's directory. A container that has the mark and does not run has ended, whoever was
 * killed meanwhile, a power cut included; one without it has not been started yet.
 */
import { existsSync } from 'node:fs'
import { readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Config } from './config/config.ts'
import { runHooks } from './hooks.ts'
import { ifMissing } from './host/file.ts'
import { destroyStorage } from './rootfs.ts'
import { type Place, placeOf } from './store.ts'
import { discardTree } from './tree.ts'

const MARK = 'ephemeral'

const markOf = (place: Place): string => path.join(place.directory, MARK)

/** From here on its end is its removal. */
export async function markStarted(place: Place): Promise<void> {
  await writeFile(markOf(place), '', { mode: 0o600 })
}

/** It was not started after all. */
export async function unmark(place: Place): Promise<void> {
  await rm(markOf(place), { force: true })
}

/** Whether it was started, and so is to be removed unless it runs. */
export function wasStarted(place: Place): boolean {
  return existsSync(markOf(place))
}

/** Removes what is left of a container that has ended; false when there is nothing. The caller knows that it does not run. A hook that fails keeps it. */
export async function removeEnded(place: Place): Promise<boolean> {
  if (!wasStarted(place)) return false
  const snaps = path.join(place.directory, 'snaps')
  const names = ((await readdir(snaps).catch(ifMissing)) ?? []).filter(name => /^snap\d+$/.test(name))
  if (existsSync(place.configFile)) {
    const { name, configFile } = place
    const config = await Config.read(configFile, { lenient: true })
    await runHooks(config, 'destroy', { name, configFile, environment: process.env }, {})
  }
  for (const each of [...names.map(name => placeOf(name, snaps)), place]) {
    if (existsSync(each.configFile)) await destroyStorage(each, await Config.read(each.configFile, { lenient: true }))
  }
  await discardTree(place)
  return true
}
