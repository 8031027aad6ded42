// Every key of a config has an effect: it changes the Spec, a module acts on it, or it is refused.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { Config } from '../../lib/config/config.ts'
import type { Key } from '../../lib/config/key.ts'
import { CONTAINER_KEYS, EXTENSION_KEYS, GLOBAL_KEYS } from '../../lib/config/keys.ts'
import { checkEffects, EFFECTS, type Effect, type EffectKey } from '../../lib/spec/effects.ts'
import { resolveLinks } from '../../lib/spec/network.ts'
import { resolve } from '../../lib/spec/spec.ts'
import { ALL_KEYS, nameOf, type Pattern, SAMPLES } from '../config/samples.ts'
import { examine, PROOFS, UNPROVEN } from '../support/proofs.ts'
import { HOST, REQUEST } from '../support/start.ts'

/** What a key needs beside it to have a sense. */
const BESIDE: Partial<Record<EffectKey, string>> = {
  'lxc.idmap': 'lxc.idmap = g 0 100000 65536\nlxc.idmap = u 0 100000 65536',
  'lxc.rootfs.mount': 'lxc.mount.entry = /a /a/b/c none bind',
  'lxc.hook.version': 'lxc.hook.pre-start = /bin/true',
  'lxc.environment.hooks': 'lxc.hook.pre-start = /bin/true',
  'caisson.rootfs.fstype': 'lxc.rootfs.path = loop:/a/rootdev',
  'lxc.cgroup.dir.monitor': 'lxc.cgroup.dir.container = c',
  'lxc.cgroup.dir.container': 'lxc.cgroup.dir.monitor = m',
  'lxc.seccomp.notify.cookie': 'lxc.seccomp.notify.proxy = unix:/socket',
}
/** Values that this host can hold, where the samples are only text. */
const VALUES: Partial<Record<EffectKey, string>> = {
  'lxc.cgroup.*': '1048576',
  'lxc.cgroup2.*': '1048576',
  'lxc.idmap': 'u 65536 200000 1',
  'lxc.cgroup.dir.container.inner': 'deep',
}

const spec = (lines: string): unknown => {
  try {
    return resolve(Config.parse(lines), HOST, REQUEST).spec
  } catch (error) {
    return error // a value that cannot be held is refused, which is an effect as well, but proves nothing
  }
}

/** The pairs of cgroup directories are refused alone: then the refusal of one names it. */
function changesSpec(pattern: EffectKey): boolean {
  const beside = BESIDE[pattern] ?? ''
  const plain = spec(beside)
  const values = VALUES[pattern] === undefined ? SAMPLES[pattern].right : [VALUES[pattern] as string]
  return values.some(sample => {
    const value = typeof sample === 'string' ? sample : sample[0]
    const changed = spec(`${beside}\n${nameOf(pattern)} = ${value}\n`)
    return !(changed instanceof Error) && (plain instanceof Error || !isDeepStrictEqual(changed, plain))
  })
}

/** An interface on which the key has a sense, without it. */
function withoutKey(pattern: EffectKey): string {
  const key = { ...CONTAINER_KEYS, ...EXTENSION_KEYS }[pattern] as Key
  const type = pattern === 'lxc.net.[i].l2proxy' ? 'ipvlan' : (key.types?.[0] ?? 'veth')
  const lines = [
    'link = eth1',
    'ipv4.address = 10.0.0.2/24',
    ...(type === 'vlan' && !pattern.endsWith('vlan.id') ? ['vlan.id = 7'] : []),
  ]
  const own = pattern.slice('lxc.net.[i].'.length)
  return [`type = ${type}`, ...lines.filter(line => !line.startsWith(own))].map(line => `lxc.net.0.${line}\n`).join('')
}

/** The same for what becomes links. */
function changesLinks(pattern: EffectKey): boolean {
  const links = (lines: string): unknown => {
    try {
      return resolveLinks(Config.parse(lines), { lxcpath: '/l', container: 'web', assigned: new Map() })
    } catch {
      return undefined
    }
  }
  const plain = withoutKey(pattern)
  return SAMPLES[pattern].right.some(sample => {
    const changed = links(`${plain}${nameOf(pattern)} = ${typeof sample === 'string' ? sample : sample[0]}\n`)
    return changed !== undefined && !isDeepStrictEqual(changed, links(plain))
  })
}

/** Of a module of the library, or of one of the tools. */
const placeOf = (module: string) => (module.startsWith('examples/') ? module : `lib/${module}`)

