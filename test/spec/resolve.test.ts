// resolve() over any config of right lines: pure, the same for a config that was written and read, or turned into options and back.
import { isDeepStrictEqual as equal } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { Config } from '../../lib/config/config.ts'
import { mountLine } from '../../lib/config/mount_entry.ts'
import { applyOptions } from '../../lib/config/options.ts'
import { readOptions } from '../../lib/config/read_options.ts'
import { ContainerError } from '../../lib/errors.ts'
import { throttlesBelow } from '../../lib/host/host.ts'
import { resolveMount } from '../../lib/spec/mount.ts'
import { resolve } from '../../lib/spec/spec.ts'
import { nameOf, type Pattern, SAMPLES } from '../config/samples.ts'
import { HOST, REQUEST } from '../support/start.ts'

/** Keys of a container but includes, which would be read from this machine. */
const PATTERNS = (Object.keys(SAMPLES) as Pattern[]).filter(
  pattern => pattern !== 'lxc.include' && !/^lxc\.(lxcpath|default_config|bdev\.|cgroup\.(pattern|use))/.test(pattern),
)
const line = fc.constantFrom(...PATTERNS).chain(pattern => {
  const values = SAMPLES[pattern].right.map(sample => (typeof sample === 'string' ? sample : sample[0]))
  return fc.record({
    key: fc.nat(2).map(index => nameOf(pattern, index)),
    value: values.length === 0 ? fc.constant('') : fc.constantFrom(...values),
  })
})
const texts = fc
  .array(line, { maxLength: 12 })
  .map(lines => lines.map(({ key, value }) => `${key} = ${value}\n`).join(''))

/** The Spec, or the error; anything else that is thrown is a bug. */
function outcome(config: Config): unknown {
  try {
    return resolve(config, HOST, REQUEST).spec
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error
    const { code, message } = error
    return { code, message: message.split('\n')[0] }
  }
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value) && !ArrayBuffer.isView(value)) {
    Object.freeze(value)
    for (const each of Object.values(value)) freeze(each)
  }
  return value
}

t.test('it is a function: the same in, the same out, and nothing is changed', async t => {
  freeze(HOST.cgroups.hierarchies)
  freeze(REQUEST.labels)
  let resolved = 0
  fc.assert(
    fc.property(texts, text => {
      const config = Config.parse(text)
      const first = outcome(config)
      if (!('code' in (first as object))) resolved++
      return equal(outcome(config), first) && config.toString() === text
    }),
    { numRuns: 400 },
  )
  t.ok(resolved > 40, 'not all of them are refused')
})

t.test('what means nothing changes nothing', async _t => {
  fc.assert(
    fc.property(texts, text => {
      const noisy = text.replaceAll('\n', '\n\n# lxc.tty.max = 9\n \t\n')
      const place = (result: unknown) =>
        JSON.stringify(result, (_, value) => (typeof value === 'bigint' ? `${value}` : value))
      return place(outcome(Config.parse(noisy))) === place(outcome(Config.parse(text)))
    }),
    { numRuns: 200 },
  )
})

t.test('written and read, and as typed options, a config has the same Spec', async _t => {
  fc.assert(
    fc.property(texts, text => {
      const config = Config.parse(text)
      const options = new Config()
      applyOptions(options, readOptions(config), { directory: '/c' })
      const wanted = outcome(config)
      const written = outcome(Config.parse(config.toString()))
      const typed = outcome(options)
      // Of several conflicts another one may come first.
      const both = 'code' in (wanted as object) ? 'code' in (typed as object) : equal(typed, wanted)
      return equal(written, wanted) && both
    }),
    { numRuns: 300 },
  )
})

t.test('words of mounts', async t => {
  const mount = (text: string) => resolveMount(mountLine.parse(text), ['/srv/root'])
  t.match(
    mount('/a b none bind,async,lazytime,ro'),
    { options: [], attributes: 1 },
    'a bind passes them over, as in LXC',
  )
  t.match(mount('tmpfs b tmpfs sync,remount,size=1m'), { options: [{ key: 'sync' }, { key: 'size', value: '1m' }] })
  t.match(mount('/a /srv/root/b none rbind,rslave,nosymfollow'), {
    target: 'b',
    recursive: true,
    propagation: 'slave',
    attributes: 0x200000,
  })
  t.match(mount('t b tmpfs rootcontext=x,optional=1'), { attributes: 0, optional: false }, 'whole words')
  t.throws(() => mount('/a b none move'), { code: 'ERR_CONFIG_UNSUPPORTED' })
  t.throws(() => mount('/a b none bind,size=1m'), { code: 'ERR_CONFIG_VALUE', message: /has no option size/ })
  t.throws(() => mount('/a b none ro'), { code: 'ERR_CONFIG_VALUE', hint: /add the option bind/ })
})

t.test('counters of heat are masked, where processors have them', async t => {
  const cpus = t.testdir({ cpu0: { thermal_throttle: {} }, cpu1: {}, cpu12: {}, cpufreq: {}, online: '0-1' })
  const throttles = throttlesBelow(cpus)
  t.strictSame(
    throttles.toSorted(),
    ['cpu0', 'cpu1', 'cpu12'].map(name => `${cpus}/${name}/thermal_throttle`),
  )
  t.strictSame(throttlesBelow(t.testdirName.concat('/cpu1')), [], 'none has them')
  const config = Config.parse('lxc.rootfs.path = /srv\n')
  const masked = (host: typeof HOST) => resolve(config, host, REQUEST).spec.masked
  t.strictSame(masked({ ...HOST, throttles }), [...masked(HOST), ...throttles])
})
