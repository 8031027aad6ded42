// `npm run keys`: what is true of each key of the config language, a line each; it fails when something is missing. That each is typed has
// been said by the compiler, which runs before.
import { CONTAINER_KEYS, EXTENSION_KEYS, GLOBAL_KEYS } from '../lib/config/keys.ts'
import type { Pattern } from '../test/config/samples.ts'
import { examine, PROOFS, UNPROVEN } from '../test/support/proofs.ts'

const tables = [
  ['Keys of a container', CONTAINER_KEYS],
  ['Keys that LXC does not have', EXTENSION_KEYS],
  ['Global keys', GLOBAL_KEYS],
] as const

let missing = 0

function line(name: Pattern): string {
  const { parsed, printed, proven } = examine(name)
  const word = (is: boolean, what: string): string => (is ? what : what.toUpperCase().replace(/^/, 'NOT '))
  if (!(parsed && printed && proven)) missing++
  const how = proven ? `test/${PROOFS.get(name)?.file}` : (UNPROVEN[name] ?? 'no proof')
  return `${name.padEnd(34)} ${word(parsed, 'parsed')}, ${word(printed, 'printed')}, typed, ${word(proven, 'effect proven')}: ${how}`
}

for (const [title, table] of tables) {
  const names = Object.keys(table) as Pattern[]
  console.log(`${title}: ${names.length}\n${names.map(line).join('\n')}\n`)
}
console.log(missing === 0 ? 'none is missing' : `${missing} are missing`)
process.exitCode = missing === 0 ? 0 : 1