t.test('what is said to reach the Spec changes it', async t => {
  t.notOk(spec('') instanceof Error, 'an empty config has a Spec')
  for (const [pattern, effect] of Object.entries(EFFECTS) as [EffectKey, Effect][]) {
    if (effect.in === 'spec') t.ok(changesSpec(pattern), pattern)
    if (effect.in !== 'module') continue
    if (effect.module === 'spec/network.ts') {
      t.ok(changesLinks(pattern), `${pattern} changes the links`)
      continue
    }
    const file = new URL(`../../${placeOf(effect.module)}`, import.meta.url)
    t.ok(
      readFileSync(file, 'utf8').includes(pattern.replace(/^lxc\.hook$/, 'clears')),
      `${effect.module} knows ${pattern}`,
    )
  }
})

t.test('what would have no effect is refused', async t => {
  const start = (text: string) => () => checkEffects(Config.parse(text, { file: 'c' }))
  t.throws(start('\nlxc.namespace.keep = cgroup\nlxc.mount.auto = cgroup-full'), {
    code: 'ERR_CONFIG_UNSUPPORTED',
    message: /"lxc.mount.auto = cgroup-full": trees of cgroups above the container’s own are not shown/,
    file: 'c',
    line: 3,
  })
  t.throws(start('lxc.net.0.type = none\nlxc.net.0.veth.pair = a'), { code: 'ERR_CONFIG_CONFLICT', line: 2 })
  t.throws(start('lxc.net.0.link = a'), { code: 'ERR_CONFIG_CONFLICT', line: 1 })
  t.doesNotThrow(start('lxc.net.0.type = empty\nlxc.net.0.flags = up'))
  for (const [pattern, effect] of Object.entries(EFFECTS) as [EffectKey, Effect][]) {
    const [sample] = SAMPLES[pattern].right
    const beside = effect.in === 'module' && effect.module === 'spec/network.ts' ? withoutKey(pattern) : ''
    if (sample !== undefined)
      t.doesNotThrow(start(`${beside}${nameOf(pattern)} = ${typeof sample === 'string' ? sample : sample[0]}`), pattern)
  }
})

const page = new URL('../../docs/keys.md', import.meta.url)
const describe = (effect: Effect): string => {
  if (effect.in === 'spec')
    return effect.refusal === undefined ? 'reaches the Spec' : `reaches the Spec; refused: ${effect.refusal.reason}`
  return effect.in === 'module' ? `\`${placeOf(effect.module)}\`` : `always: ${effect.always}`
}

const proven = (name: string): string => {
  const proof = PROOFS.get(name as Pattern)
  return proof === undefined ? `**open**: ${UNPROVEN[name as Pattern]}` : `\`test/${proof.file}\``
}

t.test('each key is parsed, printed and proven', async t => {
  for (const name of Object.keys(ALL_KEYS) as Pattern[]) {
    t.strictSame(examine(name), { parsed: true, printed: true, proven: PROOFS.has(name) }, name)
    t.not(PROOFS.has(name), UNPROVEN[name] !== undefined, `${name} is either proven or open`)
  }
  t.strictSame(UNPROVEN, {}, 'none is open')
})

/** The page that says of each key what was proven of it. */
function write(): string {
  const rows = (keys: Readonly<Record<string, Key>>, effect: (name: string) => string) =>
    Object.keys(keys).map(name => `| \`${name}\` | ${effect(name)} | ${proven(name)} |`)
  const effects = (name: string) => describe(EFFECTS[name as EffectKey])
  const own = rows({ ...CONTAINER_KEYS, ...EXTENSION_KEYS }, effects)
  return `# Keys and their effects

Each key is parsed, printed, read back and typed by \`test/config/keys.test.ts\` and \`test/config/types.test.ts\`, compared
with liblxc by \`test/config/liblxc.test.ts\`, and shown to change the Spec by \`test/spec/effects.test.ts\`, which also writes
this page (\`UPDATE=1 npx tap run test/spec/effects.test.ts\`). \`npm run keys\` says the same of each key, and fails when something is
missing. The last column names the test that sees the effect in a running container, on the host or in the VM lane, or the refusal where
this kernel has no such thing. A value that is refused is refused with ERR_CONFIG_UNSUPPORTED at the start.

| Key | Acts by | Proven by |
| --- | --- | --- |
${[...own, ...rows(GLOBAL_KEYS, () => '`lib/config/global.ts`')].join('\n')}
`
}

t.test('docs/keys.md is current', async t => {
  if (process.env.UPDATE === '1') writeFileSync(page, write())
  t.ok(existsSync(page))
  t.equal(readFileSync(page, 'utf8'), write(), 'UPDATE=1 npx tap run test/spec/effects.test.ts writes it anew')
})
