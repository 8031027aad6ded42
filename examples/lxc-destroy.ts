#!/usr/bin/env node
/** lxc-destroy(1) */
import type { Container } from '../lib/container.ts'
import { dependentsOf } from '../lib/dependents.ts'
import { placeFor } from '../lib/store.ts'
import { defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-destroy',
  summary: 'Removes a container from disk.',
  options: {
    force: { short: 'f', help: 'stop it first' },
    snapshots: { short: 's', help: 'and its snapshots, and the copies that stand on its storage' },
  },
  details: `Nothing is asked. A container that runs, has snapshots, or on whose storage others stand is refused without the option
that says so.`,
  examples: [
    ['lxc-destroy web', 'a stopped one'],
    ['lxc-destroy web -f -s', 'whatever it does and has'],
  ],
  async run({ options, open, log }) {
    const container = await open()
    if (options.snapshots) await destroyDependents(container, options.force ?? false)
    await container.destroy({ force: options.force ?? false, snapshots: options.snapshots ?? false })
    log('INFO', `Destroyed container ${container.name}${options.snapshots ? ' including snapshots' : ''}`)
    return 0
  },
})

/** The copies that stand on its storage, and those that stand on theirs. */
async function destroyDependents({ name, path }: Container, force: boolean): Promise<void> {
  const { Container: Containers } = await import('../lib/container.ts')
  for (const pair of await dependentsOf(placeFor(name, path))) {
    const above = await Containers.open(pair.name, { path: pair.lxcpath, lenient: true })
    await destroyDependents(above, force)
    await above.destroy({ force, snapshots: true })
  }
}

main(import.meta, tool)
