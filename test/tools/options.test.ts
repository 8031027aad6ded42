// The tables of the lxc-* tools, and command lines read by them.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { describe } from '../../lib/tools/help.ts'
import { type OptionTable, readArguments, UsageError, type Words, withShared } from '../../lib/tools/options.ts'
import { readTemplate } from '../../lib/tools/template.ts'
import { readNumber, type Tool } from '../../lib/tools/tool.ts'

const directory = fileURLToPath(new URL('../../examples', import.meta.url))
const names = readdirSync(directory).flatMap(file => (/^lxc-.*\.ts$/.test(file) ? [file.slice(0, -3)] : []))
const TABLE = {
  kill: { short: 'k', help: '' },
  keepdata: { short: 'D', help: '' },
  timeout: { short: 't', value: 'SEC', help: '' },
  define: { short: 's', value: 'KEY=VALUE', multiple: true, help: '' },
  elevated: { short: 'e', value: 'PARTS', optional: true, help: '' },
} as const satisfies OptionTable

const read = (line: string, words: Words = 'any', named = true) =>
  readArguments(line.split(' ').filter(Boolean), TABLE, words, named)
const refusal = (line: string, words?: Words) => {
  try {
    read(line, words)
  } catch (error) {
    if (error instanceof UsageError) return error.message
    throw error
  }
  return undefined
}

t.test('options are read as getopt_long reads them', async t => {
  t.strictSame(read('-k -t 5 web'), { values: { kill: true, timeout: '5' }, words: ['web'] })
  t.strictSame(read('web -kt5').values, { kill: true, timeout: '5' }, 'letters together, a value glued on')
  t.strictSame(read('--timeout=5 -n web').values, { timeout: '5', name: 'web' })
  t.strictSame(read('-t -1 web').values, { timeout: '-1' }, 'a value may begin with a dash')
  t.strictSame(read('-s a=1 --define b=2').values, { define: ['a=1', 'b=2'] })
  t.strictSame(read('--time 5 --ki web'), { values: { timeout: '5', kill: true }, words: ['web'] }, 'names cut short')
  t.strictSame(read('-e web'), { values: { elevated: true }, words: ['web'] })
  t.strictSame(read('-eCAP|LSM web').values, { elevated: 'CAP|LSM' })
  t.strictSame(read('--elevated=CAP web').values, { elevated: 'CAP' })
  t.strictSame(read('-P /a -P /b').values, { lxcpath: ['/a', '/b'] })
  t.strictSame(read('-h').values.help, true)
})

t.test('a command has options of its own', async t => {
  t.strictSame(read('web ls -l -k', 'command'), { values: {}, words: ['web', 'ls', '-l', '-k'] })
  t.strictSame(read('web -k ls -t', 'command'), { values: { kill: true }, words: ['web', 'ls', '-t'] })
  t.strictSame(read('-n web ls -l', 'command'), { values: { name: 'web' }, words: ['ls', '-l'] })
  t.strictSame(read('web -- -x -- y', 'command').words, ['web', '-x', '--', 'y'])
  t.strictSame(read('ls -l', 'command', false).words, ['ls', '-l'])
})

t.test('mistakes are named, with what was meant', async t => {
  t.equal(refusal('--tiemout 5'), 'unknown option --tiemout; did you mean --timeout?')
  t.equal(refusal('-z'), 'unknown option -z')
  t.equal(refusal('web -t'), 'option -t needs a value: SEC')
  t.equal(refusal('--kill=now'), 'option --kill takes no value')
  t.equal(refusal('--ke=1', 'any'), 'option --keepdata takes no value')
  t.equal(refusal('--k'), 'option --k may be --kill, --keepdata')
  t.throws(() => readNumber('1.5', 'timeout'), { message: /whole number from 0 on/ })
  t.throws(() => readNumber('-2', 'timeout', -1), { message: /whole number from -1 on/ })
  t.equal(readNumber('-1', 'timeout', -1), -1)
})

t.test('options of templates', async t => {
  t.strictSame(await readTemplate('download', ['-d', 'alpine', '-r', '3.20', '--arch=amd64', '--flush-cache']), {
    name: 'download',
    dist: 'alpine',
    release: '3.20',
    arch: 'amd64',
    flushCache: true,
  })
  t.strictSame(await readTemplate('mmdebstrap', ['--suite=bookworm']), { name: 'mmdebstrap', suite: 'bookworm' })
  t.strictSame(await readTemplate('/opt/lxc-mine', ['-x', 'y']), { name: '/opt/lxc-mine', args: ['-x', 'y'] })
  await t.rejects(readTemplate('download', ['--dsit', 'alpine']), { message: /did you mean --dist/ })
})

t.test('every tool', async t => {
  const manifest = JSON.parse(readFileSync(`${directory}/../package.json`, 'utf8')) as {
    bin: Record<string, string>
  }
  t.strictSame(Object.keys(manifest.bin).sort(), [...names].sort(), 'package.json offers all of them')
  for (const name of names) {
    t.equal(manifest.bin[name], `./dist/bin/${name}.js`)
    t.match(readFileSync(`${directory}/${name}.ts`, 'utf8'), /^#!\/usr\/bin\/env node\n/)
    const { tool } = (await import(`${directory}/${name}.ts`)) as { tool: Tool }
    t.equal(tool.name, name)
    const letters = Object.values(withShared(tool.options)).flatMap(({ short }) => short ?? [])
    t.equal(new Set(letters).size, letters.length, `${name}: every letter means one thing`)
    for (const option of Object.keys(tool.options)) t.match(describe(tool), `--${option}`)
    t.match(describe(tool), /\nExit codes:\n {2}\S/)
    t.match(describe(tool), new RegExp(`\\nExamples:\\n {2}${name}\\b`), `${name}: an example of it`)
    t.notOk(
      describe(tool)
        .split('\n')
        .some(line => line.length > 120),
      `${name}: help fits`,
    )
  }
})
