#!/usr/bin/env node
/** lxc-freeze(1) */
import { defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-freeze',
  containers: 'active',
  lenient: true,
  summary: 'Stops all processes of a container where they are.',
  options: {},
  exitCodes: { 0: 'all stand still', 1: 'it does not run' },
  examples: [['lxc-freeze web', 'stops them']],
  async run({ open }) {
    await (await open()).freeze()
    return 0
  },
})

main(import.meta, tool)
