// Every row of the key table: parsed, printed, refused, cleared.
import { isDeepStrictEqual as equal } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { Config, type ConfigKey } from '../../lib/config/config.ts'
import type { Key } from '../../lib/config/key.ts'
import { CONTAINER_KEYS, EXTENSION_KEYS } from '../../lib/config/keys.ts'
import { find } from '../../lib/config/names.ts'
import { readValues } from '../../lib/config/state.ts'
import { ALL_KEYS, nameOf, type Pattern, SAMPLES } from './samples.ts'

const PATTERNS = Object.keys(ALL_KEYS) as Pattern[]
const row = (pattern: Pattern): Key => ALL_KEYS[pattern]
const inContainer = (pattern: Pattern): boolean => pattern in CONTAINER_KEYS || pattern in EXTENSION_KEYS

t.test('the table has all keys of LXC 7, and lxc.cgroup.* of those before', async t => {
  t.equal(Object.keys(CONTAINER_KEYS).length, 112 + 1)
  for (const [pattern, key] of Object.entries(ALL_KEYS) as [Pattern, Key][]) {
    t.match(key, { doc: /^[A-Z].*\.$/, since: /./, spec: /./ }, pattern)
    if (inContainer(pattern)) t.equal(find(nameOf(pattern))?.pattern, pattern)
  }
})

t.test('values', async t => {
  for (const pattern of PATTERNS) {
    const { kind } = row(pattern)
    for (const sample of SAMPLES[pattern].right) {
      const [text, canonical] = typeof sample === 'string' ? [sample, sample] : sample
      const value = kind.parse(text)
      if (!kind.verbatim) t.equal(kind.print(value), canonical, `${pattern} = ${text}`)
      t.same(kind.parse(kind.print(value)), value, `${pattern} = ${text}: parse ∘ print is the identity`)
    }
    for (const text of SAMPLES[pattern].wrong) {
      if (pattern === 'lxc.include') continue
      t.throws(() => kind.parse(text), { code: 'ERR_CONFIG_VALUE' }, `${pattern} = ${text}`)
    }
    for (const text of kind.words ?? [])
      if (text !== 'shmounts:') t.doesNotThrow(() => kind.parse(text), `${pattern} = ${text}`)
  }
})

t.test('defaults are values', async t => {
  for (const pattern of PATTERNS) {
    const { kind, many, default: value } = row(pattern)
    if (many || value === undefined) continue
    if (!pattern.startsWith('lxc.console')) t.same(kind.parse(kind.print(value)), value, pattern)
  }
})

t.test('set, get, write, read, clear', async t => {
  for (const pattern of PATTERNS.filter(inContainer)) {
    const name = nameOf(pattern, 7) as 'lxc.uts.name'
    const key = row(pattern)
    for (const sample of SAMPLES[pattern].right) {
      const [text, canonical] = typeof sample === 'string' ? [sample, sample] : sample
      const wanted = key.kind.verbatim && pattern !== 'lxc.init.cwd' ? [text] : [canonical]
      const config = new Config().set(name, text)
      const got = key.many ? config.get(name) : [config.get(name)]
      if (!key.kind.verbatim) t.same(got, wanted, `${name} = ${text}`)
      t.same(Config.parse(config.toString()).value(name), config.value(name))
      t.same(config.clear(name).keys(), [], `${name} is cleared`)
      t.equal(config.toString(), '')
      if (key.empty === 'refuse') {
        t.throws(() => config.set(name, ''), { code: 'ERR_CONFIG_VALUE' })
      } else {
        config.set(name, text).set(name, '')
        const empty = typeof key.empty === 'object' ? key.empty.value : key.default
        t.same(config.value(name), empty, `${name} = (empty)`)
      }
    }
    for (const text of SAMPLES[pattern].wrong) {
      t.throws(
        () => new Config().set(name, text),
        pattern === 'lxc.include' ? { code: 'ENOENT' } : { code: 'ERR_CONFIG_VALUE' },
      )
    }
  }
})

/** Lines of known keys with right values, in any order. */
const settings = fc
  .array(
    fc.constantFrom(...PATTERNS.filter(pattern => inContainer(pattern) && pattern !== 'lxc.include')).chain(pattern =>
      fc.record({
        key: fc.nat(3).map(index => nameOf(pattern, index)),
        value: fc.constantFrom(
          '',
          ...SAMPLES[pattern].right.map(sample => (typeof sample === 'string' ? sample : sample[0])),
        ),
      }),
    ),
    { maxLength: 40 },
  )
  .map(list => list.filter(({ key, value }) => value !== '' || row(find(key)?.pattern as Pattern).empty !== 'refuse'))

