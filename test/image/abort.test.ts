/** Containers that are not wanted any more while a template makes them: nothing of it stays, and the next try succeeds. */
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { importImage, publishTree } from '../../lib/image/bring.ts'
import { hostArchitecture } from '../../lib/image/metadata.ts'
import { serveImages } from '../../lib/image/serve.ts'
import { ImageStore } from '../../lib/image/store.ts'
import { Container, recover } from '../../lib/index.ts'
import { hasProgram } from '../../lib/native/program.ts'
import { archive } from './archive.ts'
import { layout } from './layout.ts'
import { serve } from './server.ts'

const skip = process.geteuid?.() === 0 ? false : 'needs root: owners'
const base = await mkdtemp(join(tmpdir(), 'caisson-abort-'))
await chmod(base, 0o755)
// Whatever works in a temporary directory can be told from others by it.
process.env.TMPDIR = base
t.teardown(() => rm(base, { recursive: true }))
let serial = 0
const fresh = async (): Promise<string> => {
  const path = join(base, String(++serial))
  await mkdir(path, { mode: 0o755 })
  return path
}

/** Processes of ours: those whose words, environment, or places lie below the directory of this test. */
async function processes(): Promise<string[]> {
  const look = async (pid: string): Promise<string[]> => {
    const at = `/proc/${pid}`
    const texts = ['cmdline', 'environ'].map(name => readFile(join(at, name), 'utf8'))
    const links = ['cwd', 'root'].map(name => readlink(join(at, name)))
    const seen = await Promise.all([...texts, ...links].map(one => one.catch(() => '')))
    return seen.some(text => text.includes(base)) ? [`${pid}: ${seen[0]?.replaceAll('\0', ' ')}`] : []
  }
  const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name) && name !== String(process.pid))
  return (await Promise.all(pids.map(look))).flat()
}

type Backend = 'dir' | 'overlay'

interface Case {
  readonly template: (store: string) => Promise<{ name: string; [option: string]: unknown }>
  readonly backends?: readonly Backend[]
}

async function tree(): Promise<string> {
  const path = await fresh()
  await mkdir(join(path, 'etc'))
  await writeFile(join(path, 'etc/motd'), Buffer.alloc(3_000_000, 'x'))
  await symlink('motd', join(path, 'etc/issue'))
  return path
}

async function published(): Promise<{ store: ImageStore; fingerprint: string }> {
  const store = await ImageStore.open(join(await fresh(), 'store'))
  const properties = { os: 'busy', release: '1', variant: 'default', serial: '20260101_00:00' }
  const { fingerprint } = await publishTree(store, await tree(), { properties, compression: 'xz' })
  return { store, fingerprint }
}

let served: Promise<string> | undefined
const server = (): Promise<string> => {
  served ??= startServer()
  return served
}

async function startServer(): Promise<string> {
  const { store, fingerprint } = await published()
  const www = await fresh()
  await serveImages(store, www, [{ image: fingerprint }])
  const served = await serve(www)
  t.teardown(() => served.close())
  return served.url
}

/** Leaves two processes that would stay for long, one in the background; the third is where it waits. */
const PROGRAM = `#!/bin/sh
for arg; do case $arg in --rootfs=*) rootfs=\${arg#*=};; --wait) wait=yes;; esac; done
mkdir "$rootfs/etc"
[ -n "$wait" ] || exit 0
sh -c 'sleep 1000; :' "$rootfs" & trap '' TERM INT
touch "$rootfs/../../started"
sh -c 'sleep 1000; :' "$rootfs"
`

const image: readonly Backend[] = ['dir', 'overlay']
const cases: Readonly<Record<string, Case>> = {
  busybox: { template: async () => ({ name: 'busybox' }) },
  host: { template: async () => ({ name: 'host' }) },
  directory: { template: async () => ({ name: 'directory', path: await tree() }) },
  'local, of a file': {
    backends: image,
    template: async store => {
      const yaml = `architecture: ${hostArchitecture()}\ncreation_date: 1\n`
      const rootfs = [
        { name: 'rootfs', type: '5', mode: 0o755 },
        { name: 'rootfs/x', data: Buffer.alloc(3_000_000) },
      ]
      const path = join(await fresh(), 'image.tar')
      await writeFile(path, archive([{ name: 'metadata.yaml', data: yaml }, ...rootfs]))
      return { name: 'local', path, store }
    },
  },
  'local, of the store': {
    backends: image,
    template: async store => {
      const yaml = `architecture: ${hostArchitecture()}\ncreation_date: 1\n`
      const at = await fresh()
      await writeFile(join(at, 'metadata.tar'), archive([{ name: 'metadata.yaml', data: yaml }]))
      await writeFile(join(at, 'rootfs.tar'), archive([{ name: 'x', data: Buffer.alloc(3_000_000) }]))
      const { fingerprint } = await importImage(await ImageStore.open(store), at)
      return { name: 'local', image: fingerprint, store }
    },
  },
  download: {
    backends: image,
    template: async store => ({ name: 'download', server: await server(), dist: 'busy', release: '1', store }),
  },
  oci: {
    backends: image,
    template: async store => {
      const layers = ['one', 'two'].map(name => archive([{ name, data: Buffer.alloc(3_000_000) }]))
      return { name: 'oci', url: `oci:${await layout(await fresh(), { layers })}`, store }
    },
  },
}

