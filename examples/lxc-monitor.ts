#!/usr/bin/env node
/** lxc-monitor(1) */
import { constants } from 'node:os'
import { UsageError } from '../lib/tools/options.ts'
import { defineTool, main } from '../lib/tools/tool.ts'
import type { NamedEvent } from '../lib/watch_containers.ts'

export const tool = defineTool({
  name: 'lxc-monitor',
  summary: 'Tells of every change of state of the containers, until it is interrupted.',
  synopsis: '[REGEX]',
  named: false,
  words: 'any',
  options: {
    name: { short: 'n', value: 'REGEX', help: 'only of those whose whole name matches; default .*' },
    quit: { short: 'Q', help: 'accepted: there is no lxc-monitord that could quit' },
  },
  details: 'Several --lxcpath are watched together.',
  examples: [["lxc-monitor -n 'web|db'", 'a line for each change of these two']],
  async run({ options, words, lxcpaths, say }) {
    if (options.quit) return 0
    const pattern = readPattern(options.name ?? words[0] ?? '.*')
    const { watchContainers } = await import('../lib/watch_containers.ts')
    const tell = async (path: string | undefined) => {
      for await (const event of watchContainers(path === undefined ? {} : { path }))
        if (pattern.test(event.container)) say(lineOf(event))
    }
    await Promise.all(lxcpaths.map(tell))
    return 0
  },
})

/** In LXC's words; what a signal ended has 128 and its number. */
function lineOf(event: NamedEvent): string {
  if (event.type === 'state') return `'${event.container}' changed state to [${event.state}]`
  const status = event.code ?? 128 + (event.signal === null ? 0 : constants.signals[event.signal])
  return `'${event.container}' exited with status [${status}]`
}

function readPattern(text: string): RegExp {
  try {
    return new RegExp(`^(?:${text})$`)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

main(import.meta, tool)
