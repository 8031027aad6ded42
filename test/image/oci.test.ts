/** OCI images: made by skopeo and umoci where they are, by hand where they must be wrong; from layouts, archives, a registry. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { importOci, pullImage } from '../../lib/image/oci.ts'
import { joinWords } from '../../lib/image/ociconfig.ts'
import { parseReference } from '../../lib/image/registry.ts'
import { ImageStore } from '../../lib/image/store.ts'
import { createRootfs, type TemplateContext } from '../../lib/image/template.ts'
import { findTemplate } from '../../lib/image/templates.ts'
import { unpackImage } from '../../lib/image/trees.ts'
import { archive, type Member } from './archive.ts'
import { type Fixture, GO, layout as writeLayout } from './layout.ts'
import { serve } from './server.ts'

const rooted = { skip: process.geteuid?.() === 0 ? false : 'needs root: owners' }
const base = await mkdtemp(join(tmpdir(), 'caisson-oci-'))
t.teardown(() => rm(base, { recursive: true }))
let serial = 0
const fresh = async (): Promise<string> => {
  const path = join(base, String(++serial))
  await mkdir(path, { mode: 0o700 })
  return path
}
const newStore = async (): Promise<ImageStore> => ImageStore.open(join(await fresh(), 'store'))
/** Writes a layout by hand. */
const layout = async (fixture: Fixture): Promise<string> => writeLayout(await fresh(), fixture)

const dir = (name: string): Member => ({ name, type: '5', mode: 0o755 })
const layer = (...members: Member[]): Buffer => gzipSync(archive(members))

async function context(options: Record<string, unknown>): Promise<TemplateContext> {
  const rootfs = join(await fresh(), 'rootfs')
  await mkdir(rootfs)
  return { name: 'app', rootfs, options }
}

/** The tree that an image makes, as sorted lines. */
async function treeOfLayout(path: string): Promise<string[]> {
  const store = await newStore()
  const image = await importOci(store, path)
  const rootfs = join(await fresh(), 'rootfs')
  await mkdir(rootfs)
  await unpackImage(store, image, rootfs)
  return (await readdir(rootfs, { recursive: true })).sort()
}

t.test('layers lie over each other, and markers hide what is below', rooted, async t => {
  const below = layer(
    dir('etc'),
    { name: 'etc/gone', data: 'x' },
    { name: 'etc/kept', data: 'old' },
    dir('opt'),
    dir('opt/a'),
    { name: 'opt/a/x', data: 'x' },
    dir('was'),
    { name: 'was/dir', data: 'x' },
  )
  const above = layer(
    dir('etc'),
    { name: 'etc/.wh.gone' },
    { name: 'etc/kept', data: 'new' },
    dir('opt'),
    { name: 'opt/b', data: 'mine' },
    { name: 'opt/.wh..wh..opq' },
    { name: 'was', data: 'a file now' },
  )
  t.same(await treeOfLayout(await layout({ layers: [below, above] })), ['etc', 'etc/kept', 'opt', 'opt/b', 'was'])
  t.same(
    await treeOfLayout(await layout({ layers: [below, layer({ name: '.wh.opt' }), layer({ name: '.wh.was' })] })),
    ['etc', 'etc/gone', 'etc/kept'],
  )
})