/** What a store keeps is whole: images that can be unpacked, and of downloads only what the next try goes on with. */
async function whole(test: Test, path: string): Promise<void> {
  if (!existsSync(path)) return
  const store = await ImageStore.open(path)
  const left = (await readdir(store.downloads)).filter(name => !/\.(part|tag)$/.test(name))
  test.strictSame(left, [], 'no work lies about')
  for (const record of await store.list()) {
    for (const file of record.files) await (await store.open(file)).close()
  }
  for (const name of await readdir(join(path, 'trees'))) {
    test.strictSame((await readdir(join(path, 'trees', name))).sort(), ['rootfs', 'users'])
    test.strictSame(await readdir(join(path, 'trees', name, 'users')), [], 'and nobody holds it')
  }
}

for (const [name, { template, backends = image.slice(0, 1) }] of Object.entries(cases)) {
  t.test(name, { skip }, async t => {
    for (const backend of backends) {
      const make = async (store: string, path: string, breaks: (phase: string, stop: () => void) => void) => {
        const stop = new AbortController()
        const onProgress = ({ phase }: { phase: string }) => breaks(phase, () => stop.abort())
        const options = { path, backend, template: await template(store), signal: stop.signal, onProgress }
        return Container.create('made', options)
      }
      const phases = new Set<string>()
      const [store, path] = [join(await fresh(), 'store'), await fresh()]
      await (await make(store, path, phase => void phases.add(phase))).destroy()
      t.ok(phases.size > 0, `${backend}: says how far it is: ${[...phases]}`)
      for (const phase of phases) {
        const [store, path] = [join(await fresh(), 'store'), await fresh()]
        const broken = make(store, path, (now, stop) => void (now === phase && stop()))
        await t.rejects(broken, { code: 'ERR_ABORTED' }, `${backend}: ends in ${phase}`)
        t.strictSame(await readdir(path), [])
        t.strictSame(await recover({ path }), [])
        await whole(t, store)
        t.strictSame(await processes(), [])
        await (await make(store, path, () => undefined)).destroy()
      }
      const early = { path, backend, template: await template(store), signal: AbortSignal.abort() }
      await t.rejects(Container.create('made', early), { code: 'ERR_ABORTED' }, `${backend}: does not begin`)
      t.strictSame(await readdir(path), [])
    }
  })
}

t.test('a template program goes with all that it has started', { skip }, async t => {
  const program = join(await fresh(), 'lxc-mine')
  await writeFile(program, PROGRAM, { mode: 0o755 })
  const path = await fresh()
  for (const args of [['--wait'], []]) {
    const stop = new AbortController()
    const options = { path, template: { name: program, args }, signal: stop.signal }
    const made = Container.create('made', options)
    if (args.length === 0) {
      await (await made).destroy()
      continue
    }
    made.catch(() => undefined)
    while ((await processes()).length < 4) await new Promise(resolve => setTimeout(resolve, 20))
    stop.abort()
    await t.rejects(made, { code: 'ERR_ABORTED' })
    t.strictSame(await processes(), [])
    t.strictSame(await readdir(path), [])
  }
  const early = { path, template: { name: program, args: [] }, signal: AbortSignal.abort() }
  await t.rejects(Container.create('made', early), { code: 'ERR_ABORTED' })
})

/** A server of packages that hears what is asked and does not answer. */
async function silent(test: Test): Promise<{ url: string; asked: Promise<void> }> {
  let hear = () => {}
  const asked = new Promise<void>(resolve => {
    hear = resolve
  })
  const server: Server = createServer(() => hear())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  test.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

for (const builder of ['mmdebstrap', 'debootstrap']) {
  const missing = hasProgram(builder) ? false : `needs the package "${builder}"`
  t.test(`${builder} goes with its package manager and its mounts`, { skip: skip || missing }, async t => {
    const { url, asked } = await silent(t)
    const [path, before] = [await fresh(), await readdir(base)]
    const stop = new AbortController()
    const phases: string[] = []
    const onProgress = ({ phase }: { phase: string }) => void phases.push(phase)
    const template = { name: builder, suite: 'bookworm', mirror: url }
    const made = Container.create('made', { path, template, signal: stop.signal, onProgress })
    await Promise.race([asked, made])
    stop.abort()
    await t.rejects(made, { code: 'ERR_ABORTED' })
    t.strictSame(phases, ['packages'])
    t.strictSame(await processes(), [])
    t.strictSame(await readdir(path), [])
    t.strictSame(await readdir(base), before, 'nor a directory that it worked in')
    t.notMatch(await readFile('/proc/self/mountinfo', 'utf8'), base)
    await t.rejects(Container.create('made', { path, template, signal: AbortSignal.abort() }), { code: 'ERR_ABORTED' })
  })
}
