/** What fails before there is a monitor goes to the container's log (lxc.log.file), too. */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Config } from './config/config.ts'
import { ContainerError } from './errors.ts'
import { failureLine, resolveLog } from './spec/log.ts'
import type { Place } from './store.ts'

const FLAGS =
  constants.O_WRONLY |
  constants.O_APPEND |
  constants.O_CREAT |
  constants.O_NOFOLLOW |
  constants.O_NOCTTY |
  constants.O_NONBLOCK

/** Runs `act`; what it throws is logged and thrown. A log that cannot be written is named as the failure's own failure. */
export async function logged<T>(place: Place, config: Config, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    // An error with a step comes from the monitor, which has logged it.
    const file = error instanceof ContainerError && error.step !== undefined ? '' : resolveLog(config, place)?.file
    if (file) {
      await append(file, failureLine(place.name, error as Error, new Date())).catch((reason: Error) => {
        process.emitWarning(`Cannot write the log of container "${place.name}": ${reason.message}`)
      })
    }
    throw error
  }
}

/** Never through a link, and only to a regular file: the monitor opens it in the same way. */
async function append(file: string, line: string): Promise<void> {
  const handle = await open(file, FLAGS, 0o600)
  try {
    if ((await handle.stat()).isFile()) await handle.write(line)
  } finally {
    await handle.close()
  }
}