const meaning = (config: Config) => Object.fromEntries(config.keys().map(key => [key, config.value(key as ConfigKey)]))

t.test('a program and a file that say the same mean the same', async _t => {
  fc.assert(
    fc.property(settings, list => {
      const config = new Config()
      for (const { key, value } of list) config.append(`${key} = ${value}`)
      const text = list.map(({ key, value }) => `${key} = ${value}\n`).join('')
      const again = Config.parse(config.toString())
      const wanted = meaning(config)
      return (
        equal(meaning(Config.parse(text)), wanted) &&
        equal(meaning(again), wanted) &&
        again.toString() === config.toString()
      )
    }),
    { numRuns: 300 },
  )
})

/** What setting, or clearing, a key may change: itself; both lists of capabilities; with its type the interface. */
function goesWith(key: string, name: string, what: string): boolean {
  if (what === 'clear' && /^lxc\.cap\./.test(key)) return name.startsWith('lxc.cap.')
  const type = what === 'clear' ? /^lxc\.net\.([0-9]+)\.type$/.exec(key) : null
  return name === key || (type !== null && name.includes(`.net.${type[1]}.`))
}

t.test('set and clear do what they say, whatever was there', async _t => {
  const both = fc.tuple(
    settings,
    settings.filter(list => list.some(({ value }) => value !== '')),
  )
  fc.assert(
    fc.property(both, ([first, [...after]]) => {
      const config = Config.parse(first.map(({ key, value }) => `${key} = ${value}\n`).join(''))
      const { key, value } = after.find(item => item.value !== '') as { key: ConfigKey; value: string }
      const { key: entry } = find(key) as { key: Key }
      const others = (not: string) => Object.entries(meaning(config)).filter(([name]) => !goesWith(key, name, not))
      const before = others('')
      config.set(key, value as '')
      const values = readValues(entry, value).map(item => item.value)
      const got = entry.many ? (config.value(key) as unknown[]).slice(-values.length) : [config.value(key)]
      const kept = equal(others(''), before)
      const clearing = others('clear')
      return kept && equal(got, values) && !config.clear(key).has(key) && equal(others('clear'), clearing)
    }),
    { numRuns: 300 },
  )
})

t.test('random text never crashes, and what is accepted comes back', async _t => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.constantFrom(
      'lxc.',
      '=',
      ' ',
      '\n',
      '\r',
      '\t',
      '"',
      "'",
      '#',
      'lxc.net.0.',
      'lxc.network.',
      '\0',
      '\udc80',
      ...PATTERNS.map(p => nameOf(p)),
    ),
  )
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 30 }).map(pieces => pieces.join('').replaceAll('lxc.include', '')),
      text => {
        const config = Config.parse(text, { lenient: true })
        const kept = config.diagnostics.some(({ kind }) => kind === 'legacy') || config.toString() === text
        return kept && Config.parse(config.toString(), { lenient: true }).toString() === config.toString()
      },
    ),
    { numRuns: 500 },
  )
  for (const pattern of PATTERNS) {
    const { kind } = row(pattern)
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), text => {
        try {
          const value = kind.parse(text)
          return equal(kind.parse(kind.print(value)), value)
        } catch (error) {
          return (error as { code?: string }).code === 'ERR_CONFIG_VALUE'
        }
      }),
      { numRuns: 100 },
    )
  }
})

t.test('long inputs take no longer than their length', async t => {
  const long = 'a'.repeat(1 << 20)
  for (const text of [
    long,
    `lxc.${long}`,
    `lxc.init.cmd = ${long}`,
    `lxc.cap.drop = ${'chown '.repeat(50_000)}`,
    '\n'.repeat(1 << 20),
    `lxc.tty.max = ${' '.repeat(1 << 20)}1`,
  ]) {
    t.equal(Config.parse(text, { lenient: true }).toString().length, text.length)
  }
  t.throws(() => Config.parse('\n'.repeat((1 << 24) + 1)), { code: 'ERR_CONFIG_VALUE' })
})
