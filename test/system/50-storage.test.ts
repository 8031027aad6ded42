/** Containers copied, kept, put back, renamed, and their files, on each backend that this host has. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Container, Images } from '../../lib/index.ts'
import { hasProgram } from '../../lib/native/program.ts'
import { errorOf } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

const say = async (container: Container, command: string): Promise<string> =>
  (await container.attach(['/bin/sh', '-c', command])).stdout.trimEnd()

async function newContainer(
  t: Test,
  name: string,
  options: object = {},
): Promise<{ lxcpath: string; container: Container }> {
  const lxcpath = (options as { backend?: string }).backend === 'btrfs' ? btrfs(t) : directory(t)
  return { lxcpath, container: await Container.create(name, { path: lxcpath, ...options }) }
}

/** An lxcpath on a btrfs of its own. */
function btrfs(t: Test): string {
  const at = directory(t)
  const mount = join(at, 'mount')
  const script = 'truncate -s 1G "$1.img"; mkfs.btrfs -q "$1.img"; mkdir "$1"; mount -o loop "$1.img" "$1"'
  execFileSync('sh', ['-euc', script, 'sh', mount])
  t.teardown(() => execFileSync('umount', [mount]))
  return mount
}

const BACKENDS = [
  ['dir', needsRoot],
  ['overlay', needsRoot],
  ['loop', needsRoot || (hasProgram('mkfs.ext4') ? false : 'needs e2fsprogs')],
  ['btrfs', needsRoot || (hasProgram('mkfs.btrfs') ? false : 'needs btrfs-progs')],
] as const

/** Files of an overlay are written from inside. */
async function write(container: Container, text: string): Promise<void> {
  await container.start()
  await container.files.write('/etc/state', `${text}\n`)
  await container.stop({ force: true })
}

async function away(...containers: Container[]): Promise<void> {
  for (const container of containers) await container.destroy({ force: true, snapshots: true })
}

