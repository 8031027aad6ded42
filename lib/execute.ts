/** Running a program as the container's only process, under a tiny init: lxc-execute. */

import type { Callbacks } from './callbacks.ts'
import type { Config } from './config/config.ts'
import { numberOfSignal } from './config/signal.ts'
import { ContainerError } from './errors.ts'
import { endOf } from './events.ts'
import { withLock } from './lock.ts'
import { ContainerProcess, type Ending, type Started } from './process.ts'
import { type AttachOptions, checkOptions, processOptions } from './process_options.ts'
import { isMonitored } from './recover.ts'
import { splitCommand } from './spec/process.ts'
import { start } from './start.ts'
import { type Wiring, wire } from './stdio.ts'
import { makeRunDir, type Place } from './store.ts'

/** Starts the container around `command`, or lxc.execute.cmd; the handle is the container's whole life. */
export function execute(
  place: Place,
  config: Config,
  given: readonly string[] | undefined,
  options: AttachOptions,
  hooks?: Callbacks,
): ContainerProcess {
  const command = given ?? commandOf(place, config)
  checkOptions(command, options)
  const wiring = wire(options)
  return new ContainerProcess(
    command,
    processOptions(options, place.name),
    wiring.ends,
    launch(place, config, command, options, wiring, hooks),
  )
}

/** The words of lxc.execute.cmd. Throws ERR_INVALID_OPTION when the config has none. */
function commandOf(place: Place, config: Config): readonly string[] {
  const line = config.value('lxc.execute.cmd')
  if (line !== undefined) return splitCommand(line)
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot execute in container "${place.name}": no command is given`, {
    container: place.name,
    hint: 'name a command, or set lxc.execute.cmd',
  })
}

async function launch(
  place: Place,
  config: Config,
  command: readonly string[],
  options: AttachOptions,
  wiring: Wiring,
  hooks: Callbacks | undefined,
): Promise<Started> {
  makeRunDir(place)
  try {
    return await withLock(`${place.runDir}/operation`, `execute in container "${place.name}"`, {}, async () => {
      refuseRunning(place)
      const size = typeof options.tty === 'object' ? options.tty : { columns: 0, rows: 0 }
      const { monitor, answer } = await start(
        place,
        config,
        {
          command,
          foreground: true,
          minimalInit: true,
          own: wiring.own,
          hooks,
          ...(options.tty ? { terminal: size } : { stdio: wiring.slots }),
        },
        wiring.descriptors,
        {},
      )
      const [pidfd, terminal] = answer.descriptors
      const ended = endOf(monitor, {}, { verb: 'execute in', container: place.name }).then(
        ({ code, signal, oomKilled }): Ending => ({
          code,
          signal: signal === null ? null : numberOfSignal(signal),
          oomKilled,
        }),
      )
      ended.finally(() => monitor.close()).catch(() => undefined)
      return { pid: answer.report.pid, pidfd: pidfd as number, terminal, ended }
    })
  } finally {
    wiring.release()
  }
}

function refuseRunning(place: Place): void {
  if (!isMonitored(place.runDir)) return
  throw new ContainerError('ERR_CONTAINER_RUNNING', `Cannot execute in container "${place.name}": it is running`, {
    container: place.name,
    hint: 'attach() runs a program in a running container',
  })
}
