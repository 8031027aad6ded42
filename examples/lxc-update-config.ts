#!/usr/bin/env node
/** lxc-update-config(1) */
import { copyFile, readFile } from 'node:fs/promises'
import { updateConfig } from '../lib/config/update.ts'
import { writeWhole } from '../lib/host/file.ts'
import { UsageError } from '../lib/tools/options.ts'
import { defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-update-config',
  summary: 'Rewrites a config of before LXC 2.1 with the present names of its keys; FILE.backup keeps the old one.',
  named: false,
  options: { config: { short: 'c', value: 'FILE', help: 'the config' } },
  exitCodes: { 0: 'it was rewritten', 1: 'it could not be read or written, and is as it was' },
  examples: [['lxc-update-config -c /var/lib/lxc/web/config', 'and /var/lib/lxc/web/config.backup is as it was']],
  async run({ options: { config }, log }) {
    if (config === undefined) throw new UsageError('missing option --config')
    const { text, changes } = updateConfig(await readFile(config, 'utf8'), config)
    for (const change of changes) log('INFO', JSON.stringify(change))
    await copyFile(config, `${config}.backup`)
    await writeWhole(config, text, 0o644)
    return 0
  },
})

main(import.meta, tool)
