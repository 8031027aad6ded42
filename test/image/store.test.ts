/** The image store, servers and their failures: what is listed is whole, what is fetched is what was promised. */
import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { exportImage, importImage, publishTree } from '../../lib/image/bring.ts'
import { holdTree, releaseTree } from '../../lib/image/holders.ts'
import type { ImageRecord } from '../../lib/image/record.ts'
import { copyFromDownloads, copyFromStreams, listDownloads, refreshImages } from '../../lib/image/remote.ts'
import { serveImages } from '../../lib/image/serve.ts'
import { chooseImage, parseProducts } from '../../lib/image/simplestreams.ts'
import { ImageStore } from '../../lib/image/store.ts'
import { createRootfs, type TemplateContext } from '../../lib/image/template.ts'
import { findTemplate } from '../../lib/image/templates.ts'
import { treeOf } from '../../lib/image/trees.ts'
import { verifySignature } from '../../lib/image/verify.ts'
import { archive } from './archive.ts'
import { serve } from './server.ts'

const rooted = { skip: process.geteuid?.() === 0 ? false : 'needs root: owners' }
const base = await mkdtemp(join(tmpdir(), 'caisson-store-'))
t.teardown(() => rm(base, { recursive: true }))
let serial = 0
const fresh = async (): Promise<string> => {
  const path = join(base, String(++serial))
  await mkdir(path, { mode: 0o700 })
  return path
}
const newStore = async (): Promise<ImageStore> => ImageStore.open(join(await fresh(), 'store'))

/** A tree of a container, small enough for many tests. */
async function tree(text = 'hello'): Promise<string> {
  const path = await fresh()
  await mkdir(join(path, 'etc'))
  await writeFile(join(path, 'etc/motd'), text)
  await symlink('motd', join(path, 'etc/issue'))
  await chmod(path, 0o755)
  return path
}

async function publish(store: ImageStore, text: string, serialOf = '20260101_00:00'): Promise<ImageRecord> {
  const properties = { os: 'Busy', release: '1', variant: 'default', serial: serialOf }
  return publishTree(store, await tree(text), { properties, compression: 'xz' })
}

/** A store with an image, served over both protocols. */
async function imageServer(
  test: Test,
): Promise<{ from: ImageStore; image: ImageRecord; www: string; server: Awaited<ReturnType<typeof serve>> }> {
  const from = await newStore()
  const image = await publish(from, 'served')
  const www = await fresh()
  await serveImages(from, www, [{ image: image.fingerprint }])
  const server = await serve(www)
  test.teardown(() => server.close())
  return { from, image, www, server }
}

const context = async (options: Record<string, unknown>): Promise<TemplateContext> => {
  const rootfs = join(await fresh(), 'rootfs')
  await mkdir(rootfs)
  return { name: 'web', rootfs, options }
}

t.test('a store keeps images by what they are', rooted, async t => {
  const store = await newStore()
  const image = await publish(store, 'one')
  const other = await publish(store, 'two', '20260102_00:00')
  t.match(image, { layout: 'split', architecture: /./, properties: { os: 'Busy' }, cached: false })
  t.equal((await store.get(image.fingerprint.slice(0, 12))).fingerprint, image.fingerprint)
  await store.setAlias('busy', image.fingerprint, { description: 'small' })
  t.match(await store.get('busy'), { fingerprint: image.fingerprint })
  await t.rejects(store.get('bussy'), { code: 'ERR_IMAGE_NOT_FOUND', hint: 'did you mean "busy"?' })
  await t.rejects(store.setAlias('busy', other.fingerprint), { code: 'ERR_IMAGE_EXISTS' })
  await t.rejects(store.setAlias('../../etc/x', 'busy'), { code: 'ERR_INVALID_OPTION' })
  await store.setAlias('a/../../b', image.fingerprint)
  t.same((await readdir(join(store.path, 'aliases'))).sort(), ['a%2F..%2F..%2Fb', 'busy'])
  t.match(await store.aliases(), [{ name: 'a/../../b' }, { name: 'busy', description: 'small' }])
  await store.setProperties('busy', { variant: 'tiny', serial: undefined })
  t.equal((await store.list({ properties: { variant: 'tiny' } })).length, 1)
  t.equal((await store.list({ properties: { variant: /./ } })).length, 2)
  t.equal((await store.list({ properties: { serial: /./ } })).length, 1)
  t.equal((await store.list({ architecture: 'none' })).length, 0)
  await store.remove('busy')
  t.same(await store.aliases(), [])
  t.same(
    (await store.list()).map(one => one.fingerprint),
    [other.fingerprint],
  )
  t.same((await readdir(join(store.path, 'blobs'))).sort(), other.files.map(file => file.sha256).sort())
})

