/** What the tools that start a container can say about its config: `--define`, `--share-net` and its kind. */
import { existsSync } from 'node:fs'
import type { Config } from '../config/config.ts'
import { type OptionTable, UsageError, type Values } from './options.ts'

const share = (what: string) => ({ value: 'NAME|PID', help: `use the ${what} namespace of this container or process` })

export const DEFINING = {
  rcfile: { short: 'f', value: 'FILE', help: 'use this config instead of the container’s' },
  define: { short: 's', value: 'KEY=VALUE', multiple: true, help: 'set a key of the config for this start' },
  'share-net': share('network'),
  'share-ipc': share('IPC'),
  'share-uts': share('UTS'),
  'share-pid': share('pid'),
} as const satisfies OptionTable

/** Applies them; nothing of it is saved. */
export function define(config: Config, options: Values<typeof DEFINING>): void {
  for (const assignment of options.define ?? []) {
    const at = assignment.indexOf('=')
    if (at < 1) throw new UsageError(`--define takes KEY=VALUE, not ${assignment}`)
    config.append(`${assignment.slice(0, at).trim()} = ${assignment.slice(at + 1).trim()}\n`)
  }
  for (const kind of ['net', 'ipc', 'uts', 'pid'] as const) {
    const source = options[`share-${kind}`]
    if (source === undefined) continue
    if (/^\d+$/.test(source) && !existsSync(`/proc/${source}`))
      throw new UsageError(`--share-${kind} names process ${source}, which does not exist`)
    config.set(`lxc.namespace.share.${kind}`, source)
  }
}
