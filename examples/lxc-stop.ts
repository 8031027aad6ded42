#!/usr/bin/env node
/** lxc-stop(1) */
import { ContainerError } from '../lib/errors.ts'
import { UsageError } from '../lib/tools/options.ts'
import { defineTool, main, readNumber } from '../lib/tools/tool.ts'

const NOT_RUNNING = 2

export const tool = defineTool({
  name: 'lxc-stop',
  containers: 'active',
  lenient: true,
  summary: 'Asks a container to shut down, and kills it when it has not done so in time.',
  options: {
    reboot: { short: 'r', help: 'ask it to reboot' },
    nowait: { short: 'W', help: 'ask, and do not wait for the end' },
    timeout: { short: 't', value: 'SEC', help: 'how long it may take; default 60, -1: for ever' },
    kill: { short: 'k', help: 'kill it at once' },
    nokill: { help: 'do not kill it after the timeout' },
    nolock: { help: 'accepted: stopping takes no lock that somebody could hold' },
  },
  exitCodes: { 0: 'it has stopped', 1: 'it could not be stopped', [NOT_RUNNING]: 'it was not running' },
  examples: [
    ['lxc-stop web -t 10', 'asks, and kills what is left after ten seconds'],
    ['lxc-stop web -k', 'kills at once'],
    ['lxc-stop web -r', 'asks for a reboot'],
  ],
  async run({ options, name, open, warn }) {
    const { reboot, kill, nokill, nowait } = options
    if (kill && (reboot || nokill || options.timeout !== undefined))
      throw new UsageError('--kill goes with none of --reboot, --timeout and --nokill')
    const seconds = options.timeout === undefined ? 60 : readNumber(options.timeout, 'timeout', -1)
    const waiting = seconds < 0 ? {} : { timeout: nowait ? 0 : seconds * 1000 }
    try {
      const container = await open()
      if (kill) await container.stop({ force: true })
      else if (reboot) await container.reboot(waiting)
      else if (nokill || nowait || seconds < 0) await container.shutdown(waiting)
      else await container.stop({ timeout: seconds * 1000 })
    } catch (error) {
      if (!(error instanceof ContainerError)) throw error
      if (nowait && error.code === 'ERR_TIMEOUT') return 0
      if (error.code !== 'ERR_CONTAINER_NOT_RUNNING' && error.code !== 'ERR_CONTAINER_NOT_FOUND') throw error
      if (!options.quiet)
        warn(`${name} is not running${error.code === 'ERR_CONTAINER_NOT_FOUND' ? ': it does not exist' : ''}`)
      return NOT_RUNNING
    }
    return 0
  },
})

main(import.meta, tool)
