// What liblxc itself says of the same lines: accepted or refused, and with which value. Needs Debian's package lxc.
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { Config, type ConfigKey } from '../../lib/config/config.ts'
import { DIFFERENCES } from '../../lib/config/differences.ts'
import { decode } from '../../lib/config/encoding.ts'
import type { Key } from '../../lib/config/key.ts'
import { CONTAINER_KEYS } from '../../lib/config/keys.ts'
import { updateConfig } from '../../lib/config/update.ts'
import { nameOf, type Pattern, SAMPLES } from './samples.ts'

const run = promisify(execFile)

function missing(): string | false {
  if (process.getuid?.() !== 0) return 'needs root: lxc-info reads containers of an lxcpath of its own'
  try {
    const version = execFileSync('lxc-info', ['--version'], { encoding: 'utf8' }).trim()
    return version.startsWith('5.0.') ? false : `needs lxc-info of LXC 5.0 (Debian 12), this is ${version}`
  } catch {
    return "needs lxc-info: apt install lxc (Debian's LXC 5.0.2)"
  }
}

let containers = 0

/** An lxcpath whose locks, which liblxc makes below /run, go with it. */
function makeLxcpath(t: Test): string {
  const lxcpath = t.testdir({})
  t.teardown(() => {
    const locks = '/run/lxc/lock'
    rmSync(join(locks, lxcpath), { recursive: true, force: true })
    for (let at = dirname(join(locks, lxcpath)); at.startsWith(locks) && isEmpty(at); at = dirname(at)) rmdirSync(at)
  })
  return lxcpath
}

const isEmpty = (directory: string): boolean => existsSync(directory) && readdirSync(directory).length === 0

/** What lxc-info prints of a key of a container with this config; undefined when liblxc refuses the config. */
async function ask(lxcpath: string, text: string, key: string): Promise<string | undefined> {
  const name = `c${containers++}`
  mkdirSync(join(lxcpath, name))
  writeFileSync(join(lxcpath, name, 'config'), text)
  const answer = await run('lxc-info', ['-P', lxcpath, '-n', name, '-c', key]).catch(() => undefined)
  const printed = answer?.stdout.replace(/\n+$/, '')
  return printed?.startsWith(`${key} =`) ? printed.slice(`${key} =`.length).trimStart() : printed
}

/** What Config says of it. */
function read(text: string, key: string): string | undefined {
  try {
    const value = Config.parse(text).get(key as 'lxc.uts.name') as string | string[] | undefined
    return [value ?? ''].flat().join('\n')
  } catch {
    return undefined
  }
}

t.test('every sample of every key', { skip: missing() }, async t => {
  const lxcpath = makeLxcpath(t)
  const seen = new Set<RegExp>()
  for (const [pattern, key] of Object.entries(CONTAINER_KEYS) as [Pattern, Key][]) {
    const name = nameOf(pattern)
    const type =
      pattern.startsWith('lxc.net.[i].') && !key.begins ? `lxc.net.0.type = ${key.types?.[0] ?? 'veth'}\n` : ''
    const { right, wrong } = SAMPLES[pattern]
    for (const value of [...right.map(sample => (typeof sample === 'string' ? sample : sample[0])), ...wrong]) {
      const line = `${name} = ${value}`
      const [ours, theirs] = [read(`${type}${line}\n`, name), await ask(lxcpath, `${type}${line}\n`, name)]
      const known = DIFFERENCES.filter(difference => difference.line.test(line))
      if (ours === theirs) t.equal(known.length, 0, `${line} is no difference`)
      else t.equal(known.length, 1, `${line}: here ${ours}, in LXC ${theirs}`)
      for (const difference of known) seen.add(difference.line)
    }
  }
  for (const { line } of DIFFERENCES) t.ok(seen.has(line), `${line} is seen`)
})

