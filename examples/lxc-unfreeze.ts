#!/usr/bin/env node
/** lxc-unfreeze(1) */
import { defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-unfreeze',
  containers: 'active',
  lenient: true,
  summary: 'Lets the processes of a frozen container go on.',
  options: {},
  exitCodes: { 0: 'they go on', 1: 'it does not run' },
  examples: [['lxc-unfreeze web', 'lets them go on']],
  async run({ open }) {
    await (await open()).unfreeze()
    return 0
  },
})

main(import.meta, tool)
