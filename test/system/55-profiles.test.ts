/** Profiles kept, used, changed; and the one in which containers can be made. */
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Container, Profiles } from '../../lib/index.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

t.test('a directory of profiles', async t => {
  const profiles = Profiles.open(join(directory(t), 'profiles'))
  t.strictSame(await profiles.list(), ['default', 'nesting'])
  await profiles.create('small', {
    limits: { pids: 50 },
    devices: { data: { mount: { source: '/srv', target: 'srv' } } },
  })
  await t.rejects(profiles.create('small', {}), { code: 'ERR_PROFILE_EXISTS' })
  await profiles.edit('small', profile => ({ ...profile, limits: { pids: 60 } }))
  t.match(await profiles.get('small'), { limits: { pids: 60 }, devices: { data: { mount: { target: 'srv' } } } })
  await t.rejects(
    profiles.edit('small', () => ({ limit: {} }) as never),
    { code: 'ERR_INVALID_OPTION' },
  )
  t.match(await profiles.get('small'), { limits: { pids: 60 } }, 'what is no profile is not kept')
  await t.rejects(profiles.get('smal'), { code: 'ERR_PROFILE_NOT_FOUND', hint: 'did you mean "small"?' })
  await profiles.rename('small', 'tiny')
  t.strictSame(await profiles.list(), ['default', 'nesting', 'tiny'])
  await profiles.create('default', { environment: { MINE: '1' } })
  t.match(await profiles.get('default'), { environment: { MINE: '1' } }, 'instead of the preset')
  await profiles.remove('default')
  t.match(await profiles.get('default'), { devices: { eth0: {} } })
  await t.rejects(profiles.remove('default'), { code: 'ERR_INVALID_OPTION', message: /preset/ })
  for (const name of ['../x', 'a/b', '', '.x'])
    await t.rejects(profiles.create(name, {}), { code: 'ERR_INVALID_OPTION' })
  t.strictSame(await readdir(profiles.path), ['tiny.json'])
  await writeFile(profiles.file('tiny'), '{')
  await t.rejects(profiles.get('tiny'), { code: 'ERR_INVALID_OPTION', message: /damaged/ })
})

t.test('a container is made on several, and its own word is the last', { skip: needsRoot }, async t => {
  const lxcpath = directory(t)
  const profiles = Profiles.open(join(lxcpath, 'profiles'))
  await profiles.create('base', {
    environment: { FROM: 'base' },
    devices: { eth0: { network: { type: 'veth', link: 'none0' } } },
  })
  await profiles.create('top', { environment: { FROM: 'top' }, devices: { lo: { network: { type: 'empty' } } } })
  const files = ['base', 'top'].map(name => profiles.file(name))
  const options = { path: lxcpath, profiles: files, devices: { eth0: 'none' as const } }
  const container = await Container.create('web', options)
  await container.start()
  t.match((await container.attach(['cat', '/proc/1/environ'])).stdout, /(^|\0)FROM=top\0/)
  t.strictSame(
    (await container.interfaces()).map(({ name }) => name),
    ['lo'],
    'none ends an inherited device',
  )
  await container.destroy({ force: true })
  await t.rejects(Container.create('web', { path: lxcpath, profiles: ['nestin'] }), {
    code: 'ERR_PROFILE_NOT_FOUND',
    hint: /nesting/,
  })
  await t.rejects(Container.create('web', { path: lxcpath, devices: { x: {} as never } }), {
    code: 'ERR_INVALID_OPTION',
  })
  t.strictSame((await readdir(lxcpath)).sort(), ['profiles'], 'nothing is half made')
})

t.test('nesting: a user namespace inside may have a /proc of its own', { skip: needsRoot }, async t => {
  const nest = ['unshare', '-U', '-r', '-m', '-p', '-f', 'mount', '-t', 'proc', 'proc', '/proc']
  for (const profiles of [[], ['nesting']]) {
    const container = await Container.create('web', { path: directory(t), profiles })
    await container.start()
    const { exitCode } = await container.attach(nest, { reject: false })
    t.equal(exitCode === 0, profiles.length > 0, profiles.length > 0 ? 'with the profile' : 'control: not without it')
    await container.destroy({ force: true })
  }
})