for (const [backend, skip] of BACKENDS) {
  t.test(`${backend}: snapshots are put back, and become containers`, { skip }, async t => {
    const { lxcpath, container } = await newContainer(t, 'web', { backend })
    const keep = (text: string): Promise<void> => write(container, text)
    await keep('one')
    t.equal(await container.snapshots.create({ comment: 'first' }), 'snap0')
    await keep('two')
    t.equal(await container.snapshots.create(), 'snap1')
    t.match(await container.snapshots.list(), [{ name: 'snap0', comment: 'first', stateful: false }, { name: 'snap1' }])
    t.match(await readFile(join(lxcpath, 'web/snaps/snap0/ts'), 'utf8'), /^\d{4}:\d\d:\d\d \d\d:\d\d:\d\d$/)
    t.ok(Math.abs(((await container.snapshots.list())[0]?.at.getTime() ?? 0) - Date.now()) < 60_000)

    await container.snapshots.restore('snap0')
    t.equal((await container.files.read('/etc/state')).toString(), 'one\n')
    await container.start()
    t.equal(await say(container, 'cat /etc/state; hostname'), 'one\nweb', 'what was put back starts')
    await t.rejects(container.snapshots.create(), { code: 'ERR_CONTAINER_RUNNING' })
    await container.stop({ force: true })

    const other = await container.snapshots.restore('snap1', 'other')
    await other.start()
    t.equal(await say(other, 'cat /etc/state; hostname; cat /etc/hostname'), 'two\nother\nother')
    if (backend !== 'overlay')
      t.not(other.config.get('lxc.idmap')?.[0], container.config.get('lxc.idmap')?.[0], 'own ids')
    await t.rejects(container.snapshots.restore('snap7'), { code: 'ERR_CONTAINER_NOT_FOUND', hint: /snap0, snap1/ })
    await t.rejects(container.destroy(), { code: 'ERR_CONTAINER_BUSY', hint: /snapshots/ })
    await container.snapshots.destroy('snap0')
    t.equal((await container.snapshots.list()).length, 1)
    await away(other, container)
    t.notOk(existsSync(join(lxcpath, 'web')))
  })

  t.test(`${backend}: clones`, { skip }, async t => {
    const net = [
      ['lxc.net.0.type', 'empty'],
      ['lxc.net.0.hwaddr', '10:66:6a:01:02:03'],
    ] as const
    const { lxcpath, container } = await newContainer(t, 'web', { backend, config: net })
    await write(container, 'one')
    const copy = await container.clone('copy')
    if (backend === 'loop')
      await t.rejects(container.clone('fork', { snapshot: true }), { code: 'ERR_FEATURE_MISSING', hint: /copy/ })
    const fork = await container.clone('fork', { snapshot: backend !== 'loop' })
    t.match(fork.config.get('lxc.rootfs.path'), backend === 'dir' ? /^overlay:/ : new RegExp(`^${backend}:`))
    t.match(copy.config.get('lxc.net.0.hwaddr'), /^10:66:6a:/)
    t.not(copy.config.get('lxc.net.0.hwaddr'), '10:66:6a:01:02:03')
    t.equal(
      (await container.clone('kept', { keepMac: true, keepName: true })).config.get('lxc.net.0.hwaddr'),
      '10:66:6a:01:02:03',
    )
    for (const one of [copy, fork]) {
      await one.start()
      t.equal(await say(one, 'cat /etc/state; hostname; echo mine >/etc/state'), `one\n${one.name}`)
      await one.stop({ force: true })
    }
    t.equal((await container.files.read('/etc/state')).toString(), 'one\n', 'the source is as it was')
    t.equal((await fork.files.read('/etc/state')).toString(), 'mine\n')
    if (backend === 'dir') {
      t.equal(await readFile(join(lxcpath, 'web/lxc_snapshots'), 'utf8'), `${lxcpath}\nfork\n`)
      t.equal(await readFile(join(lxcpath, 'fork/lxc_rdepends'), 'utf8'), `${lxcpath}\nweb\n`)
      await t.rejects(container.destroy(), { code: 'ERR_CONTAINER_BUSY', hint: /"fork"/ })
      await fork.rename('knife')
      await t.rejects(container.destroy(), { code: 'ERR_CONTAINER_BUSY', hint: /"knife"/ })
    }
    await t.rejects(container.clone('copy'), { code: 'ERR_CONTAINER_EXISTS' })
    await t.rejects(container.clone('../x'), { code: 'ERR_INVALID_NAME' })
    await away(fork, copy, await Container.open('kept', { path: lxcpath }), container)
  })
}

for (const fstype of ['ext4', 'btrfs', 'xfs'] as const) {
  const skip = needsRoot || (hasProgram(`mkfs.${fstype}`) ? false : `needs mkfs.${fstype}`)
  t.test(`loop: its file system is the one that it was made with: ${fstype}`, { skip }, async t => {
    const size = 400 * 1024 * 1024
    const { container } = await newContainer(t, 'web', { backend: 'loop', fstype, size })
    t.equal(container.config.get('caisson.rootfs.fstype'), fstype === 'ext4' ? undefined : fstype)
    for (const one of [container, await container.clone('copy')]) {
      await one.start()
      t.match(await say(one, 'grep " / " /proc/mounts'), new RegExp(` / ${fstype} rw`))
      const full = await one.attach(['dd', 'if=/dev/zero', 'of=/big', 'bs=1M'], { reject: false })
      t.match(full.stderr, /No space left/, 'it holds its size and no more')
      await one.stop({ force: true })
      t.equal((await stat(rootOf(one))).size, size)
    }
    container.config.set('caisson.rootfs.fstype', fstype === 'ext4' ? 'btrfs' : 'ext4')
    t.match(
      await errorOf(container.start()),
      { code: 'EINVAL', step: 'rootfs.open' },
      'it is not looked at to find out another',
    )
    await away(container, await Container.open('copy', { path: container.path }))
  })
}

const rootOf = (container: Container): string => (container.config.value('lxc.rootfs.path') as { path: string }).path

