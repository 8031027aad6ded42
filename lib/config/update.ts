/** What lxc-update-config(1) does: a config of before LXC 2.1 under the new names. */

import { Config, type Diagnostic } from './config.ts'
import { RENAMED } from './legacy.ts'

/**
 * The new text, and what was done to it line by line. Unknown keys and wrong values stay as they are. Keys in comments
 * are renamed too, except those of networks, which have no number there.
 */
export function updateConfig(text: string, file?: string): { text: string; changes: readonly Diagnostic[] } {
  const config = Config.parse(text, { lenient: true, includes: false, ...(file === undefined ? {} : { file }) })
  return {
    text: config.toString().replace(COMMENTED, (_, start: string, key: string) => start + (RENAMED[key] ?? key)),
    changes: config.diagnostics.filter(({ kind }) => kind === 'legacy'),
  }
}

const COMMENTED = /^([ \t]*#+[ \t]*)(lxc\.[a-z_]+)(?=[ \t]*=)/gm
