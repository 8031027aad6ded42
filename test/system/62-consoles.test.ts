// The console and the ttys of a container: every byte, both ways; who looks on, and who leaves, is nothing to the container.
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { ConsoleStream, Container } from '../../lib/index.ts'
import { errorOf, startContainer } from '../support/container.ts'
import { elsewhere } from '../support/elsewhere.ts'
import { needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot
const MiB = 1024 * 1024

/** What is read from a console, and what was seen of it. */
class Reader {
  #unseen = ''
  readonly stream: ConsoleStream
  constructor(stream: ConsoleStream) {
    this.stream = stream
    // What is long past is not looked for.
    stream.setEncoding('latin1').on('data', text => {
      this.#unseen = (this.#unseen + text).slice(-10_000)
    })
  }
  async see(pattern: RegExp): Promise<void> {
    await until(() => pattern.test(this.#unseen), `${pattern} is printed`)
    this.#unseen = this.#unseen.replace(pattern, '')
  }
  type(text: string): void {
    this.stream.write(text)
  }
}

/** A container whose busybox has this inittab. */
async function withInittab(t: Test, inittab: string, config = ''): Promise<Container> {
  const root = rootfs(t, { init: 'busybox' })
  writeFileSync(join(root, 'etc/inittab'), `${inittab}::shutdown:/bin/true\n`)
  return (await startContainer(t, { rootfs: root, config })).container
}

/** A file that the container has as /data, and the line of its config that shows it there. */
function share(t: Test, size: number): { file: string; entry: string } {
  const file = join(directory(t), 'data')
  writeFileSync(file, randomBytes(size), { mode: 0o644 })
  return { file, entry: `lxc.mount.entry = ${file} data none bind,ro,create=file 0 0\n` }
}

async function digest(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of stream) hash.update(chunk)
  return hash.digest('hex')
}

/** Ends when that many bytes have come. */
async function* first(bytes: number, stream: ConsoleStream): AsyncGenerator<Buffer> {
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    bytes -= chunk.length
    yield chunk
    if (bytes <= 0) return
  }
}

/** Writes /data on the console as it is, once somebody has typed a line. */
const SHOW = 'console::once:/bin/sh -c "stty raw -echo; touch /tmp/raw; read go; cat /data; sleep 10000"\n'

/** Waits for a file inside, and types the line: what is typed before the terminal is raw would be echoed. */
async function go(container: Container, stream: ConsoleStream): Promise<void> {
  await until(async () => (await container.attach(['test', '-e', '/tmp/raw'], { reject: false })).exitCode === 0, 'raw')
  stream.write('go\n')
}

t.test('100 MB through the console: its viewers and its log have every byte', { skip }, async t => {
  const { file, entry } = share(t, 100 * MiB)
  const log = join(directory(t), 'log')
  const keys = [`logfile = ${log}`, 'buffer.size = 1MB'].map(key => `lxc.console.${key}\n`).join('')
  const container = await withInittab(t, SHOW, entry + keys)
  const [one, two, idle] = await Promise.all([container.console(), container.console(), container.console()])
  const wanted = await digest(createReadStream(file))
  // One that never reads holds it up for a moment and is let go.
  const gone = once(idle, 'close')
  const seen = [one, two].map(stream => digest(first(100 * MiB, stream)))
  await go(container, one)
  t.strictSame(await Promise.all(seen), [wanted, wanted])
  t.equal(statSync(log).size, 100 * MiB)
  t.equal(await digest(createReadStream(log)), wanted, 'the log')
  const last = readFileSync(file).subarray(99 * MiB)
  t.ok(last.equals(await container.consoleLog({ clear: true })), 'the buffer has the last of it')
  t.equal((await container.consoleLog()).length, 0, 'until it was cleared')
  idle.resume()
  await gone
  t.equal(await container.state(), 'RUNNING')
  for (const stream of [one, two]) stream.destroy()
})

t.test('a megabyte typed arrives as it is, on the console and on a tty', { skip }, async t => {
  const take = (tty: string) =>
    `${tty}::once:/bin/sh -c "stty raw -echo; echo ready; head -c ${MiB} >/tmp/${tty}; echo done; sleep 10000"\n`
  const container = await withInittab(t, take('console') + take('tty1'), 'lxc.tty.max = 1\n')
  const typed = randomBytes(MiB)
  for (const [number, name] of ['console', 'tty1'].entries()) {
    const reader = new Reader(await container.console({ tty: number }))
    // What the tty said before anybody opened it waits in it; the console has a log when one is wanted.
    await until(
      async () => (await container.attach(['test', '-e', `/tmp/${name}`], { reject: false })).exitCode === 0,
      name,
    )
    reader.stream.write(typed)
    await reader.see(/done/)
    t.ok(typed.equals(await container.files.read(`/tmp/${name}`)), name)
    reader.stream.destroy()
  }
})

const GETTY = [1, 2, 3].map(n => `tty${n}::respawn:/sbin/getty -L tty${n} 115200 vt100\n`).join('')

t.test('a getty on each tty, lent to one at a time', { skip }, async t => {
  const container = await withInittab(t, GETTY, 'lxc.tty.max = 3\n')
  const second = await container.console({ tty: 2 })
  t.match(
    await errorOf(container.console({ tty: 2 })),
    { code: 'ERR_CONTAINER_BUSY', message: /somebody has tty2/ },
    'it is somebody else’s',
  )
  const others = [await container.console({ tty: -1 }), await container.console({ tty: -1 })]
  t.strictSame(
    [second, ...others].map(({ tty }) => tty),
    [2, 1, 3],
    'the next free one',
  )
  t.match(
    await errorOf(container.console({ tty: -1 })),
    { message: /no tty is free: it has 3 \(lxc\.tty\.max\)/ },
    'none is free',
  )
  t.match(await errorOf(container.console({ tty: 4 })), { message: /3 ttys/ })
  for (const stream of [second, ...others]) {
    const reader = new Reader(stream)
    reader.type('\r')
    await reader.see(/login: $/)
  }
  second.destroy()
  await until(async () => {
    const again = await container.console({ tty: -1 }).catch(() => undefined)
    again?.destroy()
    return again?.tty === 2
  }, 'one that was left is free again')
  for (const stream of others) stream.destroy()
})

t.test('the size of the window is told, on the console and on a tty', { skip }, async t => {
  const watch = (tty: string) => `${tty}::once:/bin/sh -c "trap 'stty size' WINCH; while sleep 0.1; do :; done"\n`
  const shell = (tty: string) => `${tty}::respawn:-/bin/sh\n`
  const container = await withInittab(t, shell('console') + shell('tty1') + watch('tty2'), 'lxc.tty.max = 2\n')
  for (const [tty, program] of [0, 1].entries()) {
    const reader = new Reader(await container.console({ tty: program }))
    reader.stream.resize(90 + tty, 30)
    reader.type('stty size\r')
    await reader.see(new RegExp(`30 ${90 + tty}`))
    reader.stream.destroy()
  }
  const reader = new Reader(await container.console({ tty: 2 }))
  await until(async () => {
    const { stdout } = await container.attach(['ps', '-o', 'args'])
    return stdout.includes('trap') && stdout.includes('sleep 0.1')
  }, 'it listens')
  reader.stream.resize(71, 21)
  await reader.see(/21 71/)
  reader.stream.destroy()
  t.pass('and who wants to hear of it does')
})

/** init has another shell look at a line with such signs in it, hence the single quotes. */
const COUNT = "console::once:/bin/sh -c 'i=0; while :; do echo $i; i=$((i+1)); done'\n"

t.test('a viewer that leaves, however it leaves, is nothing to the container', { skip }, async t => {
  const container = await withInittab(t, COUNT)
  const path = JSON.stringify(container.path)
  const program = `
    const container = await caisson.Container.open('c', { path: ${path} })
    const console_ = await container.console()
    console_.once('data', () => console.log('reads'))
    console_.resume()`
  for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
    const [node, ...args] = elsewhere(program)
    const viewer = spawn(node, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(viewer.stdout, 'data')
    viewer.kill(signal)
    const mine = new Reader(await container.console())
    await mine.see(/\d{3,}\r\n/)
    mine.stream.destroy()
    const closing = new Reader(await container.console())
    await closing.see(/\d\r\n/)
    closing.stream.end()
    viewer.kill('SIGKILL')
  }
  t.equal(await container.state(), 'RUNNING')
  t.match((await container.attach(['echo', 'well'])).stdout, 'well')
})

t.test('a log without rotation is full at its size', { skip }, async t => {
  const { file, entry } = share(t, 100_000)
  const log = join(directory(t), 'log')
  const keys = `lxc.console.logfile = ${log}\nlxc.console.size = 64KB\nlxc.console.rotate = 0\n`
  const container = await withInittab(t, SHOW, entry + keys)
  const stream = await container.console()
  const seen = digest(first(100_000, stream))
  await go(container, stream)
  t.equal(await seen, await digest(createReadStream(file)), 'the viewer has all of it')
  t.ok(
    readFileSync(file)
      .subarray(0, 64 * 1024)
      .equals(readFileSync(log)),
    'the log its beginning',
  )
  stream.destroy()
})
