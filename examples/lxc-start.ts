#!/usr/bin/env node
/** lxc-start(1) */
import { writeFile } from 'node:fs/promises'
import type { Container } from '../lib/container.ts'
import { ContainerError } from '../lib/errors.ts'
import { DEFINING, define } from '../lib/tools/define.ts'
import { type Call, defineTool, main } from '../lib/tools/tool.ts'

const OPTIONS = {
  daemon: { short: 'd', help: 'run it in the background (default)' },
  foreground: { short: 'F', help: 'run it on this terminal, which is its console; it ends with this program' },
  ...DEFINING,
  console: { short: 'c', value: 'FILE', help: 'a terminal of the host that is its console' },
  'console-log': { short: 'L', value: 'FILE', help: 'append all output of the console to this file' },
  'close-all-fds': { short: 'C', help: 'accepted: no descriptor of the caller is ever passed on' },
  pidfile: { short: 'p', value: 'FILE', help: 'write the pid of its init there' },
} as const

export const tool = defineTool({
  name: 'lxc-start',
  containers: 'stopped',
  summary: 'Starts a container.',
  synopsis: '[--] [COMMAND…]',
  words: 'command',
  options: OPTIONS,
  details: `COMMAND is run in place of lxc.init.cmd. With --rcfile the container need not have been made: the file says all of it,
and nothing is left of it when it has stopped.`,
  exitCodes: {
    0: 'it runs, or did so already',
    1: 'it could not be started',
    N: 'with --foreground: that of its init; 128 and the number of the signal that ended it',
  },
  examples: [
    ['lxc-start web', 'in the background'],
    ['lxc-start web -F', 'on this terminal'],
    ['lxc-start web -s lxc.cgroup2.memory.max=256M', 'with a key of the config set for this time'],
    ['lxc-start job -f job.conf -F -- /bin/make', 'a container that is nothing but a file'],
  ],
  async run(call) {
    const { options, warn } = call
    const container = await call.open({ undefined: true })
    if ((await container.initPid()) !== null) {
      warn(`${container.name}: Container is already running`)
      return 0
    }
    define(container.config, options)
    if (options.console !== undefined) container.config.set('lxc.console.path', options.console)
    if (options['console-log'] !== undefined) container.config.set('lxc.console.logfile', options['console-log'])
    try {
      return await start(call, container)
    } catch (error) {
      if (error instanceof ContainerError && !options.quiet) {
        warn('The container failed to start')
        if (!options.foreground) warn('To get more details, run the container in foreground mode')
        warn('Additional information can be obtained by setting the --logfile and --logpriority options')
      }
      throw error
    }
  },
})

async function start({ options, words, log }: Call<typeof OPTIONS>, container: Container): Promise<number> {
  const foreground = options.foreground === true
  const command = words.length > 0 ? { command: words } : {}
  const onNote = (note: string) => log('WARN', note)
  const steps = await container.start({ ...command, foreground, trace: options.logfile !== undefined, onNote })
  for (const { step, guest, nanoseconds } of steps)
    log('TRACE', `${step} ${guest ? 'inside' : 'outside'}: ${(Number(nanoseconds) / 1e6).toFixed(3)} ms`)
  if (options.pidfile !== undefined) await writeFile(options.pidfile, `${await container.initPid()}\n`)
  if (!foreground) return 0
  const { stay } = await import('../lib/tools/foreground.ts')
  return stay(container)
}

main(import.meta, tool)