t.test('what goes out comes in again as the same image', rooted, async t => {
  const store = await newStore()
  const image = await publish(store, 'round trip')
  const to = await fresh()
  t.match(
    (await exportImage(store, image.fingerprint, to)).map(path => path.split('/').at(-1)),
    ['metadata.tar.xz', 'rootfs.tar.xz'],
  )
  const second = await newStore()
  t.equal((await importImage(second, to)).fingerprint, image.fingerprint)
  const made = await context({ image: image.fingerprint, store: store.path })
  const { config } = await createRootfs(findTemplate('local'), made)
  t.match(config, [['lxc.arch', image.architecture]])
  t.equal(await readFile(join(made.rootfs, 'etc/motd'), 'utf8'), 'round trip')
})

t.test('a unified image, with its templates', rooted, async t => {
  const metadata = `architecture: amd64
creation_date: 1700000000
properties:
  os: Busy   # comment
  description: "with: colon"
templates:
  /etc/hostname:
    when:
    - create
    - copy
    template: hostname.tpl
    mode: "0600"
  /etc/kept:
    when: [create]
    create_only: true
    template: hostname.tpl
`.replace('[create]', '["create"]')
  const path = join(await fresh(), 'unified.tar')
  await writeFile(
    path,
    archive([
      { name: 'metadata.yaml', data: metadata },
      { name: 'templates', type: '5', mode: 0o755 },
      { name: 'templates/hostname.tpl', data: '{{ container.name }}{% if trigger == "create" %}!{% endif %}\n' },
      { name: 'rootfs', type: '5', mode: 0o755 },
      { name: 'rootfs/etc', type: '5', mode: 0o755 },
      { name: 'rootfs/etc/kept', data: 'mine' },
      { name: 'rootfs/etc/hostname', type: '2', linkname: '/etc/shadow' },
    ]),
  )
  const store = await newStore()
  const image = await importImage(store, path)
  t.match(image, { layout: 'unified', architecture: 'x86_64', properties: { os: 'Busy', description: 'with: colon' } })
  t.equal(
    image.fingerprint,
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex'),
  )
  const made = await context({ path, store: store.path })
  await createRootfs(findTemplate('local'), made)
  t.equal(await readFile(join(made.rootfs, 'etc/hostname'), 'utf8'), 'web!\n', 'the link is replaced, not followed')
  t.equal(await readFile(join(made.rootfs, 'etc/kept'), 'utf8'), 'mine')
  t.same(await readdir(made.rootfs), ['etc'])
})

t.test('M8: bytes that change in the store are found before they are unpacked', rooted, async t => {
  const store = await newStore()
  const image = await publish(store, 'trusted')
  const blob = join(store.path, 'blobs', (image.files[1] as { sha256: string }).sha256)
  const bytes = await readFile(blob)
  bytes[100] = (bytes[100] as number) ^ 1
  await writeFile(blob, bytes)
  const made = await context({ image: image.fingerprint, store: store.path })
  await t.rejects(createRootfs(findTemplate('local'), made), { code: 'ERR_IMAGE', step: 'image.verify' })
  t.same(await readdir(made.rootfs), [])
  await writeFile(join(store.path, 'images', image.fingerprint), '{"version": 1, "fingerprint": "../../x"}')
  await t.rejects(store.list(), { code: 'ERR_IMAGE', message: /damaged/ })
})

t.test('a store that others may write to is refused', async t => {
  const path = await fresh()
  await chmod(path, 0o777)
  await t.rejects(ImageStore.open(path), { code: 'EACCES' })
})

t.test('trees stand as long as somebody stands on them', rooted, async t => {
  const store = await newStore()
  const image = await publish(store, 'base')
  const [one, two] = await Promise.all([treeOf(store, image), treeOf(store, image)])
  t.equal(one, two, 'two at once make one')
  t.equal(await readFile(join(one, 'etc/motd'), 'utf8'), 'base')
  await holdTree(one, '/lxc/web')
  await t.rejects(store.remove(image.fingerprint), { code: 'ERR_CONTAINER_BUSY' })
  await releaseTree(one, '/lxc/web')
  await store.remove(image.fingerprint)
  t.notOk(existsSync(one))
})

