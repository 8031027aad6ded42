// Containers that move: to other names and lxcpaths, also of other file systems; snapshots with names; files with progress and an end.
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Container } from '../../lib/index.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

const skip = needsRoot

/** An lxcpath on another file system than that of the tests, if there is one. */
async function otherFileSystem(t: Test): Promise<string | undefined> {
  const there = await stat('/dev/shm').catch(() => undefined)
  if (there === undefined || there.dev === (await stat(tmpdir())).dev) return undefined
  const made = await mkdtemp('/dev/shm/caisson-test-')
  t.teardown(() => rm(made, { recursive: true, force: true }))
  return made
}

t.test('a container moves to another lxcpath', { skip }, async t => {
  const [from, to] = [directory(t), join(directory(t), 'made/when/needed')]
  const container = await Container.create('web', { path: from })
  const ids = container.config.get('lxc.idmap')
  await container.files.write('/etc/state', 'kept\n')
  await container.rename('web', { path: to })
  t.equal(container.path, to)
  t.notOk(existsSync(join(from, 'web')))
  t.strictSame(container.config.get('lxc.idmap'), ids, 'with its ids')
  await container.start()
  t.equal((await container.attach(['cat', '/etc/state', '/etc/hostname'])).stdout, 'kept\nweb\n')
  await container.stop({ force: true })
  const other = await Container.create('web', { path: from })
  t.notSame(other.config.get('lxc.idmap'), ids, 'which stay its own')
  await t.rejects(other.rename('web', { path: to }), { code: 'ERR_CONTAINER_EXISTS' })
  await t.rejects(other.rename('web', { pth: to } as never), { code: 'ERR_INVALID_OPTION', hint: /path/ })
  await other.destroy()
  await container.destroy()
})

t.test('and to another file system', { skip }, async t => {
  const to = await otherFileSystem(t)
  if (to === undefined) return void t.pass('# SKIP needs /dev/shm on another file system than the temporary directory')
  const from = directory(t)
  for (const backend of ['dir', 'loop'] as const) {
    const container = await Container.create('web', { path: from, backend })
    container.config.set('lxc.net.0.type', 'empty').set('lxc.net.0.hwaddr', '10:66:6a:01:02:03')
    container.config.set('lxc.hook.clone', '/bin/false')
    await container.config.save()
    const ids = container.config.get('lxc.idmap')
    await container.files.write('/etc/state', 'kept\n', { uid: 7 })
    await container.rename('mail', { path: to })
    t.notOk(existsSync(join(from, 'web')))
    t.strictSame(await readdir(from), [])
    t.strictSame(container.config.get('lxc.idmap'), ids)
    t.equal(container.config.get('lxc.net.0.hwaddr'), '10:66:6a:01:02:03')
    await container.start()
    t.equal(
      (await container.attach(['sh', '-c', 'cat /etc/state; hostname; stat -c %u /etc/state'])).stdout,
      'kept\nmail\n7\n',
    )
    await container.stop({ force: true })
    await container.destroy()
  }
})

t.test('a move that was cut off is one or the other', { skip }, async t => {
  const [from, to] = [directory(t), directory(t)]
  const container = await Container.create('web', { path: from })
  const text = await readFile(join(from, 'web/config'), 'utf8')
  const next = text.replaceAll(`${from}/web/`, `${to}/mail/`)
  await writeFile(join(from, 'web/config.next'), `# ${to}/mail\n${next}`)
  t.equal((await Container.open('web', { path: from })).config.toString(), text, 'before the moment it is the old one')
  await rename(join(from, 'web'), join(to, 'mail'))
  const moved = await Container.open('mail', { path: to })
  t.equal(moved.config.get('lxc.rootfs.path'), `dir:${to}/mail/rootfs`, 'after it the new one')
  t.notOk(existsSync(join(to, 'mail/config.next')))
  await moved.start()
  await moved.stop({ force: true })
  await moved.destroy()
  t.equal(container.name, 'web')
})

