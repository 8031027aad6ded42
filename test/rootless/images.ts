// Run by an ordinary user (test/support/user.ts): copies of containers whose files belong to subordinate ids, or to the user.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Container, Images, recover } from '../../lib/index.ts'
import { archive } from '../image/archive.ts'

const ids = Number(process.env.CAISSON_TEST_IDS)
const home = process.env.HOME as string
const path = join(home, 'lxc')

const failure = (promise: PromiseLike<unknown>) =>
  Promise.resolve(promise).then(
    () => undefined,
    (error: unknown) => error,
  )

/** Runs a script of a shell inside, once. */
async function inside(container: Container, script: string): Promise<string> {
  await container.start()
  try {
    return (await container.attach(['sh', '-euc', script])).stdout
  } finally {
    await container.stop({ force: true })
  }
}

/** What a copy must keep: modes, owners, links, holes, times, FIFOs, and what others may not look into. */
const FILL = `
mkdir -m 700 /root/deep; echo secret >/root/deep/file; chmod 400 /root/deep/file
ln /root/deep/file /root/deep/hard; ln -s /nowhere /root/deep/soft; mkfifo /root/deep/fifo
truncate -s 8M /root/deep/sparse; touch -d '2001-02-03 04:05:06' /root/deep/old; cp /bin/busybox /root/deep/suid
${ids > 1 ? 'chown 1000:2000 /root/deep/sparse; mkdir -m 700 /home/u; chown 1000 /home/u' : ''}
chmod 4755 /root/deep/suid
`
const SEE = `
cd /root/deep; cat file; stat -c '%n %a %u:%g %h %s %F' / . * ${ids > 1 ? '/home/u' : ''}
stat -c %Y old; du -k sparse | cut -f1; readlink soft
`

const base = await Container.create('base', { path })
t.teardown(() => base.destroy({ force: true, snapshots: true }).catch(() => undefined))
await inside(base, FILL)
const before = await inside(base, SEE)
const own = join(path, 'base')
const first = (container: Container) => container.config.value('lxc.idmap')[0]?.host

t.test('a snapshot, and the way back', async t => {
  const name = await base.snapshots.create({ comment: 'as made' })
  t.match(await base.snapshots.list(), [{ name, comment: 'as made' }])
  await inside(base, 'rm -r /root/deep /etc')
  await base.snapshots.restore(name)
  t.equal(await inside(base, SEE), before)
  t.strictSame(
    readdirSync(own).filter(one => one.startsWith('restored-')).length,
    1,
    'what was there before is removed',
  )
  t.notOk(existsSync(join(own, 'rootfs')))
})

t.test('a copy, with ids of its own where there are more', async t => {
  const copy = await base.clone('copy')
  try {
    t.equal(first(copy) === first(base), ids < 131_072)
    t.equal(await inside(copy, SEE), before)
    t.equal(await inside(copy, 'cat /etc/hostname; stat -c %u:%g /etc/hostname'), 'copy\n0:0\n')
    t.equal(statSync(join(path, 'copy', 'rootfs')).uid, first(copy))
    const again = await copy.clone('again', { snapshot: false })
    await again.destroy()
  } finally {
    await copy.destroy({ force: true })
  }
  t.equal(await inside(base, SEE), before, 'its source is as it was')
})

t.test('a snapshot as a container of its own', async t => {
  const [snapshot] = await base.snapshots.list()
  const other = await base.snapshots.restore(snapshot?.name as string, 'other')
  try {
    t.equal(await inside(other, SEE), before)
  } finally {
    await other.destroy({ force: true })
  }
})

t.test('published, and launched from that', async t => {
  const images = await Images.open(join(home, 'images'))
  const image = await images.publish(base, { properties: { os: 'BusyBox' } })
  await images.setAlias('base', image.fingerprint)
  const launched = await images.launch('base', 'launched', { path })
  try {
    t.equal(await inside(launched, SEE), before)
  } finally {
    await launched.destroy()
  }
  const [snapshot] = await base.snapshots.list()
  t.match(await images.publish(base, { snapshot: snapshot?.name as string }), { fingerprint: /^[0-9a-f]{64}$/ })
})

