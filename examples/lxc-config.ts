#!/usr/bin/env node
/** lxc-config(1) */
import { globalConfig } from '../lib/config/global.ts'
import { GLOBAL_KEYS } from '../lib/config/keys.ts'
import type { GlobalKey } from '../lib/config/names.ts'
import { nearest } from '../lib/errors.ts'
import { UsageError } from '../lib/tools/options.ts'
import { defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-config',
  summary: 'Shows the keys of lxc.conf and their values.',
  synopsis: 'KEY',
  named: false,
  words: 'any',
  wordsAre: Object.keys(GLOBAL_KEYS),
  options: { list: { short: 'l', help: 'the keys that there are' } },
  exitCodes: { 0: 'it was shown', 1: 'there is no such key' },
  examples: [
    ['lxc-config -l', 'the keys'],
    ['lxc-config lxc.lxcpath', 'where containers are'],
  ],
  async run({ options, words: [key], say }) {
    if (options.list) for (const each of Object.keys(GLOBAL_KEYS)) say(each)
    else if (key === undefined) throw new UsageError('missing key: lxc-config -l lists them')
    else if (key in GLOBAL_KEYS) say(globalConfig(key as GlobalKey) ?? '')
    else throw new UsageError(unknownKey(key))
    return 0
  },
})

function unknownKey(key: string): string {
  const near = nearest(key, Object.keys(GLOBAL_KEYS))
  return `Unknown configuration item: ${key}${near === undefined ? '' : `; did you mean ${near}?`}`
}

main(import.meta, tool)
