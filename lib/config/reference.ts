/** docs/config.md, written from the tables. */
import { CGROUP_TWINS } from './cgroup_keys.ts'
import { DECISIONS, DIFFERENCES } from './differences.ts'
import type { Key } from './key.ts'
import { CONTAINER_KEYS, EXTENSION_KEYS, GLOBAL_KEYS } from './keys.ts'
import { DROPPED, RENAMED } from './legacy.ts'

/** The reference page in Markdown. */
export function configReference(): string {
  return `${[
    INTRODUCTION,
    '## Keys of a container',
    keyTable(CONTAINER_KEYS),
    '## Keys that LXC does not have',
    'LXC passes over lines that do not begin with `lxc.`, so a config with these still loads there.',
    keyTable(EXTENSION_KEYS),
    '## Global keys (lxc.conf)',
    'Root: `/etc/lxc/lxc.conf`. Others: `~/.config/lxc/lxc.conf`, and nothing of root’s. The first line of a key counts.',
    keyTable(GLOBAL_KEYS),
    '## Names of before LXC 2.1',
    'They are read with a diagnostic and written under the new name. Every `lxc.network.type` begins the next interface.',
    table(
      ['Old', 'New'],
      [
        ...Object.entries(RENAMED).map(names => names.map(code)),
        ...Object.entries(DROPPED).map(([name, why]) => [code(name), `dropped: ${why}`]),
      ],
    ),
    '## cgroup v1 and v2',
    'A key of the version that the host does not have is translated by this table; what is not in it is refused by name. 1024 shares are weight 100, as in the kernel, rounded; what leaves the range of the other version is refused. A swap limit of v1 counts memory too, so it needs the memory limit beside it.',
    table(
      ['v1', 'v2'],
      CGROUP_TWINS.map(names => names.map(code)),
    ),
    '## Differences from liblxc',
    'Measured against liblxc 5.0.2 (Debian 12) with every sample of every key; the test fails for a difference that is not listed.',
    table(
      ['Line', 'liblxc', 'Here', 'Why'],
      DIFFERENCES.map(({ example, lxc, here, why }) => [code(example), lxc, here, why]),
    ),
    'And in meaning:',
    table(
      ['Here', 'liblxc'],
      DECISIONS.map(row => [...row]),
    ),
  ].join('\n\n')}\n`
}

const INTRODUCTION = `# The config language

Written from the tables in \`lib/config\`; \`UPDATE=1 npx tap run test/config/reference.test.ts\` writes it anew.

A config is lines of \`key = value\`. Blanks around both say nothing, one pair of quotes around the value is removed, and
a line is a comment when \`#\` is its first character that is not blank. A list key grows with every line; any other key
has the value of its last line. An empty value clears a list and sets any other key back to its default, where the table
does not say otherwise. \`[i]\` is a number from 0 on, \`*\` the rest of a name.`

const code = (text: string): string => (text === '' ? '' : `\`${text}\``)

function keyTable(keys: Readonly<Record<string, Key>>): string {
  return table(
    ['Key', 'Value', 'Default', 'Empty', 'Since', ''],
    Object.entries(keys).map(([name, key]) => [
      code(name),
      describeValue(key),
      defaultOf(key),
      emptyOf(key),
      key.since,
      key.doc,
    ]),
  )
}

function describeValue({ kind, many, split, members, types }: Key): string {
  const listed = !many
    ? ''
    : split === undefined
      ? ' (list)'
      : ` (list, several a line, ${split === 'blank' ? 'blanks' : 'commas'} between them)`
  const where = types === undefined ? '' : `; for ${types.join(', ')}`
  const names = members === undefined ? '' : `; names: ${members.join(' ')}`
  return kind.describe + listed + where + names
}

function defaultOf({ kind, many, default: value }: Key): string {
  return many || value === undefined ? '' : code(kind.print(value))
}

function emptyOf({ many, empty, clears, kind, begins, default: value }: Key): string {
  if (empty === 'refuse') return 'refused'
  if (typeof empty === 'object') return code(kind.print(empty.value))
  if (clears !== undefined || begins || (kind.words === undefined && kind.describe === 'empty'))
    return 'clears, see right'
  return many ? 'clears' : value === undefined ? 'unset' : 'default'
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
