#!/usr/bin/env node
/** lxc-unshare(1) */
import { exitCode } from '../lib/tools/attached.ts'
import { UsageError, type Values } from '../lib/tools/options.ts'
import { defineTool, main, readNumber } from '../lib/tools/tool.ts'
import type { UnshareOptions } from '../lib/tools/unshare.ts'
import { NAMESPACES, readList } from '../lib/tools/words.ts'

const OPTIONS = {
  namespaces: {
    short: 's',
    value: 'NAMESPACES',
    words: Object.keys(NAMESPACES),
    help: `the new ones, with | between: ${Object.keys(NAMESPACES).join(', ')}`,
  },
  user: { short: 'u', value: 'UID', help: 'with USER: the id inside of who calls; default 0' },
  hostname: { short: 'H', value: 'NAME', help: 'with UTSNAME: the host name inside' },
  ifname: {
    short: 'i',
    value: 'NAME',
    multiple: true,
    help: 'with NETWORK: move this interface of the host in; several may be given',
  },
  daemon: { short: 'd', help: 'do not wait for the end of COMMAND' },
  remount: { short: 'M', help: 'with MOUNT: mount /proc, /dev/shm and /dev/mqueue anew' },
} as const

export const tool = defineTool({
  name: 'lxc-unshare',
  summary: 'Runs a program in new namespaces. It is no container: nothing else keeps it from the host.',
  synopsis: '-s NAMESPACES [--] COMMAND…',
  named: false,
  words: 'command',
  options: OPTIONS,
  exitCodes: {
    N: 'that of COMMAND; 128 and the number of the signal that ended it',
    1: 'the namespaces could not be made',
    127: 'there is no such COMMAND',
  },
  examples: [
    ["lxc-unshare -s 'MOUNT|PID' -M -- ps ax", 'a process list that begins with itself'],
    ["lxc-unshare -s 'UTSNAME|NETWORK' -H lab -i eth1 -- bash", 'a shell with one interface'],
    ["lxc-unshare -s 'USER|MOUNT' -u 0 -- id", 'root of a namespace, without being root'],
  ],
  async run({ options, words }) {
    if (words.length === 0) throw new UsageError('A command to execute in the new namespace is required')
    const { runUnshared } = await import('../lib/tools/unshare.ts')
    return exitCode(await runUnshared(words, readOptions(options)))
  },
})

function readOptions(options: Values<typeof OPTIONS>): UnshareOptions {
  const namespaces = options.namespaces === undefined ? [] : readList(options.namespaces, NAMESPACES, 'a namespace')
  if (namespaces.length === 0) throw new UsageError('missing option --namespaces: there is nothing to unshare')
  const needed = { user: 'USER', hostname: 'UTSNAME', ifname: 'NETWORK', remount: 'MOUNT' } as const
  for (const [option, word] of Object.entries(needed))
    if (options[option as keyof typeof needed] !== undefined && !namespaces.includes(NAMESPACES[word] as 'user'))
      throw new UsageError(`--${option} needs -s ${word}`)
  const id = readNumber(options.user ?? '0', 'user')
  const self = [
    { type: 'uid', container: id, host: process.geteuid?.() ?? 0, range: 1 },
    { type: 'gid', container: id, host: process.getegid?.() ?? 0, range: 1 },
  ] as const
  return {
    namespaces,
    ...(namespaces.includes('user') ? { maps: self, id } : {}),
    ...(options.hostname === undefined ? {} : { hostname: options.hostname }),
    interfaces: options.ifname ?? [],
    remount: options.remount ?? false,
    daemon: options.daemon ?? false,
  }
}

main(import.meta, tool)
