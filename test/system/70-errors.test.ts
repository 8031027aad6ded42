// What people really meet: each failure says which step, why, and what to do; and leaves nothing half-made.
import { chmodSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Container } from '../../lib/index.ts'
import { errorOf, makeContainer, startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'

const skip = needsRoot

t.test('names that would be paths, options or lines (L2)', async t => {
  for (const name of [
    '',
    '.',
    '..',
    '../x',
    'a/b',
    '-P',
    'a b',
    'a;id',
    'a\nlxc.environment = X=1',
    '.hidden',
    'x'.repeat(65),
    'ä',
    5,
  ]) {
    const error = await errorOf(Container.create(name as string, { path: '/nowhere-at-all' }))
    t.match(error, { code: 'ERR_INVALID_NAME', hint: /64 letters/ }, JSON.stringify(name))
    t.match(await errorOf(Container.open(name as string)), { code: 'ERR_INVALID_NAME' })
  }
  const honest = await errorOf(Container.open('a.b_c-1', { path: '/nowhere-at-all' }))
  t.not(honest.code, 'ERR_INVALID_NAME', 'control: an honest name is looked for')
})

t.test('options', { skip }, async t => {
  const path = directory(t)
  const refusals: [object, object][] = [
    [{ tempalte: 'busybox' }, { code: 'ERR_INVALID_OPTION', hint: 'did you mean "template"?' }],
    [{ template: 'busibox' }, { code: 'ERR_TEMPLATE', hint: 'did you mean "busybox"?' }],
    [{ template: { name: 'busybox', size: 5 } }, { code: 'ERR_INVALID_OPTION' }],
    [{ config: 'lxc.uts.nmae = x' }, { code: 'ERR_CONFIG_UNKNOWN_KEY', hint: /lxc\.uts\.name/ }],
    [{ config: 'lxc.pty.max = many' }, { code: 'ERR_CONFIG_VALUE' }],
    [{ limits: { memory: 'lots' } }, { code: /ERR_(INVALID_OPTION|CONFIG_VALUE)/ }],
    [{ idmap: [{ type: 'both', container: 0, host: 4294967295, range: 2 }] }, { code: 'ERR_CONFIG_VALUE' }],
  ]
  for (const [options, wanted] of refusals) {
    t.match(await errorOf(Container.create('c', { path, ...options })), wanted, JSON.stringify(options))
    t.strictSame(readdirSync(path), [], 'nothing is left of it')
  }
})

t.test('id maps that make no sense are refused with the entry (F3)', { skip }, async t => {
  const maps: [string, RegExp][] = [
    ['lxc.idmap = u 1 100000 65536\nlxc.idmap = g 0 100000 65536\n', /uid 0 of the container is not mapped/],
    [
      'lxc.idmap = u 0 100000 10\nlxc.idmap = u 5 200000 10\nlxc.idmap = g 0 100000 10\n',
      /overlap on the side of the container/,
    ],
    [
      'lxc.idmap = u 0 100000 10\nlxc.idmap = u 10 100005 10\nlxc.idmap = g 0 100000 10\n',
      /overlap on the side of the host/,
    ],
    ['lxc.idmap = u 0 100000 65536\n', /there is no "g" line/],
  ]
  for (const [config, words] of maps) {
    const { container } = await makeContainer(t, { idmap: false, config })
    t.match((await errorOf(container.start())).message, words)
  }
  const good = 'lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n'
  const { container } = await startContainer(t, { idmap: false, config: good })
  t.equal(await container.state(), 'RUNNING', 'control: with one that makes sense it starts')
})

t.test('the name is taken; it runs already; it does not run', { skip }, async t => {
  const { container, lxcpath, rootfs } = await startContainer(t)
  t.match(await errorOf(Container.create('c', { path: lxcpath, rootfs })), {
    code: 'ERR_CONTAINER_EXISTS',
    hint: /another name/,
  })
  t.match(await errorOf(container.start()), { code: 'ERR_CONTAINER_RUNNING', message: /it is RUNNING already/ })
  await container.stop()
  for (const act of [
    () => container.stop(),
    () => container.freeze(),
    () => container.stats(),
    () => container.reboot(),
  ]) {
    t.match(await errorOf(act()), { code: 'ERR_CONTAINER_NOT_RUNNING', hint: 'start it first' })
  }
})

t.test('root file systems', { skip }, async t => {
  const missing = await makeContainer(t, { rootfs: rootfs(t) })
  rmSync(missing.rootfs, { recursive: true })
  t.match(await errorOf(missing.container.start()), { code: 'ERR_ROOTFS_MISSING', step: 'rootfs.open' })
  mkdirSync(missing.rootfs)
  t.match(
    await errorOf(missing.container.start()),
    { code: 'ERR_INIT_MISSING', step: 'init.exec' },
    'an empty one has no init',
  )
  mkdirSync(join(missing.rootfs, 'sbin'))
  writeFileSync(join(missing.rootfs, 'sbin/init'), Buffer.from('\x7fELF\x02\x01\x01 of another machine'), {
    mode: 0o755,
  })
  t.match(await errorOf(missing.container.start()), { code: 'ERR_WRONG_ARCHITECTURE', hint: /file\(1\)/ })
  chmodSync(join(missing.rootfs, 'sbin/init'), 0o644)
  t.match(await errorOf(missing.container.start()), { code: 'EACCES', hint: /execute permission/ })
  t.equal(await missing.container.state(), 'STOPPED')
})

t.test('a filter, an fstab or a mount that is not there', { skip }, async t => {
  const cases: [string, object][] = [
    ['lxc.seccomp.profile = /nowhere/policy', { code: 'ENOENT', path: '/nowhere/policy', hint: /default filter/ }],
    ['lxc.mount.fstab = /nowhere/fstab', { code: 'ENOENT', path: '/nowhere/fstab' }],
    ['lxc.mount.entry = /nowhere mnt none bind,create=dir', { code: 'ENOENT', step: 'mount.open' }],
    ['lxc.mount.entry = none mnt nonesuchfs defaults,create=dir', { code: 'ENODEV', step: 'mount.attach' }],
  ]
  for (const [config, wanted] of cases) {
    const { container } = await makeContainer(t, { config })
    t.match(await errorOf(container.start()), wanted, config)
  }
  const { container } = await makeContainer(t, {
    config: 'lxc.mount.entry = /nowhere mnt none bind,optional,create=dir',
  })
  await container.start()
  t.equal(await container.state(), 'RUNNING', 'an optional mount is optional')
})

t.test('a start that is not wanted any more, or takes too long', { skip }, async t => {
  const { container } = await makeContainer(t)
  t.match(await errorOf(container.start({ signal: AbortSignal.abort() })), { code: 'ERR_ABORTED' })
  await container.wait('STOPPED', { timeout: 10_000 })
})

t.test('two at once: one wins, the other is told', { skip }, async t => {
  const { container } = await makeContainer(t)
  const ends = await Promise.allSettled([container.start(), container.start(), container.start()])
  t.equal(ends.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const end of ends) if (end.status === 'rejected') t.match(end.reason, { code: 'ERR_CONTAINER_RUNNING' })
})