t.test('a unified image', async t => {
  const owner = ids > 1 ? { uid: 1000, gid: 2000 } : {}
  const [yaml, program] = [`architecture: x86_64\ncreation_date: 1\n`, readFileSync('/bin/busybox')]
  const file = join(home, 'unified.tar')
  writeFileSync(
    file,
    archive([
      { name: 'metadata.yaml', data: yaml },
      { name: './rootfs', type: '5', mode: 0o751 },
      ...['bin', 'sbin', 'etc', 'root'].map(name => ({ name: `rootfs/${name}`, type: '5', mode: 0o755 })),
      { name: 'rootfs/bin/busybox', data: program, mode: 0o755 },
      ...['bin/sh', 'bin/stat', 'sbin/init'].map(name => ({
        name: `rootfs/${name}`,
        type: '2',
        linkname: '/bin/busybox',
      })),
      { name: 'rootfs/rootfs', data: 'x', ...owner },
      { name: 'rootfs/etc/hard', type: '1', linkname: './rootfs/rootfs' },
      { name: 'rootfs/etc/soft', type: '2', linkname: 'rootfs/x' },
    ]),
  )
  const images = await Images.open(join(home, 'unified'))
  const { fingerprint } = await images.import(file)
  const made = await images.launch(fingerprint, 'unified', { path })
  try {
    t.strictSame(
      readdirSync(join(path, 'unified')).filter(name => name.startsWith('rootfs')),
      ['rootfs'],
    )
    const seen = await inside(made, 'stat -c "%a %u:%g %h %N" / /rootfs /etc/soft')
    const who = ids > 1 ? '1000:2000' : '0:0'
    t.match(seen, new RegExp(`^751 0:0 .* /\n644 ${who} 2 /rootfs\n.*soft.* -> .*rootfs/x`))
  } finally {
    await made.destroy({ force: true })
  }
})

t.test('a root directory that only root inside may pass', async t => {
  const closed = await Container.create('closed', { path })
  try {
    await inside(closed, 'chmod 700 /')
    const name = await closed.snapshots.create()
    const copy = await closed.clone('copy')
    t.equal(statSync(join(path, 'copy', 'rootfs')).mode & 0o777, 0o700)
    await copy.destroy()
    await closed.snapshots.restore(name)
    await closed.snapshots.destroy(name)
  } finally {
    await closed.destroy({ force: true, snapshots: true })
  }
})

t.test('files of a stopped container', async t => {
  const { files } = base
  await files.write('/root/deep/file', 'changed', { mode: 0o640, ...(ids > 1 && { uid: 1000, gid: 2000 }) })
  t.equal((await files.read('/root/deep/file')).toString(), 'changed')
  await files.write('/root/deep/-n', new Uint8Array([0, 255, 10]))
  t.strictSame([...(await files.read('/root/deep/-n'))], [0, 255, 10])
  const seen = await inside(base, 'cd /root/deep; stat -c "%a %u:%g %s" file ./-n; ls | grep -c caisson || :; rm ./-n')
  t.equal(seen, `640 ${ids > 1 ? '1000:2000' : '0:0'} 7\n644 0:0 3\n0\n`)
  await inside(base, 'ln -s /etc/passwd /root/deep/link; ln -s /root/deep /way')
  const accounts = (await files.read('/root/deep/link')).toString()
  t.match(accounts, /^root:x:0:0:/)
  t.notMatch(accounts, /caisson-tester/, 'not the host’s')
  t.equal((await files.read('/way/file')).toString(), 'changed')
  t.match(await failure(files.read('/root/deep/none')), { code: 'ENOENT' })
  t.match(await failure(files.read('/root/deep/fifo')), { code: 'EINVAL' })
  t.match(await failure(files.read('/root/deep')), { code: 'EINVAL' })
  t.match(await failure(files.write('/root/none/file', 'x')), { code: 'ENOENT' })
  t.match(await failure(files.write('/root/deep', 'x')), { code: /./ })
  t.equal(await inside(base, 'ls -A /root /root/deep | grep -c caisson || :'), '0\n', 'and nothing beside it is left')
  if (ids > 1) t.match(await failure(files.write('/etc/motd', 'x', { uid: 70_000 })), { code: 'ERR_ID_NOT_GRANTED' })
})