t.test('prune takes what is cached and idle, and nothing else', rooted, async t => {
  const store = await newStore()
  const kept = await publish(store, 'kept')
  const idle = await publish(store, 'idle')
  const held = await publish(store, 'held')
  for (const image of [idle, held]) await store.write({ ...image, cached: true })
  await holdTree(await treeOf(store, held), '/lxc/web')
  t.same(await store.prune(), [])
  const later = new Date(Date.now() + 11 * 86_400_000)
  await writeFile(join(store.downloads, 'left.part'), 'x')
  t.same(await store.prune({ now: later }), [idle.fingerprint])
  t.same((await store.list()).map(one => one.fingerprint).sort(), [kept.fingerprint, held.fingerprint].sort())
  t.same(await readdir(store.downloads), [], 'what dead processes left goes')
})

t.test('our servers, by both protocols', rooted, async t => {
  const { server } = await imageServer(t)
  const store = await newStore()
  const arch = process.arch === 'x64' ? 'amd64' : process.arch
  t.test('simplestreams', async t => {
    const image = await copyFromStreams(store, server.url, 'busy/1')
    t.match(image, { source: { protocol: 'simplestreams', serial: '20260101_00:00' }, properties: { os: 'Busy' } })
    server.requests.length = 0
    await copyFromStreams(store, server.url, 'busy/1')
    t.equal(server.requests.length, 2, 'what is here is not fetched again')
    await t.rejects(copyFromStreams(store, server.url, 'busi/1'), { code: 'ERR_IMAGE_NOT_FOUND', hint: /busy\/1/ })
  })
  t.test("LXC's protocol", async t => {
    t.match(await listDownloads(server.url, 'system'), [{ dist: 'busy', release: '1', arch, variant: 'default' }])
    const options = { dist: 'busy', release: '1', server: server.url, store: store.path }
    const made = await context(options)
    const result = await createRootfs(findTemplate('download'), made)
    t.match(result.message, /You just created a Busy/)
    t.ok(new Map(result.config).get('lxc.arch'))
    t.equal(await readFile(join(made.rootfs, 'etc/motd'), 'utf8'), 'served')
    server.requests.length = 0
    await createRootfs(findTemplate('download'), await context(options))
    t.same(server.requests, [], 'an image that has not expired is used without asking')
    await createRootfs(findTemplate('download'), await context({ ...options, flushCache: true }))
    t.equal(server.requests.length, 2, 'asked whether there is a newer one (two names of the index)')
    const wrong = await context({ ...options, release: '2' })
    await t.rejects(createRootfs(findTemplate('download'), wrong), { code: 'ERR_IMAGE_NOT_FOUND', hint: /busy\/1/ })
  })
  t.test('a broken line in the middle', async t => {
    const other = await newStore()
    server.fail('rootfs.tar.xz', 'reset', 9)
    const options = { retries: 0 } as object
    await t.rejects(copyFromStreams(other, server.url, 'busy/1', options), { code: 'ERR_NETWORK' })
    t.same(await other.list(), [])
  })
})

t.test('M8: what a server gives is what its lists promise', rooted, async t => {
  const { server } = await imageServer(t)
  for (const [part, copy] of [
    ['rootfs.tar.xz', (s: ImageStore) => copyFromStreams(s, server.url, 'busy/1')],
    ['lxd.tar.xz', (s: ImageStore) => copyFromStreams(s, server.url, 'busy/1')],
    [
      'meta.tar.xz',
      (s: ImageStore) =>
        copyFromDownloads(
          s,
          server.url,
          { dist: 'busy', release: '1', arch: 'amd64', variant: 'default' },
          { architecture: 'amd64' },
        ),
    ],
  ] as const) {
    const store = await newStore()
    server.fail(part, 'wrong', 1)
    await t.rejects(copy(store), { code: 'ERR_IMAGE', step: 'image.verify' }, part)
    t.same(await store.list(), [])
    t.same(await readdir(join(store.path, 'blobs')), [])
  }
})

t.test('M8: lists that would lead elsewhere are refused', async t => {
  const item = { ftype: 'lxd_combined.tar.gz', sha256: 'a'.repeat(64), size: 5, path: 'images/x' }
  const list = (changes: object): string =>
    JSON.stringify({
      products: {
        'a:b:c:d': {
          aliases: 'a/b',
          arch: 'amd64',
          versions: { '20260101': { items: { x: { ...item, ...changes } } } },
        },
      },
    })
  t.equal(parseProducts(list({})).length, 1)
  for (const path of ['../x', 'a/../../x', 'http://evil/x', 'a\\b', 'a?b', '', 'a//b', './a']) {
    t.throws(() => parseProducts(list({ path })), { code: 'ERR_IMAGE' }, path)
  }
  for (const sha256 of ['../../x', 'A'.repeat(64), 'a'.repeat(63), 5, null]) {
    t.throws(() => parseProducts(list({ sha256 })), { code: 'ERR_IMAGE' }, String(sha256))
  }
  for (const size of [-1, 0, 1.5, '1e99', null]) t.throws(() => parseProducts(list({ size })), { code: 'ERR_IMAGE' })
  for (const text of ['', '[]', '{"products":[]}', '{"products":{"a":5}}']) {
    t.throws(() => parseProducts(text), { code: 'ERR_IMAGE' }, text)
  }
  t.equal(chooseImage(parseProducts(list({})), 'a/b', 'arm64'), undefined, 'for another machine')
})

