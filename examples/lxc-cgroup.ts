#!/usr/bin/env node
/** lxc-cgroup(1) */
import { UsageError } from '../lib/tools/options.ts'
import { defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-cgroup',
  containers: 'active',
  lenient: true,
  summary: 'Reads or writes a file of the cgroups of a running container.',
  synopsis: 'FILE [VALUE]',
  words: 'any',
  options: {},
  details: `Of several hierarchies the one that has the file is meant. On cgroup v2 devices.allow and devices.deny change the device
program.`,
  examples: [
    ['lxc-cgroup web memory.max', 'prints it'],
    ['lxc-cgroup web memory.max 256M', 'writes it'],
  ],
  async run({ words, open, say }) {
    const [file, ...value] = words
    if (file === undefined) throw new UsageError('missing state object: the name of a cgroup file, as memory.max')
    const { cgroup } = await open()
    if (value.length > 0) await cgroup.set(file, value.join(' '))
    else say((await cgroup.get(file)).replace(/\n$/, ''))
    return 0
  },
})

main(import.meta, tool)