t.test('the devices of images go with their containers', { skip: needsRoot }, async t => {
  const { container, lxcpath } = await newContainer(t, 'web', { backend: 'loop' })
  const loops = (): number =>
    execFileSync('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE'], { encoding: 'utf8' }).split(lxcpath)
      .length - 1
  await container.start()
  t.equal(loops(), 1)
  await container.files.write('/etc/state', 'running')
  await container.stop({ force: true })
  t.equal(loops(), 0)
  t.equal((await container.files.read('/etc/state')).toString(), 'running')
  t.equal(loops(), 0, 'what was mounted to look at it is gone, too')
  await away(container)
})

t.test('rename', { skip: needsRoot }, async t => {
  const { lxcpath, container } = await newContainer(t, 'before')
  await container.rename('after')
  t.equal(container.name, 'after')
  await t.rejects(Container.open('before', { path: lxcpath }), { code: 'ERR_CONTAINER_NOT_FOUND' })
  const again = await Container.open('after', { path: lxcpath })
  await again.start()
  t.equal(await say(again, 'hostname'), 'after')
  await away(again)
})

t.test('N2, N8: files, running and not, stay inside', { skip: needsRoot }, async t => {
  const { lxcpath, container } = await newContainer(t, 'web')
  const host = join(lxcpath, 'host')
  await mkdir(join(host, 'sub'), { recursive: true })
  await writeFile(join(host, 'sub/file'), 'pushed', { mode: 0o640 })
  const canary = join(lxcpath, 'canary')
  await writeFile(canary, 'alive')
  await container.start()
  await say(container, `ln -s ${lxcpath} /out; mkfifo /pipe; ln -s /etc /inner`)
  for (const state of ['running', 'stopped']) {
    if (state === 'stopped') await container.stop({ force: true })
    await container.files.write('/inner/new', state, { mode: 0o4711, uid: 5, gid: 6 })
    t.equal((await container.files.read('/etc/new')).toString(), state, `${state}: links inside are followed inside`)
    await t.rejects(container.files.read('/out/canary'), { code: 'ENOENT' }, `${state}: links do not lead out`)
    await t.rejects(container.files.write('/out/canary', 'dead'), `${state}: nor for writing`)
    await t.rejects(container.files.read('/pipe'), { code: 'EINVAL' }, `${state}: a FIFO is not waited for`)
    await t.rejects(container.files.read('/../../etc/nothing'), { code: 'ENOENT' })
    await container.files.push(join(host, 'sub'), `/srv-${state}`)
    t.equal((await container.files.read(`/srv-${state}/file`)).toString(), 'pushed')
    await container.files.pull(`/srv-${state}`, join(host, `back-${state}`))
    t.match(await stat(join(host, `back-${state}/file`)), { size: 6, uid: 0 })
    t.equal((await stat(join(host, `back-${state}/file`))).mode & 0o777, 0o640)
    t.equal(await readFile(canary, 'utf8'), 'alive')
  }
  await container.start()
  t.equal(await say(container, 'stat -c "%a %u:%g" /etc/new'), '4711 5:6')
  await away(container)
})

t.test('an image is shared by the containers that are made of it', { skip: needsRoot }, async t => {
  const { lxcpath, container } = await newContainer(t, 'base')
  const store = await Images.open(join(lxcpath, 'store'))
  const image = await store.publish(container, { properties: { os: 'BusyBox' } })
  await store.setAlias('base', image.fingerprint)
  const one = await store.launch('base', 'one', { path: lxcpath })
  const two = await store.launch(image.fingerprint.slice(0, 12), 'two', { path: lxcpath })
  await one.start()
  t.equal(await say(one, 'echo mine >/etc/motd; id -u; ls /sbin/init'), '0\n/sbin/init')
  await t.rejects(two.files.read('/etc/motd'), { code: 'ENOENT' })
  await t.rejects(store.remove(image.fingerprint), { code: 'ERR_CONTAINER_BUSY' })
  const copy = await two.clone('three')
  await away(one, two)
  await t.rejects(store.remove(image.fingerprint), { code: 'ERR_CONTAINER_BUSY' }, 'a clone stands on it, too')
  await away(copy)
  await store.remove(image.fingerprint)
  await away(container)
})
