#!/usr/bin/env node
/** lxc-usernsexec(1) */
import { ContainerError } from '../lib/errors.ts'
import { readHost } from '../lib/host/host.ts'
import type { Shift } from '../lib/host/shift.ts'
import { exitCode } from '../lib/tools/attached.ts'
import { UsageError } from '../lib/tools/options.ts'
import { defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-usernsexec',
  summary: 'Runs a program as root of a new user namespace, in a mount namespace of its own.',
  synopsis: '[--] [COMMAND…]',
  named: false,
  words: 'command',
  options: {
    map: {
      short: 'm',
      value: '[u|g|b]:INSIDE:OUTSIDE:RANGE',
      multiple: true,
      help: 'map so many ids of users, groups or both; default: all that /etc/subuid and /etc/subgid grant the caller',
    },
    self: { short: 's', help: 'map the caller itself, too, behind the others' },
  },
  details: `COMMAND is /bin/sh when none is named. Ids that are not the caller's own are mapped by newuidmap(1) and newgidmap(1),
unless root does it: /etc/subuid and /etc/subgid have to grant them.`,
  exitCodes: {
    N: 'that of COMMAND; 128 and the number of the signal that ended it',
    1: 'the namespace could not be made',
    127: 'there is no such COMMAND',
  },
  examples: [
    ['lxc-usernsexec -- rm -rf ~/.local/share/lxc/old', 'removes files that belong to ids of a container'],
    ['lxc-usernsexec -m b:0:100000:65536 -- cat /proc/self/uid_map', 'shows the map'],
  ],
  async run({ options, words }) {
    const given = options.map === undefined ? grantedMaps() : options.map.map(readMap)
    const maps = options.self ? [...given, ...selfMaps(given)] : given
    const { runUnshared } = await import('../lib/tools/unshare.ts')
    const command = words.length > 0 ? words : ['/bin/sh']
    return exitCode(await runUnshared(command, { namespaces: ['user', 'mnt'], maps, id: 0 }))
  },
})

const TYPES = { u: 'uid', g: 'gid', b: 'both' } as const

function readMap(text: string): Shift {
  const [, letter = 'b', container, host, range] = /^(?:([ugb]):)?(\d+):(\d+):(\d+)$/.exec(text) ?? []
  if (container === undefined || Number(range) === 0)
    throw new UsageError(`--map takes u:INSIDE:OUTSIDE:RANGE, with u, g or b, not ${text}`)
  return {
    type: TYPES[letter as keyof typeof TYPES],
    container: Number(container),
    host: Number(host),
    range: Number(range),
  }
}

/** All ranges that the caller has, one behind the other. */
function grantedMaps(): Shift[] {
  const { subuids, subgids } = readHost()
  if (subuids.length === 0 || subgids.length === 0)
    throw new ContainerError('ERR_NO_SUBORDINATE_IDS', 'Failed to find subuid or subgid allocation', {
      hint: 'usermod --add-subuids and --add-subgids grant ids; --map says which ones are mapped',
    })
  const behind = (type: 'uid' | 'gid', ranges: readonly { first: number; count: number }[]) => {
    let container = 0
    return ranges.map(({ first, count }) => {
      container += count
      return { type, container: container - count, host: first, range: count }
    })
  }
  return [...behind('uid', subuids), ...behind('gid', subgids)]
}

/** Who calls gets the ids behind those that are mapped. */
function selfMaps(maps: readonly Shift[]): Shift[] {
  const next = (type: 'uid' | 'gid') =>
    Math.max(0, ...maps.filter(map => map.type === type || map.type === 'both').map(map => map.container + map.range))
  return [
    { type: 'uid', container: next('uid'), host: process.geteuid?.() ?? 0, range: 1 },
    { type: 'gid', container: next('gid'), host: process.getegid?.() ?? 0, range: 1 },
  ]
}

main(import.meta, tool)
