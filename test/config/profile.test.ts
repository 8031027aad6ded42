/** Profiles over each other: the last one wins, and `none` ends a device. */
import t from 'tap'
import { checkProfile, layProfiles, onProfiles, PRESETS, type Profile } from '../../lib/config/profile.ts'

const data = { source: '/srv/data', target: 'srv' }
const base: Profile = {
  description: 'below',
  limits: { memory: '256M', pids: 100 },
  environment: { A: '1', B: '1' },
  devices: { eth0: { network: { type: 'veth', link: 'br0' } }, data: { mount: data } },
  config: [['lxc.tty.max', '1']],
}
const top: Profile = {
  limits: { memory: '1G' },
  environment: { B: '2' },
  devices: { eth0: 'none', more: { mount: { source: '/srv/more', target: 'more' } } },
  apparmor: 'unconfined',
  config: [['lxc.tty.max', '2']],
}

t.test('several', async t => {
  const { description: _, ...plain } = base
  t.strictSame(layProfiles([plain, top]), {
    limits: { memory: '1G', pids: 100 },
    environment: { A: '1', B: '2' },
    devices: { eth0: 'none', data: { mount: data }, more: { mount: { source: '/srv/more', target: 'more' } } },
    apparmor: 'unconfined',
    config: [
      ['lxc.tty.max', '1'],
      ['lxc.tty.max', '2'],
    ],
  })
  const options = onProfiles({ hostname: 'web' }, [base, top])
  t.equal(options.network, undefined, 'none ends what was inherited')
  t.equal(options.mounts?.length, 2)
  t.equal(onProfiles({}, [top, base]).network?.length, 1, 'the last one wins')
  t.notOk('description' in options)
})

t.test("the container's own come last", async t => {
  const own = {
    limits: { pids: 5 },
    mounts: [{ source: '/x', target: 'x' }],
    devices: { data: 'none' as const },
    config: 'lxc.tty.max = 9',
  }
  const options = onProfiles(own, [base])
  t.strictSame(options.limits, { memory: '256M', pids: 5 })
  t.strictSame(options.mounts, [{ source: '/x', target: 'x' }])
  t.equal(options.config, 'lxc.tty.max = 1\nlxc.tty.max = 9')
  t.strictSame(onProfiles({ config: [['a', 'b']] as const }, [base]).config, [
    ['lxc.tty.max', '1'],
    ['a', 'b'],
  ])
  t.strictSame(onProfiles({ hostname: 'plain' }, []), { hostname: 'plain' })
})

t.test('mistakes', async t => {
  for (const profile of [
    null,
    [],
    'x',
    { limit: {} },
    { devices: { a: { mnt: {} } } },
    { devices: { 'a b': 'none' } },
    { config: ['x'] },
  ])
    t.throws(() => checkProfile('p', profile as never), { code: 'ERR_INVALID_OPTION' }, JSON.stringify(profile))
  t.throws(() => checkProfile('p', { devices: { a: { mout: {} } } } as never), {
    code: 'ERR_INVALID_OPTION',
    hint: 'did you mean "mount"?',
  })
  t.throws(() => checkProfile('p', { limit: {} } as never), { code: 'ERR_INVALID_OPTION', message: /limit/ })
  for (const [name, preset] of Object.entries(PRESETS)) t.doesNotThrow(() => checkProfile(name, preset))
})