t.test('what comes again is changed, and keeps what is in it', rooted, async t => {
  const lower = layer(
    ...[
      dir('etc'),
      { name: 'etc/a', data: 'a' },
      dir('file'),
      { name: 'file/x', data: 'x' },
      { name: 'dir', data: 'x' },
    ],
    ...[
      dir('victim'),
      dir('victim/f'),
      { name: 'victim/f/x', data: 'x' },
      { name: 'link', type: '2', linkname: 'victim' },
    ],
  )
  const upper = layer(
    ...[
      { ...dir('./'), mode: 0o751 },
      { ...dir('etc/'), mode: 0o700 },
      { name: 'etc/b', data: 'b' },
    ],
    ...[{ name: 'file', data: 'now' }, dir('dir'), dir('link'), { name: 'link/f', data: 'f' }],
  )
  const store = await newStore()
  const rootfs = await fresh()
  await unpackImage(store, await importOci(store, await layout({ layers: [lower, upper] })), rootfs)
  t.same((await readdir(join(rootfs, 'etc'))).sort(), ['a', 'b'])
  t.equal((await stat(rootfs)).mode & 0o777, 0o751)
  t.equal((await stat(join(rootfs, 'etc'))).mode & 0o777, 0o700)
  t.equal(await readFile(join(rootfs, 'file'), 'utf8'), 'now', 'a file instead of a directory')
  t.same(await readdir(join(rootfs, 'dir')), [], 'a directory instead of a file')
  t.equal(await readFile(join(rootfs, 'link/f'), 'utf8'), 'f', 'a directory instead of a link')
  t.same(await readdir(join(rootfs, 'victim/f')), ['x'], 'and not what the link led to')
})

t.test('M2: markers and files behind links of lower layers reach nothing outside', rooted, async t => {
  const canary = join(await fresh(), 'canary')
  await writeFile(canary, 'alive')
  const outside = canary.replace(/\/canary$/, '')
  const link = layer(
    { name: 'etc', type: '2', linkname: outside },
    { name: 'up', type: '2', linkname: `../../../..${outside}` },
  )
  for (const attack of [
    [{ name: 'etc/.wh.canary' }],
    [{ name: 'etc/.wh..wh..opq' }],
    [{ name: 'etc/canary', data: 'dead' }],
    [{ name: 'up/canary', data: 'dead' }],
    [{ name: 'x', type: '1', linkname: 'etc/canary' }],
  ]) {
    // Whether it is refused or comes to nothing depends on the entry; what must hold is that the host is as it was.
    await treeOfLayout(await layout({ layers: [link, layer(...attack)] })).catch(error =>
      t.match(error, { code: /ERR_TOOL_FAILED|ERR_IMAGE/ }),
    )
    t.equal(await readFile(canary, 'utf8'), 'alive', String(attack[0]?.name))
    t.equal((await stat(canary)).nlink, 1)
  }
})

t.test('M8: nothing is taken that has not the digest that was asked for', rooted, async t => {
  const good = layer({ name: 'x', data: 'x' })
  const spoil = async (which: number): Promise<void> => {
    const path = await layout({ layers: [good] })
    const names = await readdir(join(path, 'blobs/sha256'))
    const blob = join(path, 'blobs/sha256', names[which] as string)
    await writeFile(blob, Buffer.concat([await readFile(blob), Buffer.from(' ')]))
    const store = await newStore()
    await t.rejects(importOci(store, path), { code: 'ERR_IMAGE' })
    t.same(await store.list(), [])
    t.same(await readdir(store.downloads), [])
  }
  for (const which of [0, 1, 2]) await spoil(which)
  const traversal = await layout({
    layers: [good],
    change: m => Object.assign(m.config as object, { digest: 'sha256:../../../etc/passwd' }),
  })
  await t.rejects(importOci(await newStore(), traversal), { code: 'ERR_IMAGE', message: /digest/ })
  const other = await layout({
    layers: [good],
    platforms: [
      { os: 'linux', architecture: 'mips' },
      { os: 'windows', architecture: GO },
    ],
  })
  await t.rejects(importOci(await newStore(), other), { code: 'ERR_IMAGE', message: /nothing for linux/ })
  await t.rejects(importOci(await newStore(), await layout({ layers: [good] }), { tag: 'v2' }), {
    code: 'ERR_IMAGE',
    message: /latest/,
  })
})

