// docs/config.md says what the tables say.
import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { configReference } from '../../lib/config/reference.ts'

const file = new URL('../../docs/config.md', import.meta.url)

t.test('docs/config.md is current', async t => {
  if (process.env.UPDATE === '1') writeFileSync(file, configReference())
  t.equal(
    readFileSync(file, 'utf8'),
    configReference(),
    'UPDATE=1 npx tap run test/config/reference.test.ts writes it anew',
  )
})
