/** Removing a container for good. */
import { existsSync } from 'node:fs'
import type { Callbacks } from './callbacks.ts'
import type { Config } from './config/config.ts'
import { refuseDependents } from './dependents.ts'
import { ContainerError } from './errors.ts'
import { runHooks } from './hooks.ts'
import { readHost } from './host/host.ts'
import { releaseIds } from './ids.ts'
import { releaseNetwork } from './prepare_network.ts'
import { recoverPlace } from './recover.ts'
import { destroyStorage } from './rootfs.ts'
import { destroyAllSnapshots, listSnapshots } from './snapshot.ts'
import type { Place } from './store.ts'
import { discardTree } from './tree.ts'

/** Removes the stopped container of a place, its storage, and with `snapshots` its snapshots. A hook that fails keeps it. */
export async function destroy(
  place: Place,
  config: Config,
  hooks: Callbacks,
  options: { snapshots?: boolean | undefined },
): Promise<void> {
  const snapshots = await listSnapshots(place)
  if (snapshots.length > 0 && !options.snapshots) {
    throw new ContainerError(
      'ERR_CONTAINER_BUSY',
      `Cannot destroy container "${place.name}": it has ${snapshots.length} snapshots`,
      {
        container: place.name,
        hint: 'give { snapshots: true } to destroy them, too',
      },
    )
  }
  await refuseDependents(place, 'destroy')
  await recoverPlace(place)
  await hooks.runDestroy(place)
  const { name, configFile } = place
  // An ephemeral one may have been removed by its end, which has run them.
  if (existsSync(configFile)) await runHooks(config, 'destroy', { name, configFile, environment: process.env }, {})
  await destroyAllSnapshots(place)
  await destroyStorage(place, config)
  await discardTree(place)
  if (config.interfaces().length > 0) await releaseNetwork(place)
  await releaseIds(readHost(), place.directory, {})
}