t.test('config becomes lines', rooted, async t => {
  const passwd = { name: 'etc/passwd', data: 'root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n' }
  const run = async (config: object, ...more: Member[]) => {
    const path = await layout({ layers: [layer(dir('etc'), passwd, ...more)], config })
    return createRootfs(
      findTemplate('oci'),
      await context({ url: `oci:${path}:latest`, store: (await newStore()).path }),
    )
  }
  const full = {
    Entrypoint: ['/bin/app', '--name=my app'],
    Cmd: ['it"s'],
    Env: ['PATH=/bin', 'A=b=c'],
    User: 'app',
    WorkingDir: '/srv',
    StopSignal: 'SIGQUIT',
  }
  const { config, message } = await run(full)
  t.equal(message, undefined)
  const value = (key: string): string[] => config.filter(([k]) => k === key).map(([, v]) => v)
  t.same(value('lxc.init.cmd'), ['/bin/app "--name=my app" \'it"s\''])
  t.same(value('lxc.environment'), ['PATH=/bin', 'A=b=c'])
  t.same([...value('lxc.init.uid'), ...value('lxc.init.gid')], ['1000', '1001'])
  t.same([...value('lxc.init.cwd'), ...value('lxc.signal.halt')], ['/srv', 'SIGQUIT'])
  t.match(await run({ Cmd: ['sh', '-c', 'a\nlxc.cap.drop ='], Env: ['A=1\n2'] }), {
    message: /the command and the variable "A"/,
  })
  t.match(await run({ User: '7:8' }), {
    config: [
      ['lxc.arch', /./],
      ['lxc.init.uid', '7'],
      ['lxc.init.gid', '8'],
    ],
  })
  await t.rejects(run({ User: 'nobody' }), { code: 'ERR_IMAGE', message: /nobody/ })
  t.test('N8: accounts that are no files are not waited for', async t => {
    const odd = { name: 'etc/passwd', type: '6' }
    const path = await layout({ layers: [layer(dir('etc'), odd)], config: { User: 'app' } })
    const made = context({ url: `oci:${path}`, store: (await newStore()).path })
    await t.rejects(createRootfs(findTemplate('oci'), await made), { code: 'ERR_IMAGE' })
  })
  t.equal(joinWords(['a', 'b c', "d'e"]), 'a "b c" "d\'e"')
  t.equal(joinWords(['a\nb']), undefined)
  t.equal(joinWords([`'"`]), undefined)
})

t.test('references', async t => {
  t.match(parseReference('debian'), { registry: 'docker.io', repository: 'library/debian', tag: 'latest' })
  t.match(parseReference('docker://ghcr.io/a/b:1.2'), { registry: 'ghcr.io', repository: 'a/b', tag: '1.2' })
  t.match(parseReference('localhost:5000/x'), { registry: 'localhost:5000', repository: 'x' })
  t.match(parseReference(`x@sha256:${'a'.repeat(64)}`), { sha256: 'a'.repeat(64) })
  for (const bad of ['', 'A/B', 'a/../b', 'x@sha256:1', 'x:../y', 'http://x/y']) {
    t.throws(() => parseReference(bad), { code: 'ERR_INVALID_OPTION' }, bad)
  }
})

/** A registry over a layout, which wants a token, got with a password. */
async function registry(t: Test, path: string): Promise<{ url: string; requests: string[] }> {
  const index = await readFile(join(path, 'index.json'))
  const server = await serve(path, (request, response) => respond(request, response, index))
  t.teardown(() => server.close())
  const respond = (request: IncomingMessage, response: ServerResponse, top: Buffer): boolean => {
    const url = new URL(request.url ?? '/', server.url)
    const login = request.headers.authorization
    if (url.pathname === '/token') {
      const isKnown = login === `Basic ${Buffer.from('me:secret').toString('base64')}`
      response.writeHead(isKnown ? 200 : 401).end(JSON.stringify({ token: url.searchParams.get('scope') }))
      return true
    }
    if (login !== 'Bearer repository:a/b:pull') {
      const challenge = `Bearer realm="${server.url}/token",service="test",scope="repository:a/b:pull"`
      response.writeHead(401, { 'www-authenticate': challenge }).end()
      return true
    }
    if (url.pathname === '/v2/a/b/manifests/latest') response.end(top)
    else request.url = url.pathname.replace(/^\/v2\/a\/b\/(?:manifests|blobs)\/sha256:/, '/blobs/sha256/')
    return url.pathname.endsWith('/latest')
  }
  return server
}

