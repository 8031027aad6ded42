// The cache of compiled filters: what it finds, and what it does not trust.
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { FilterCache } from '../../lib/seccomp/compile.ts'
import { defaultProfile } from '../../lib/seccomp/profiles.ts'
import type { SeccompPolicy } from '../../lib/seccomp/statements.ts'

const system = defaultProfile('system', { host: 'x64' })

/** A compiler that counts, and whose programs tell them apart. */
function counting() {
  let count = 0
  const compile = (policy: SeccompPolicy) => ({ program: Buffer.alloc(8, ++count), unknown: [...policy.architectures] })
  return { compile, count: () => count }
}

t.test('a policy is compiled once for each content', async t => {
  const { compile, count } = counting()
  const cache = new FilterCache(compile, { compiler: '1' })
  const first = cache.compile(system)
  t.equal(cache.compile(defaultProfile('system', { host: 'x64' })), first, 'equal content, equal program')
  t.equal(count(), 1)
  for (const other of [
    { ...system, defaultAction: { kind: 'allow', number: 0 } as const },
    { ...system, badArchitectureAction: { kind: 'allow', number: 0 } as const },
    { ...system, architectures: ['x86_64'] },
    { ...system, rules: system.rules.slice(1) },
    {
      ...system,
      rules: system.rules.map(rule => ({ ...rule, conditions: rule.conditions.map(one => ({ ...one, mask: 1n })) })),
    },
  ]) {
    t.not(cache.compile(other), first)
  }
  t.equal(count(), 6)
})

t.test('memory is bounded', async t => {
  const { compile, count } = counting()
  const cache = new FilterCache(compile, { compiler: '1' })
  for (let i = 0; i < 70; i++) cache.compile({ ...system, defaultAction: { kind: 'errno', number: i + 1 } })
  cache.compile({ ...system, defaultAction: { kind: 'errno', number: 70 } })
  t.equal(count(), 70, 'the newest is kept')
  cache.compile({ ...system, defaultAction: { kind: 'errno', number: 1 } })
  t.equal(count(), 71, 'the oldest is not')
})

t.test('another process finds it on disk', async t => {
  const directory = join(t.testdir(), 'run', 'seccomp')
  const first = counting()
  const made = new FilterCache(first.compile, { directory, compiler: '1' }).compile(system)
  const second = counting()
  const found = new FilterCache(second.compile, { directory, compiler: '1' }).compile(system)
  t.equal(second.count(), 0)
  t.strictSame(Buffer.from(found.program), made.program)
  t.strictSame(found.unknown, ['x86_64', 'x86'])

  const upgraded = counting()
  new FilterCache(upgraded.compile, { directory, compiler: '2' }).compile(system)
  t.equal(upgraded.count(), 1, "another compiler's programs are not found")
  t.equal(readdirSync(directory).length, 2, 'nothing is left aside')
})

t.test('a damaged file is made anew', async t => {
  const directory = join(t.testdir(), 'seccomp')
  new FilterCache(counting().compile, { directory, compiler: '1' }).compile(system)
  const file = join(directory, readdirSync(directory)[0] as string)
  const good = readFileSync(file)
  for (const bad of [
    Buffer.alloc(0),
    good.subarray(0, good.length - 1),
    Buffer.concat([good, Buffer.alloc(8)]),
    Buffer.alloc(good.length),
  ]) {
    writeFileSync(file, bad)
    const again = counting()
    new FilterCache(again.compile, { directory, compiler: '1' }).compile(system)
    t.equal(again.count(), 1, `${bad.length} bytes`)
  }
})

t.test('a directory that others may write is not used', async t => {
  const directory = t.testdir()
  chmodSync(directory, 0o777)
  const { compile, count } = counting()
  new FilterCache(compile, { directory, compiler: '1' }).compile(system)
  new FilterCache(compile, { directory, compiler: '1' }).compile(system)
  t.equal(count(), 2)
  t.strictSame(readdirSync(directory), [])
})

t.test('the disk is bounded', async t => {
  const directory = join(t.testdir(), 'seccomp')
  const cache = new FilterCache(counting().compile, { directory, compiler: '1' })
  for (let i = 0; i < 260; i++) cache.compile({ ...system, rules: [], defaultAction: { kind: 'errno', number: i + 1 } })
  t.ok(existsSync(directory))
  t.ok(readdirSync(directory).length <= 256)
})