t.test('M8: signatures', { skip: existsSync('/usr/bin/gpg') ? false : 'needs gpg to make signatures' }, async t => {
  const home = await fresh()
  const gpg = (args: string[], input?: string): Buffer =>
    execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', ...args], {
      input,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
  gpg(['--passphrase', '', '--quick-gen-key', 'images@example', 'ed25519', 'sign', 'never'])
  const keyring = join(home, 'keyring.gpg')
  await writeFile(keyring, gpg(['--export']))
  const signature = gpg(['--detach-sign', '--output', '-'], 'list')
  await verifySignature('list', Buffer.from('list'), signature, keyring)
  await t.rejects(verifySignature('list', Buffer.from('lisT'), signature, keyring), { code: 'ERR_IMAGE' })
  await t.rejects(verifySignature('list', Buffer.from('list'), Buffer.from('x'), keyring), { code: 'ERR_IMAGE' })
  await writeFile(join(home, 'empty.gpg'), '')
  await t.rejects(verifySignature('list', Buffer.from('list'), signature, join(home, 'empty.gpg')), {
    code: 'ERR_IMAGE',
  })
  execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'])
})

t.test('M9: an older image is refused unless it is wanted; a newer one moves the aliases', rooted, async t => {
  const { from, www, server } = await imageServer(t)
  const store = await newStore()
  const old = await copyFromStreams(store, server.url, 'busy/1')
  await store.setAlias('mine', old.fingerprint)
  const newer = await publish(from, 'newer', '20260202_00:00')
  const before = await readFile(join(www, 'streams/v1/images.json'))
  await serveImages(from, www, [{ image: newer.fingerprint }])
  const [came] = await refreshImages(store)
  t.equal(came?.source?.serial, '20260202_00:00')
  t.equal((await store.get('mine')).fingerprint, came?.fingerprint)
  t.same(await refreshImages(store, { image: 'mine' }), [])
  await writeFile(join(www, 'streams/v1/images.json'), before)
  await t.rejects(copyFromStreams(store, server.url, 'busy/1'), { code: 'ERR_IMAGE', hint: /force/ })
  t.equal((await copyFromStreams(store, server.url, 'busy/1', { force: true })).fingerprint, old.fingerprint)
})

t.test(
  'the stock client takes what we serve',
  { skip: existsSync('/usr/share/lxc/templates/lxc-download') ? rooted.skip : 'needs lxc' },
  async t => {
    const { server } = await imageServer(t)
    const lxcpath = await fresh()
    // The stock template insists on https; its wget is given one that asks our server instead.
    const bin = await fresh()
    await writeFile(
      join(bin, 'wget'),
      `#!/bin/sh\nfor a; do shift; set -- "$@" "$(echo "$a" | sed 's|https://localhost|${server.url}|')"; done\nexec /usr/bin/wget "$@"\n`,
      { mode: 0o755 },
    )
    const rootfs = join(lxcpath, 'web/rootfs')
    await mkdir(rootfs, { recursive: true })
    await writeFile(join(lxcpath, 'web/config'), '')
    const args = [
      `--path=${lxcpath}/web`,
      '--name=web',
      `--rootfs=${rootfs}`,
      '--server',
      'localhost',
      '-d',
      'busy',
      '-r',
      '1',
      '-a',
      'amd64',
    ]
    const env = { PATH: `${bin}:/usr/sbin:/usr/bin:/sbin:/bin`, LXC_CACHE_PATH: await fresh() }
    await promisify(execFile)('/usr/share/lxc/templates/lxc-download', args, { env, timeout: 30_000 })
    t.equal(await readFile(join(rootfs, 'etc/motd'), 'utf8'), 'served')
    t.match(await readFile(join(lxcpath, 'web/config'), 'utf8'), /lxc\.include = .*common\.conf/)
  },
)
