#!/usr/bin/env node
/** lxc-wait(1) */
import { ContainerError, nearest } from '../lib/errors.ts'
import type { State } from '../lib/events.ts'
import { UsageError } from '../lib/tools/options.ts'
import { defineTool, main, readNumber } from '../lib/tools/tool.ts'

const STATES = ['STOPPED', 'STARTING', 'RUNNING', 'STOPPING', 'ABORTING', 'FREEZING', 'FROZEN', 'THAWED'] as const

export const tool = defineTool({
  name: 'lxc-wait',
  lenient: true,
  summary: 'Waits until a container is in one of some states.',
  options: {
    state: { short: 's', value: 'STATE|STATE…', words: STATES, help: `the states: ${STATES.join(', ')}` },
    timeout: { short: 't', value: 'SEC', help: 'how long; default -1: for ever' },
  },
  details:
    'A container that does not exist is STOPPED: one that was ephemeral may be gone by the time that it is waited for.',
  exitCodes: { 0: 'it is in one of the states', 1: 'the time is over, or it does not exist' },
  examples: [["lxc-wait web -s 'STOPPED|FROZEN' -t 30", 'until it is stopped or frozen, for half a minute at most']],
  async run({ options, open }) {
    if (options.state === undefined) throw new UsageError('missing option --state')
    const seconds = options.timeout === undefined ? -1 : readNumber(options.timeout, 'timeout', -1)
    const states = options.state.split('|').map(readState)
    try {
      await (await open()).wait(states, seconds < 0 ? {} : { timeout: seconds * 1000 })
      return 0
    } catch (error) {
      if (error instanceof ContainerError && error.code === 'ERR_TIMEOUT') return 1
      const isGone = error instanceof ContainerError && error.code === 'ERR_CONTAINER_NOT_FOUND'
      if (isGone && states.includes('STOPPED')) return 0
      throw error
    }
  },
})

function readState(word: string): State {
  const state = word.trim().toUpperCase()
  if ((STATES as readonly string[]).includes(state)) return state as State
  const near = nearest(state, STATES)
  throw new UsageError(`unknown state ${word}${near === undefined ? '' : `; did you mean ${near}?`}`)
}

main(import.meta, tool)
