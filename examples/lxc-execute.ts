#!/usr/bin/env node
/** lxc-execute(1) */
import { splitCommand } from '../lib/spec/process.ts'
import { execCode, follow, stdioOptions } from '../lib/tools/attached.ts'
import { DEFINING, define } from '../lib/tools/define.ts'
import { UsageError } from '../lib/tools/options.ts'
import { defineTool, main, readNumber } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-execute',
  containers: 'stopped',
  summary: 'Runs one program as a container, under a minimal init; the container ends with it.',
  synopsis: '[--] COMMAND…',
  words: 'command',
  options: {
    daemon: { short: 'd', help: 'run it in the background' },
    ...DEFINING,
    uid: { short: 'u', value: 'UID', help: 'the user inside' },
    gid: { short: 'g', value: 'GID', help: 'the group inside' },
  },
  details: `Without COMMAND lxc.execute.cmd is run. The container need not have been made: --rcfile says what it is. Without a
root file system it sees the host's.`,
  exitCodes: {
    N: 'that of the program; when a signal ended it, this program ends by the same',
    1: 'it could not be started',
    126: 'the program cannot be run',
    127: 'there is no such program',
  },
  examples: [
    ['lxc-execute web -- make test', 'a program in place of its init'],
    ['lxc-execute job -f job.conf -u 1000 -- id', 'a container that is nothing but a file'],
  ],
  async run({ options, words, open, warn }) {
    const container = await open({ undefined: true })
    define(container.config, options)
    if (options.uid !== undefined) container.config.set('lxc.init.uid', readNumber(options.uid, 'uid'))
    if (options.gid !== undefined) container.config.set('lxc.init.gid', readNumber(options.gid, 'gid'))
    const command = words.length > 0 ? words : splitCommand(container.config.value('lxc.execute.cmd') ?? '')
    if (command.length === 0) throw new UsageError('missing command, and no lxc.execute.cmd')
    if (options.daemon) {
      await container.start({ command })
      return 0
    }
    try {
      const { code, signal } = await follow(container.execute(command, { ...stdioOptions(), reject: false }))
      return signal ?? code
    } catch (error) {
      const code = execCode(error)
      if (code === undefined) throw error
      if (!options.quiet) warn(`${container.name}: ${(error as Error).message}`)
      return code
    }
  },
})

main(import.meta, tool)
