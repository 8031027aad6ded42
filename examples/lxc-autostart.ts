#!/usr/bin/env node
/** lxc-autostart(1) */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Container } from '../lib/container.ts'
import type { Values } from '../lib/tools/options.ts'
import { defineTool, main, readNumber } from '../lib/tools/tool.ts'

const SOME_FAILED = 2
const OPTIONS = {
  kill: { short: 'k', help: 'kill them' },
  list: { short: 'L', help: 'only list those to which it would be done, with their delays where there is one to come' },
  reboot: { short: 'r', help: 'ask them to reboot' },
  shutdown: { short: 's', help: 'ask them to shut down' },
  all: { short: 'a', help: 'of all groups' },
  'ignore-auto': { short: 'A', help: 'also those whose lxc.start.auto is 0' },
  groups: {
    short: 'g',
    value: 'GROUPS',
    multiple: true,
    help: 'of these groups, one after the other; an empty name: of none. Default: of none',
  },
  timeout: { short: 't', value: 'SEC', help: 'how long a shutdown may take; default 60' },
} as const

export const tool = defineTool({
  name: 'lxc-autostart',
  summary: 'Starts, stops or lists the containers that start with the host, in the order of lxc.start.order.',
  named: false,
  options: OPTIONS,
  details: `Containers of a group come in the order of lxc.start.order and then of their names; after a start or a reboot lxc.start.delay passes.
An empty name in GROUPS, as after the comma of "onboot,", means those of no group.`,
  exitCodes: { 0: 'all went well', 1: 'all failed', [SOME_FAILED]: 'some failed' },
  examples: [
    ['lxc-autostart -g onboot,', 'starts those of the group onboot, and then those of none'],
    ['lxc-autostart -s -a -A', 'shuts all down'],
  ],
  async run({ options, lxcpath, say, warn, log }) {
    const { Container: Containers } = await import('../lib/container.ts')
    const timeout = 1000 * readNumber(options.timeout ?? '60', 'timeout', -1)
    const all = await Containers.list(lxcpath === undefined ? {} : { path: lxcpath })
    const chosen = choose(all, options)
    const ends = options.kill || options.shutdown
    let failed = 0
    for (const container of chosen) {
      const delay = container.config.value('lxc.start.delay') ?? 0
      try {
        const runs = (await container.initPid()) !== null
        if (runs !== Boolean(ends || options.reboot)) continue
        if (options.list) say(ends ? container.name : `${container.name} ${delay}`)
        else await act(container, options, timeout)
        if (!ends && !options.list) await sleep(delay * 1000)
      } catch (error) {
        failed += 1
        log('ERROR', (error as Error).message)
        if (!options.quiet) warn((error as Error).message)
      }
    }
    return failed === 0 ? 0 : failed === chosen.length ? 1 : SOME_FAILED
  },
})

/** Those that are meant: group by group, in each by order and then by name; nobody twice. */
function choose(all: readonly Container[], options: Values<typeof OPTIONS>): Container[] {
  const order = (container: Container) => container.config.value('lxc.start.order') ?? 0
  const sorted = all
    .filter(({ config }) => options['ignore-auto'] || config.value('lxc.start.auto'))
    .toSorted((a, b) => order(a) - order(b) || (a.name < b.name ? -1 : 1))
  if (options.all) return sorted
  const groups = (options.groups ?? ['']).flatMap(list => list.split(','))
  const of = ({ config }: Container) => config.get('lxc.group') ?? []
  const found = groups.flatMap(group =>
    sorted.filter(each => (group === '' ? of(each).length === 0 : of(each).includes(group))),
  )
  return [...new Set(found)]
}

/** Does it to one that runs, or starts one that does not. */
async function act(container: Container, options: Values<typeof OPTIONS>, timeout: number): Promise<void> {
  if (options.kill) await container.stop({ force: true })
  else if (options.shutdown) await (timeout < 0 ? container.shutdown() : container.stop({ timeout }))
  else if (options.reboot) await container.reboot()
  else await container.start()
}

main(import.meta, tool)