t.test('a registry, with its login', rooted, async t => {
  const shared = layer({ name: 'x', data: 'x' })
  const path = await layout({ layers: [shared, layer({ name: 'y', data: 'y' })] })
  const { url, requests } = await registry(t, path)
  const reference = `${url.replace('http://', '')}/a/b`
  const store = await newStore()
  await t.rejects(pullImage(store, reference), { code: 'ERR_NETWORK', hint: /username/ })
  await t.rejects(pullImage(store, reference, { username: 'me', password: 'wrong' }), { code: 'ERR_NETWORK' })
  const image = await pullImage(store, reference, { username: 'me', password: 'secret' })
  t.match(image, { layout: 'oci', source: { protocol: 'oci', alias: 'a/b:latest' } })
  requests.length = 0
  await pullImage(store, reference, { username: 'me', password: 'secret' })
  t.notMatch(requests.join('\n'), /blobs/, 'blobs that are here are not fetched again')
})

t.test(
  'skopeo and umoci make what we read',
  { skip: existsSync('/usr/bin/umoci') && existsSync('/usr/bin/skopeo') ? rooted.skip : 'needs skopeo and umoci' },
  async t => {
    const at = await fresh()
    const made = join(at, 'layout')
    const umoci = (...args: string[]): string => execFileSync('umoci', args, { cwd: at, encoding: 'utf8' })
    umoci('init', '--layout', made)
    umoci('new', '--image', `${made}:v1`)
    umoci('unpack', '--image', `${made}:v1`, join(at, 'bundle'))
    const tree = join(at, 'bundle/rootfs')
    execFileSync(
      'sh',
      [
        '-euc',
        'mkdir etc bin; echo one >etc/a; echo two >etc/b; ln -s a etc/l; chown 5:6 etc/b; setfattr -n user.n -v 1 etc/a',
      ],
      { cwd: tree },
    )
    umoci('repack', '--image', `${made}:v1`, join(at, 'bundle'))
    execFileSync('sh', ['-euc', 'rm etc/b; echo three >etc/c'], { cwd: tree })
    umoci('repack', '--image', `${made}:v1`, join(at, 'bundle'))
    umoci('config', '--image', `${made}:v1`, '--config.entrypoint', '/bin/app', '--config.user', '3:4')
    // Layers of these have an entry "/", and neither padding nor mark at their end.
    execFileSync('sh', ['-euc', 'mkdir -m 751 tree tree/opt; echo -n four >tree/opt/d'], { cwd: at })
    umoci('insert', '--image', `${made}:v1`, join(at, 'tree'), '/')
    umoci('insert', '--image', `${made}:v1`, '--whiteout', '/etc/c')
    umoci('insert', '--image', `${made}:v1`, join(at, 'tree/opt/d'), '/etc/d')
    const packed = join(at, 'archive.tar')
    execFileSync('skopeo', ['copy', '--quiet', `oci:${made}:v1`, `oci-archive:${packed}:v1`], {
      env: { PATH: process.env.PATH, HOME: at },
    })
    for (const url of [`oci:${made}:v1`, `oci-archive:${packed}:v1`]) {
      const into = await context({ url, store: (await newStore()).path })
      const { config } = await createRootfs(findTemplate('oci'), into)
      t.same((await readdir(join(into.rootfs, 'etc'))).sort(), ['a', 'd', 'l'], url)
      t.equal(await readFile(join(into.rootfs, 'opt/d'), 'utf8'), 'four')
      t.equal((await stat(into.rootfs)).mode & 0o777, 0o751)
      t.equal(await readlink(join(into.rootfs, 'etc/l')), 'a')
      t.equal(new Map(config).get('lxc.init.uid'), '3')
    }
  },
)