t.test('empty values, files and meanings', { skip: missing() }, async t => {
  const lxcpath = makeLxcpath(t)
  for (const [pattern, key] of Object.entries(CONTAINER_KEYS) as [Pattern, Key][]) {
    const line = `${pattern.startsWith('lxc.net.[i].') ? 'lxc.net.0.type = veth\n' : ''}${nameOf(pattern)} =\n`
    const accepted = (await ask(lxcpath, line, 'lxc.tty.max')) !== undefined
    const needsType = key.types !== undefined
    const newer = pattern.startsWith('lxc.environment.')
    if (!needsType && !newer) t.equal(read(line, 'lxc.tty.max') !== undefined, accepted, line)
  }
  const files: [text: string, key: string][] = [
    ['lxc.tty.max = 4', 'lxc.tty.max'],
    ['\t lxc.tty.max\t=\t4  \n', 'lxc.tty.max'],
    ['lxc.init.cmd = "a  b"\n', 'lxc.init.cmd'],
    [`lxc.init.cmd = 'a"\n`, 'lxc.init.cmd'],
    ['lxc.init.cmd = ""a""\n', 'lxc.init.cmd'],
    ['lxc.init.cmd = a # b\n', 'lxc.init.cmd'],
    ['# lxc.broken\nmartian\nlxc.tty.max = 1\n', 'lxc.tty.max'],
    ['lxc.tty.max\n', 'lxc.tty.max'],
    ['lxc.net.0.link = br0\nlxc.net.0.type = veth\n', 'lxc.net.0.link'],
    ['lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.type = macvlan\n', 'lxc.net.0.link'],
    ['lxc.net.00.type = veth\nlxc.net.0.link = br0\n', 'lxc.net.0.link'],
    ['lxc.cap.drop = chown kill\nlxc.cap.drop = mknod\n', 'lxc.cap.drop'],
    ['lxc.hook.mount = a\nlxc.hook.start = b\nlxc.hook =\n', 'lxc.hook.start'],
    ['lxc.sysctl.a.b = 1\nlxc.sysctl.a.b = 2\n', 'lxc.sysctl.a.b'],
    ['lxc.proc.a = 1\nlxc.proc.a = 2\n', 'lxc.proc.a'],
    ['lxc.group = a b\nlxc.group = c\n', 'lxc.group'],
    ['lxc.cgroup2.cpu.weight = 1\nlxc.cgroup2.cpu.weight = 2\n', 'lxc.cgroup2.cpu.weight'],
    ['lxc.mount.auto = proc:rw sys:ro\nlxc.mount.auto = proc\n', 'lxc.mount.auto'],
    ['lxc.init.groups = 1,2\nlxc.init.groups = 3\n', 'lxc.init.groups'],
  ]
  for (const [text, key] of files) {
    const theirs = await ask(lxcpath, text, key)
    const words = (value: string | undefined) => value?.split(/[\s,]+/)
    const list = /auto|groups/.test(key)
    if (list) t.same(words(read(text, key))?.sort(), words(theirs)?.sort(), JSON.stringify(text))
    // lxc-info prints several values of one lxc.proc key without anything between them.
    else if (key.startsWith('lxc.proc')) t.equal(read(text, key)?.replaceAll('\n', ''), theirs, JSON.stringify(text))
    else t.equal(read(text, key), theirs === '(null)' ? '' : theirs, JSON.stringify(text))
  }
})

t.test('what Config writes, liblxc loads', { skip: missing() }, async t => {
  const lxcpath = makeLxcpath(t)
  const config = new Config()
  for (const [pattern, key] of Object.entries(CONTAINER_KEYS) as [Pattern, Key][]) {
    if (/^lxc\.(include|environment\.|cap\.keep|namespace\.keep|log\.file)/.test(pattern) || key.types?.[0] === 'vlan')
      continue
    if (key.types !== undefined && key.types[0] !== 'veth') continue
    const [sample] = SAMPLES[pattern].right
    if (sample !== undefined)
      config.set(nameOf(pattern) as 'lxc.uts.name', typeof sample === 'string' ? sample : sample[0])
  }
  t.equal(await ask(lxcpath, config.toString(), 'lxc.uts.name'), 'web', config.toString())
})

t.test('whole configs, key by key', { skip: missing() }, async t => {
  const lxcpath = makeLxcpath(t)
  const directory = new URL('fixtures/', import.meta.url)
  for (const file of readdirSync(directory)) {
    const { text } = updateConfig(decode(readFileSync(new URL(file, directory))).replace(/^lxc\.include.*$/gm, ''))
    // LXC takes carriage returns as part of values, and opens the log that is named.
    const lines = text.replaceAll('\r', '').replace(/^lxc\.(log\.file|environment\.).*$/gm, '')
    const config = Config.parse(lines)
    for (const key of config.keys() as ConfigKey[]) {
      const known = config
        .entries(key)
        .some(entry => DIFFERENCES.some(({ line }) => line.test(`${key} = ${entry.text}`)))
      if (known || /rootfs\.path|lxc\.arch|mount\.auto|time\.offset|notify\.proxy/.test(key)) continue
      const theirs = await ask(lxcpath, lines, key)
      const words = (value: string | undefined) => value?.split(/[\s,]+/).sort()
      t.same(words(read(lines, key)), words(theirs), `${file}: ${key}`)
    }
  }
})
