/** Downloads from servers that fail as servers and lines do. */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { download } from '../../lib/image/fetch.ts'
import { request } from '../../lib/image/http.ts'
import { serve } from './server.ts'

const base = await mkdtemp(join(tmpdir(), 'caisson-fetch-'))
t.teardown(() => rm(base, { recursive: true }))
let serial = 0
const fresh = async (): Promise<string> => {
  const path = join(base, String(++serial))
  await mkdir(path, { mode: 0o700 })
  return path
}

t.test('downloads', async t => {
  const www = await fresh()
  const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) % 251))
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  await writeFile(join(www, 'file'), bytes)
  const server = await serve(www)
  t.teardown(() => server.close())
  const url = `${server.url}/file`
  const get = async (more = {}, to?: string) => download(url, to ?? (await fresh()), { sha256, retries: 0, ...more })

  t.test('whole', async t => t.match(await get(), { sha256, size: bytes.length }))
  for (const fault of ['truncate', 'reset'] as const) {
    t.test(`${fault}: the next try goes on where the line broke`, async t => {
      const to = await fresh()
      server.fail('file', fault)
      await t.rejects(get({}, to), { code: 'ERR_NETWORK' })
      t.match((await readdir(to)).sort(), [/\.part$/, /\.tag$/])
      server.requests.length = 0
      const done = await get({}, to)
      t.match(server.requests, [/bytes=\d{5,}-/])
      t.same(await readFile(done.path), bytes)
      t.equal((await readdir(to)).length, 1, 'nothing else stays')
    })
    t.test(`${fault}: it goes on by itself`, async t => {
      server.fail('file', fault, 2)
      t.match(await get({ retries: 3 }), { sha256 })
    })
  }
  t.test('a server that ignores or misreads ranges', async t => {
    for (const fault of ['norange', 'badrange'] as const) {
      const to = await fresh()
      server.fail('file', 'reset')
      await t.rejects(get({}, to), { code: 'ERR_NETWORK' })
      server.fail('file', fault)
      t.match(await get({ retries: 1 }, to), { sha256 }, fault)
    }
  })
  t.test('busy: tried again; missing: not', async t => {
    server.fail('file', 'busy')
    t.match(await get({ retries: 1 }), { sha256 })
    server.fail('file', 'missing')
    server.requests.length = 0
    await t.rejects(get({ retries: 3 }), { code: 'ERR_NETWORK', message: /404/ })
    t.equal(server.requests.length, 1)
  })
  t.test('lies about bytes and length leave nothing behind', async t => {
    for (const [fault, more] of [
      ['wrong', {}],
      ['long', { size: bytes.length }],
      ['long', {}],
    ] as const) {
      const to = await fresh()
      server.fail('file', fault)
      await t.rejects(get(more, to), { code: 'ERR_IMAGE' }, fault)
      t.same(
        (await readdir(to)).filter(name => name.endsWith('.part')),
        [],
      )
    }
    await t.rejects(get({ size: 5 }), { code: 'ERR_IMAGE', message: /more than 5/ })
  })
  t.test('slow: a deadline, or the signal', async t => {
    server.fail('file', 'slow', 2)
    await t.rejects(get({ timeout: 50 }), { code: 'ERR_NETWORK', message: /50 ms|aborted/ })
    const controller = new AbortController()
    const going = get({ signal: controller.signal, onProgress: () => controller.abort() })
    await t.rejects(going, { code: 'ERR_ABORTED' })
  })
  t.test('a changed file is not glued to the old half', async t => {
    const to = await fresh()
    server.fail('file', 'reset')
    await t.rejects(get({}, to), { code: 'ERR_NETWORK' })
    const other = Buffer.from(bytes).fill(9, 0, 10)
    await writeFile(join(www, 'file'), other)
    const done = await download(url, to, { retries: 0 })
    t.same(await readFile(done.path), other)
    await writeFile(join(www, 'file'), bytes)
  })
})

t.test('requests', async t => {
  const www = await fresh()
  await writeFile(join(www, 'x'), 'x')
  const seen: string[] = []
  const server = await serve(www, (incoming, response) => {
    seen.push(`${incoming.url} ${incoming.headers.authorization ?? '-'}`)
    const to = incoming.url === '/loop' ? '/loop' : /^\/to\?(.*)$/.exec(incoming.url ?? '')?.[1]
    if (to !== undefined) response.writeHead(302, { location: to }).end()
    return to !== undefined
  })
  const other = await serve(www)
  t.teardown(() => Promise.all([server.close(), other.close()]))
  const login = { headers: { authorization: 'secret' } }
  const moved = await request(`${server.url}/to?/x`, login)
  moved.body.resume()
  t.same(seen, ['/to?/x secret', '/x secret'], 'the same host sees the login')
  const away = await request(`${server.url}/to?${other.url.replace('127.0.0.1', 'localhost')}/x`, login)
  away.body.resume()
  t.equal(away.status, 200)
  await t.rejects(request(`${server.url}/loop`), { code: 'ERR_NETWORK', message: /10 redirects/ })
  await t.rejects(request('http://images.example/'), { code: 'ERR_NETWORK', hint: /https/ })
  await t.rejects(request(`${server.url}/to?file:///etc/passwd`), { code: 'ERR_INVALID_OPTION' })
  const proxied: string[] = []
  const proxy = createServer((incoming, response) => {
    proxied.push(incoming.url ?? '')
    response.end('by proxy')
  })
  proxy.on('connect', (incoming, socket) => {
    proxied.push(`CONNECT ${incoming.url}`)
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
  })
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void proxy.close())
  const through = { proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` }
  const answer = await request('http://images.example/x', { ...through, insecure: true })
  answer.body.resume()
  await t.rejects(request('https://images.example/x', through), { code: 'ERR_NETWORK', message: /403/ })
  t.same(proxied, ['http://images.example/x', 'CONNECT images.example:443'])
  proxied.length = 0
  const before = { ...process.env }
  t.teardown(() => Object.assign(process.env, { http_proxy: '', https_proxy: '', no_proxy: '' }, before))
  Object.assign(process.env, { http_proxy: through.proxy, https_proxy: through.proxy, no_proxy: '.local.example' })
  const told = await request('http://images.example/env', { insecure: true })
  told.body.resume()
  await t.rejects(request('https://images.example/env'), { code: 'ERR_NETWORK', message: /403/ })
  await t.rejects(request('http://x.local.example/env', { insecure: true, timeout: 2000 }), { code: 'ERR_NETWORK' })
  t.same(proxied, ['http://images.example/env', 'CONNECT images.example:443'], 'those of the environment are used')
})
