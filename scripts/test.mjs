// `npm test`: from set-up to the virtual machine, the cheap stages first; the first stage that fails ends the run.
//
//   npm test                     all stages
//   npm test -- unit system      only these (and the set-up)
//
// The last line says how many tests passed, failed and were skipped. Tap's own closing line is where the counts come from; a
// stage that is no test run (set-up, typecheck, lint) counts as one test.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const results = join(root, 'build/results')

/** A test file belongs to the stage of its directory; what lies elsewhere below test/ is a unit test. */
const stages = [
  { name: 'setup', command: ['scripts/setup.mjs', '--tests'] },
  { name: 'typecheck', command: ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.test.json'] },
  { name: 'lint', command: ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'] },
  { name: 'unit' },
  { name: 'native', directory: 'test/native/' },
  { name: 'system', directory: 'test/system/' },
  // Machines of their own, each with one processor: two at once are in nobody's way.
  { name: 'vm', directory: 'test/vm/', jobs: 2 },
  { name: 'package', directory: 'test/package/' },
]

function testsOf({ directory }) {
  const others = stages.flatMap(stage => stage.directory ?? [])
  return readdirSync(join(root, 'test'), { recursive: true })
    .map(name => `test/${name}`)
    .filter(file => file.endsWith('.test.ts'))
    .filter(file => (directory ? file.startsWith(directory) : !others.some(other => file.startsWith(other))))
    .sort()
}

function node(args) {
  return spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status === 0
}

/** What failed, with its diagnostics, and what was skipped, with its reason; a terminal has shown it all already. */
function printRemarks(said) {
  const failed = process.stdout.isTTY
    ? []
    : said.matchAll(/^( *)not ok (?!.* # SKIP).*\n(?:\1 +---\n(?:\1 .*\n|\n)*?\1 +\.\.\.\n)?/gm)
  for (const [failure] of failed) process.stdout.write(failure)
  for (const [, skip] of said.matchAll(/^ *(?:not )?ok \d+ - (.* # SKIP .*)$/gm)) console.log(`   ${skip}`)
}

/** Runs test files, one at a time unless `jobs` says otherwise, and returns the counts of tap's closing line, `# { total: 9, pass: 7, fail: 1, skip: 1 }`. */
function tap(name, files, jobs = 1) {
  const output = join(results, `${name}.tap`)
  mkdirSync(results, { recursive: true })
  rmSync(output, { force: true })
  const reporter = process.stdout.isTTY ? 'base' : 'silent'
  const options = [`--jobs=${jobs}`, `--reporter=${reporter}`, `--output-file=${output}`]
  const passed = node(['node_modules/tap/dist/esm/run.mjs', 'run', ...options, ...files])
  const said = existsSync(output) ? readFileSync(output, 'utf8') : ''
  printRemarks(said)
  const closing = said.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? ''
  const count = word => Number(closing.match(new RegExp(`\\b${word}: (\\d+)`))?.[1] ?? 0)
  return { passed: count('pass'), failed: count('fail') + count('todo') || Number(!passed), skipped: count('skip') }
}

function runStage(stage) {
  if (stage.command) {
    const passed = node(stage.command)
    return { passed: Number(passed), failed: Number(!passed), skipped: 0 }
  }
  const files = testsOf(stage)
  return files.length === 0 ? { passed: 0, failed: 0, skipped: 0 } : tap(stage.name, files, stage.jobs)
}

const chosen = process.argv.slice(2)
const unknown = chosen.find(name => !stages.some(stage => stage.name === name))
if (unknown) {
  console.error(`npm test: no stage is named "${unknown}"; there are ${stages.map(stage => stage.name).join(', ')}`)
  process.exit(2)
}
const todo = stages.filter(({ name }) => chosen.length === 0 || chosen.includes(name) || name === 'setup')
const total = { passed: 0, failed: 0, skipped: 0 }
while (todo.length > 0 && total.failed === 0) {
  const stage = todo.shift()
  const started = Date.now()
  const counts = runStage(stage)
  for (const word of Object.keys(total)) total[word] += counts[word]
  const seconds = ((Date.now() - started) / 1000).toFixed(1)
  console.log(
    `── ${stage.name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped (${seconds} s)`,
  )
}
if (todo.length > 0) console.log(`not run: ${todo.map(stage => stage.name).join(', ')}`)
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = total.failed === 0 ? 0 : 1