t.test('trees into a stopped container and out of it', async t => {
  const { files } = base
  const tree = join(home, 'tree')
  mkdirSync(join(tree, 'below'), { recursive: true })
  writeFileSync(join(tree, 'below/file'), 'mine', { mode: 0o600 })
  symlinkSync('/etc/passwd', join(tree, 'link'))
  await files.push(tree, '/root/deep/tree')
  await files.push(tree, '/root/deep/tree')
  const alone = await failure(files.push(join(tree, 'below/file'), '/root/deep/alone'))
  t.match(
    alone,
    ids > 1 ? undefined : { code: 'ERR_ID_NOT_GRANTED' },
    'a file keeps its owner, whom one id does not have',
  )
  t.equal(
    await inside(base, 'cd /root/deep/tree; stat -c "%n %a %u:%g" below/file link; cat below/file'),
    'below/file 600 0:0\nlink 777 0:0\nmine',
  )
  const out = join(home, 'out')
  const told: number[] = []
  await files.pull('/root/deep', out, { onProgress: ({ done }) => told.push(done) })
  t.equal(readFileSync(join(out, 'file'), 'utf8'), 'changed')
  t.equal(readFileSync(join(out, 'tree/below/file'), 'utf8'), 'mine')
  t.equal(statSync(join(out, 'sparse')).uid, process.getuid?.(), 'a user has one id to give')
  t.ok(told.length > 0)
  await files.pull('/root/deep/file', join(home, 'file'))
  t.equal(readFileSync(join(home, 'file'), 'utf8'), 'changed')
  t.match(await failure(files.pull('/none', join(home, 'none'))), { code: 'ENOENT' })
  t.notOk(existsSync(join(home, 'none')))
})

t.test('what fails leaves nothing', async t => {
  const there = readdirSync(path).sort()
  const inside = readdirSync(own).sort()
  const late = new AbortController()
  const hook = base.onHook('clone', () => late.abort())
  t.match(
    await failure(base.clone('late', { signal: late.signal })),
    { code: 'ERR_ABORTED' },
    'when its files were copied',
  )
  hook[Symbol.dispose]()
  t.match(await failure(base.snapshots.create({ signal: AbortSignal.abort() })), { code: 'ERR_ABORTED' })
  t.strictSame(readdirSync(path).sort(), there)
  t.strictSame(readdirSync(own).sort(), inside)
})

t.test('what a user cannot have is refused, and a copy is made where one was not demanded', async t => {
  t.match(await failure(base.clone('shared', { snapshot: true })), {
    code: 'ERR_FEATURE_MISSING',
    message: /storage "dir" has no snapshots for an ordinary user/,
    hint: /copy/,
  })
  t.match(await failure(base.clone('quick', { ephemeral: true, tmpfs: true })), { code: 'ERR_INVALID_OPTION' })
  t.strictSame(readdirSync(path), ['base'])
  const gone = await base.clone('gone', { ephemeral: true })
  t.equal(await inside(gone, SEE), await inside(base, SEE))
  t.strictSame(readdirSync(path), ['base'])
  base.config.set('lxc.hook.clone', '/bin/true')
  await base.config.save()
  t.match(await failure(base.clone('hooked')), { code: 'ERR_FEATURE_MISSING', hint: /hook/ })
  base.config.clear('lxc.hook.clone')
  await base.config.save()
})

t.test('removed, with all snapshots', async t => {
  await base.destroy({ snapshots: true })
  t.strictSame(readdirSync(path), [])
  t.strictSame(await recover({ path }), [])
})
