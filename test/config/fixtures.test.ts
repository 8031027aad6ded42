// Configs as people have them, from LXC 1.0 to 7: they load, and nothing of them is lost.
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { Config, type ConfigKey } from '../../lib/config/config.ts'
import { decode, encode } from '../../lib/config/encoding.ts'
import { RENAMED } from '../../lib/config/legacy.ts'
import { applyOptions } from '../../lib/config/options.ts'
import { readOptions } from '../../lib/config/read_options.ts'
import { updateConfig } from '../../lib/config/update.ts'

const directory = new URL('fixtures/', import.meta.url)
const names = readdirSync(directory).filter(name => name.endsWith('.conf'))
const meaning = (config: Config) =>
  config
    .keys()
    .sort()
    .map(key => [key, config.value(key as ConfigKey)])

t.test('there are twenty and more', async t => t.ok(names.length >= 20))

for (const name of names) {
  t.test(name, async t => {
    const bytes = readFileSync(new URL(name, directory))
    const text = decode(bytes)
    const config = Config.parse(text, { file: name, includes: false })
    const legacy = config.diagnostics.some(({ kind }) => kind === 'legacy')
    t.equal(legacy, /^1[0-3]-/.test(name), 'old names are told, and only there')
    if (!legacy) t.same(encode(config.toString()), bytes, 'written as it was read')

    const settings = text.split('\n').filter(line => /^\s*lxc\.[^=]+=\s*[^\s]/.test(line)).length
    const lines = new Set(config.entries().map(({ line }) => line)).size
    const dropped = config.diagnostics.filter(({ message }) => message.includes('dropped')).length
    t.equal(lines + dropped, settings, 'every line counts')

    const { text: modern } = updateConfig(text, name)
    for (const old of Object.keys(RENAMED)) t.notMatch(modern, new RegExp(`^[ \\t]*${old}[ \\t]*=`, 'm'))
    const again = Config.parse(modern, { includes: false })
    t.same(meaning(again), meaning(config), 'the modern form means the same')
    t.same(
      again.diagnostics.filter(({ kind }) => kind === 'legacy'),
      [],
    )

    const typed = new Config()
    applyOptions(typed, readOptions(config), { directory: '/c' })
    t.same(
      meaning(typed),
      meaning(config).filter(([key]) => key !== 'lxc.include'),
      'so do the typed options',
    )
  })
}

t.test('an old config in full', async t => {
  const text = decode(readFileSync(new URL('11-lxc-1.0-handwritten.conf', directory)))
  const config = Config.parse(text)
  t.equal(config.get('lxc.net.0.ipv4.address')?.[0], '192.0.2.25/28')
  t.same(config.interfaces(), [0, 1])
  t.equal(config.value('lxc.net.1.vlan.id'), 300)
  t.equal(config.value('lxc.signal.halt'), 38)
  t.equal(config.value('lxc.log.level'), 'DEBUG')
  t.match(
    config.toString(),
    /^# second card: storage network\nlxc\.net\.1\.type=vlan$/m,
    'comments stay where they were',
  )
  t.match(updateConfig('#lxc.utsname = x\n# lxc.tty=4\n').text, '#lxc.uts.name = x\n# lxc.tty.max=4\n', 'comments too')
})
