// docs/escapes.md: each known way out, and the test that tries it. `UPDATE=1` writes it anew.
import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { type Escape, excuse, GROUPS, type Trial, trials } from '../support/escapes.ts'

const page = new URL('../../docs/escapes.md', import.meta.url)
const tried = trials()
const rows = new Map(GROUPS.flatMap(group => Object.entries(group.rows)))

function line(id: string, row: Escape): string {
  const { tries, seen, but } = row
  const all = tried.get(id) ?? []
  const files = [...new Set(all.map(({ file }) => `\`${file.replace(/\.test\.ts$/, '')}\``))].join(', ')
  const where = files === '' ? `**none**: ${excuse(row)}` : files + (but === undefined ? '' : `; not: ${but}`)
  return `| ${id} | ${seen} | ${tries} | ${where} | ${all.some(({ control }) => control) ? 'yes' : ''} |`
}

function write(): string {
  const groups = GROUPS.map(
    ({ title, rows }) =>
      `## ${title}\n\n| | Seen in | What is tried, and must come of it | Tried by | Control |\n|---|---|---|---|---|\n${Object.entries(
        rows,
      )
        .map(([id, row]) => line(id, row))
        .join('\n')}`,
  )
  const without = [...rows].filter(([id]) => !tried.has(id))
  const applicable = without.filter(([, row]) => row.open?.startsWith('not applicable') !== true)
  return `# Known ways out, and the tests that try them

Runtimes have been escaped from in the same few ways again and again. Each has a row here, and each test that tries one has the row's id in
its title; \`test/escape/table.test.ts\` makes this page of both (\`UPDATE=1\` writes it), and fails for a row without a test or an
excuse and for a title with an id that is no row. A test of this kind has a canary on the host, looks from the host's side, and has a
control: the same try where the protection is off, which must succeed, or the test proves nothing. The last column says which have one.

${rows.size} rows: ${rows.size - without.length} are tried, ${applicable.length} are open, ${without.length - applicable.length} are about things that there are not here.
What the default profile lets through to the kernel at all is counted by \`test/escape/surface\`, whose lists may not grow (docs/security.md).

${groups.join('\n\n')}
`
}

t.test('each row is tried or excused, and each id is a row', async t => {
  for (const [id, row] of rows) {
    const why = excuse(row)
    t.not(
      tried.has(id),
      why !== undefined,
      `${id}: ${why === undefined ? 'a test has it in its title' : `excused (${why}), and so without a test`}`,
    )
  }
  for (const [id, [first]] of tried as ReadonlyMap<string, [Trial]>)
    t.ok(rows.has(id), `${id} of "${first.title}" in ${first.file}`)
})

t.test('docs/escapes.md is current', async t => {
  if (process.env.UPDATE === '1') writeFileSync(page, write())
  t.equal(readFileSync(page, 'utf8'), write(), 'UPDATE=1 npx tap run test/escape/table.test.ts writes it anew')
})
