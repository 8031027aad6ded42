// The native tests: C++ programs that print TAP, as they are and once more under the address and undefined-behaviour sanitizers.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../..', import.meta.url))
const programs = readdirSync(new URL('.', import.meta.url))
  .filter(name => /^test_\w+\.cc$/.test(name))
  .map(name => name.slice(0, -'.cc'.length))

for (const name of programs) t.spawn(`${root}build/native/${name}`, [], {}, name)

t.test('sanitized', t => {
  const build = spawnSync(
    process.execPath,
    ['node_modules/cmake-js/bin/cmake-js', 'compile', '-B', 'Debug', '-O', 'build-sanitized', '--CDSANITIZE=ON'],
    { cwd: root, encoding: 'utf8' },
  )
  t.equal(build.status, 0, 'builds', { output: build.stdout + build.stderr })
  for (const name of programs) t.spawn(`${root}build-sanitized/native/${name}`, [], {}, name)
  t.end()
})