t.test('snapshots have names of their own', { skip }, async t => {
  const path = directory(t)
  const container = await Container.create('web', { path })
  await container.files.write('/etc/state', 'one')
  await container.snapshots.create({ comment: 'first' })
  await container.files.write('/etc/state', 'two')
  await container.snapshots.create()
  await container.snapshots.rename('snap0', 'before-upgrade')
  const names = (await container.snapshots.list()).map(({ name, comment }) => [name, comment])
  t.strictSame(names, [
    ['snap1', undefined],
    ['before-upgrade', 'first'],
  ])
  await t.rejects(container.snapshots.rename('snap1', 'before-upgrade'), { code: 'ERR_CONTAINER_EXISTS' })
  await t.rejects(container.snapshots.rename('snap1', '../x'), { code: 'ERR_INVALID_NAME' })
  await t.rejects(container.snapshots.rename('snap0', 'x'), {
    code: 'ERR_CONTAINER_NOT_FOUND',
    hint: /snap1, before-upgrade/,
  })
  await container.snapshots.restore('before-upgrade')
  t.equal((await container.files.read('/etc/state')).toString(), 'one')
  t.equal(await container.snapshots.create(), 'snap0', 'a number that is free again')
  await container.destroy({ snapshots: true })
  t.strictSame(await readdir(path), [])
})

t.test('what LXC has not finished is no container', { skip }, async t => {
  const path = directory(t)
  const container = await Container.create('web', { path })
  await writeFile(join(path, 'web/partial'), '')
  t.strictSame(await Container.list({ path }), [])
  await t.rejects(Container.open('web', { path }), { code: 'ERR_CONTAINER_NOT_FOUND', hint: /lxc-create/ })
  await t.rejects(Container.create('web', { path }), { code: 'ERR_CONTAINER_EXISTS' })
  await rm(join(path, 'web/partial'))
  t.equal((await Container.list({ path })).length, 1)
  await container.destroy()
})

t.test('files come and go with progress, and can be broken off', { skip }, async t => {
  const path = directory(t)
  const container = await Container.create('web', { path })
  const host = join(path, 'host')
  await mkdir(join(host, 'sub'), { recursive: true })
  await writeFile(join(host, 'sub/large'), Buffer.alloc(3_000_000, 7))
  for (const state of ['stopped', 'running']) {
    if (state === 'running') await container.start()
    const seen: { phase: string; done: number; total?: number }[] = []
    const onProgress = (progress: { phase: string; done: number; total?: number }) => void seen.push(progress)
    await container.files.push(host, '/srv', { onProgress })
    await container.files.push(join(host, 'sub/large'), '/one', { onProgress })
    await container.files.pull('/srv', join(path, `back-${state}`), { onProgress })
    t.strictSame(
      seen.find(({ total }) => total !== undefined),
      { phase: 'push', done: 3_000_000, total: 3_000_000 },
    )
    for (const phase of ['push', 'pull']) {
      const of = seen.filter(one => one.phase === phase && one.total === undefined).map(({ done }) => done)
      t.ok(of.length > 1 && (of.at(-1) as number) >= 3_000_000, `${state}: ${phase} says how far it is`)
      t.strictSame(
        of,
        of.toSorted((a, b) => a - b),
      )
    }
    t.strictSame(await readFile(join(path, `back-${state}`, 'sub/large')), await readFile(join(host, 'sub/large')))
    for (const act of ['push', 'pull'] as const) {
      const [source, target] = act === 'push' ? [host, `/again`] : ['/srv', join(path, `again-${state}`)]
      await t.rejects(container.files[act](source, target, { signal: AbortSignal.abort() }), { code: 'ERR_ABORTED' })
      const stop = new AbortController()
      const broken = container.files[act](source, target, { signal: stop.signal, onProgress: () => stop.abort() })
      await t.rejects(broken, { code: 'ERR_ABORTED' }, `${state}: ${act} ends when it is told to`)
    }
    await t.rejects(container.files.push(host, '/x', { progress: 1 } as never), { code: 'ERR_INVALID_OPTION' })
  }
  await container.stop({ force: true })
  await container.destroy()
})

t.test('the lower layers of an overlay stay as long as somebody stands on them', { skip }, async t => {
  const path = directory(t)
  const container = await Container.create('web', { path, backend: 'overlay' })
  const copy = await container.clone('copy')
  await t.rejects(container.destroy(), { code: 'ERR_CONTAINER_BUSY', hint: /"copy"/ })
  await t.rejects(container.rename('x'), { code: 'ERR_CONTAINER_BUSY' })
  await copy.start()
  await copy.stop({ force: true })
  await copy.destroy()
  await container.destroy()
})
