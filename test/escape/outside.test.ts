// The escape corpus, L13 and some of N and O: what the host does for a container where somebody lies, hangs, floods or exchanges things meanwhile.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Container } from '../../lib/index.ts'
import { native } from '../../lib/native/binding.ts'
import { copyShifted } from '../../lib/storage/copy.ts'
import { errorOf, makeContainer, startContainer, tagOf } from '../support/container.ts'
import { elsewhere } from '../support/elsewhere.ts'
import { leavesNoTrace, needsRoot } from '../support/host.ts'
import { probe } from '../support/probe.ts'
import { directory } from '../support/rootfs.ts'

const skip = needsRoot
const python = (code: string, ...args: string[]) =>
  execFileSync('python3', ['-c', code, ...args], { encoding: 'utf8', timeout: 60_000 })

t.test('E-L13 what is cloned, restored, renamed or edited is checked as what is created is', { skip }, async t => {
  const bad: readonly [key: string, value: string, code: RegExp][] = [
    ['lxc.cgroup.dir', '../../elsewhere', /^ERR_CONFIG_VALUE$/],
    ['lxc.seccomp.profile', '/no such profile', /^E/],
    ['lxc.uts.name', 'good', /^$/],
  ]
  const ways: Readonly<Record<string, (container: Container) => Promise<Container>>> = {
    edited: async container => container,
    cloned: container => container.clone('cloned'),
    'cloned as an overlay': container => container.clone('overlay', { snapshot: true }),
    'restored as another': async container => {
      await container.snapshots.create()
      return container.snapshots.restore('snap0', 'restored')
    },
    restored: async container => {
      await container.snapshots.create()
      return container.snapshots.restore('snap0')
    },
    renamed: async container => {
      await container.rename('renamed')
      return container
    },
  }
  for (const [key, value, code] of bad) {
    for (const [way, go] of Object.entries(ways)) {
      const lxcpath = directory(t)
      await Container.create('c', { path: lxcpath, template: 'busybox' })
      const file = join(lxcpath, 'c/config')
      writeFileSync(file, `${readFileSync(file, 'utf8')}${key} = ${value}\n`)
      const started = Container.open('c', { path: lxcpath })
        .then(go)
        .then(container => container.start())
      if (value === 'good') t.strictSame(await started, [], `control: ${way}, it starts`)
      else t.match(await errorOf(started), { code, message: key }, `${key}, ${way}`)
      for (const name of readdirSync(lxcpath).filter(name => name !== 'c'))
        await (await Container.open(name, { path: lxcpath }).catch(() => undefined))?.destroy({
          force: true,
          snapshots: true,
        })
      const left = await Container.open('c', { path: lxcpath }).catch(() => undefined)
      await left?.destroy({ force: true, snapshots: true })
    }
  }
})

t.test('E-N4 ids are shifted of the tree alone, whoever exchanges what in it', { skip }, async t => {
  const [tree, host] = [directory(t), directory(t)]
  const canary = join(host, 'canary')
  const words = randomUUID()
  writeFileSync(canary, words, { mode: 0o644 })
  mkdirSync(join(tree, 'dir'))
  for (const name of ['canary', ...Array.from({ length: 300 }, (_, index) => `file${index}`)])
    writeFileSync(join(tree, 'dir', name), 'own')
  symlinkSync(host, join(tree, 'link'))
  const before = statSync(canary)
  const racer = spawn(probe, ['exchange', join(tree, 'dir'), join(tree, 'link')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(racer.stdout, 'data')
  const extent = (host: number) => [{ type: 'both' as const, container: 0, host, range: 65_536 }]
  let copies = 0
  for (let tries = 0; tries < 4; tries++) {
    const to = directory(t)
    // tar says that a file changed as it was read; what it made is looked at all the same.
    await copyShifted(tree, to, { from: undefined, to: extent(1_900_000_000) }).then(
      () => copies++,
      () => undefined,
    )
    const { stdout } = spawnSync('grep', ['--recursive', '--files-with-matches', words, to], { encoding: 'utf8' })
    t.equal(stdout, '', 'no file of the host is in the copy')
  }
  t.comment(`${copies} of 4 copies were whole`)
  const now = statSync(canary)
  t.strictSame([now.uid, now.gid, now.mode, now.ctimeMs], [before.uid, before.gid, before.mode, before.ctimeMs])
  let naive = 0
  while (naive < 100_000 && statSync(canary).uid === 0) {
    try {
      chownSync(join(tree, 'dir/canary'), 61_235, 61_235)
    } catch {}
    naive++
  }
  racer.kill('SIGKILL')
  await once(racer, 'exit')
  t.equal(statSync(canary).uid, 61_235, `control: a naive chown of the same name was outside after ${naive} tries`)
})

t.test('E-N6 an lxcpath that another’s link leads to is none', { skip }, async t => {
  const [place, theirs] = [directory(t), directory(t)]
  const link = join(place, 'lxc')
  symlinkSync(theirs, link)
  lchownSync(link, 61_235, 61_235)
  t.match(await errorOf(Container.create('c', { path: link, template: 'busybox' })), { code: 'ELOOP' })
  t.match(await errorOf(Container.open('c', { path: link })), { code: 'ELOOP' })
  t.strictSame(readdirSync(theirs), [], 'nothing was made there')
  lchownSync(link, 0, 0)
  const container = await Container.create('c', { path: link, template: 'busybox' })
  t.strictSame(readdirSync(theirs), ['c'], 'control: root’s own leads there')
  chmodSync(place, 0o777)
  t.match(await errorOf(container.clone('clone')), { code: 'ELOOP' }, 'nor one that others may exchange')
  chmodSync(place, 0o755)
  await container.destroy()
})

t.test('E-N7 nothing is staged where everybody may write', { skip }, async t => {
  const lxcpath = mkdtempSync('/var/lib/caisson-test-')
  t.teardown(() => rmSync(lxcpath, { recursive: true }))
  const code = `
    import { writeFileSync } from 'node:fs'
    for (const place of ['/tmp', '/var/tmp', '/dev/shm'])
      try { writeFileSync(place + '/x', ''); console.log('written') } catch ({ code }) { console.log(code) }
    const container = await caisson.Container.create('c', { path: '${lxcpath}', template: 'busybox' })
    await container.start()
    await container.attach(['true'])
    await container.files.write('/etc/x', 'x')
    await container.stop({ force: true })
    await container.snapshots.create()
    await container.snapshots.restore('snap0')
    const clone = await container.clone('d')
    await clone.start()
    await clone.destroy({ force: true })
    await container.destroy({ snapshots: true })
    console.log('done')
    process.exit()`
  const cover = 'for at in /tmp /var/tmp /dev/shm; do mount -n -t tmpfs -o ro,size=4k none $at; done; exec "$@"'
  const spaces = ['--mount', '--propagation', 'private', 'sh', '-euc', cover, 'sh']
  const said = execFileSync('unshare', [...spaces, ...elsewhere(code)], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
    timeout: 120_000,
  })
  t.equal(said, 'EROFS\nEROFS\nEROFS\ndone\n', 'control: it could not write there; and all went well')
})

/** A client of the monitor's socket in Python, and the same packets from the other side: none of them is a message. */
const LIES = `
import os, socket, struct, sys
honest = struct.pack('<IBqq', 7, 0, 0, -1)
lies = [b'\\0', b'\\xff' * 64, b'\\xff' * 4000, honest[:-1], honest + b'x', struct.pack('<IBqq', 7, 200, 0, -1), os.urandom(2000),
        struct.pack('<BIBiBI', 0, 1, 2, 1, 1, 0xffffffff) + b'x' * 40, b'z' * 100000]
`

t.test('E-N10 neither side of the protocol believes a message that lies', { skip }, async t => {
  const { container, lxcpath } = await startContainer(t)
  const path = `/run/caisson/${tagOf(lxcpath)}/c/socket`
  const init = (await container.initPid()) as number
  const monitor = Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1])
  const held = () => readdirSync(`/proc/${monitor}/fd`).length
  const before = held()
  const said = python(
    `${LIES}
def say(packet, fds=[]):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(20); s.connect(sys.argv[1])
    try:
        socket.send_fds(s, [packet], fds) if fds else s.send(packet)
        return len(s.recv(200000))
    except (ConnectionError, BrokenPipeError): return 0
print([say(lie) for lie in lies], say(honest, [0] * 250), say(honest) > 0)`,
    path,
  )
  t.match(
    said,
    /^\[(0, )*0\] \d+ True\n$/,
    'control: an honest one is answered; no other is, and its sender is cut off',
  )
  t.equal(await container.state(), 'RUNNING')
  t.ok(held() <= before + 1, 'no descriptor that came with one is kept')
  await container.destroy({ force: true })

  const socket = join(directory(t), 'socket')
  const server = spawn(
    'python3',
    [
      '-c',
      `${LIES}
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(sys.argv[1]); s.listen(); print('ready', flush=True)
for lie in lies:
    c, _ = s.accept(); c.recv(4096); socket.send_fds(c, [lie], [0, 1, 2])`,
      socket,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  t.teardown(() => server.kill('SIGKILL'))
  await once(server.stdout, 'data')
  const { addon } = native()
  const own = readdirSync('/proc/self/fd').length
  for (let lie = 0; lie < 9; lie++) {
    const heard = await new Promise<unknown>(resolve => {
      const channel = addon.connectChannel(socket, (report: unknown) => resolve(report))
      if (!('send' in channel)) throw new Error(JSON.stringify(channel))
      channel.send({ id: 1, verb: 'state', number: 0, timeoutMs: -1 })
    })
    t.equal(heard, null, `lie ${lie} of a false monitor is its end, and no report`)
  }
  t.ok(readdirSync('/proc/self/fd').length <= own, 'and leaves no descriptor')
})

const rssOf = (pid: number | 'self'): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024

t.test('E-O2 a flood of output costs the host a bounded memory', { skip }, async t => {
  const { container } = await startContainer(t)
  const init = (await container.initPid()) as number
  const monitor = Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1])
  const stalled = await container.console()
  stalled.pause()
  t.teardown(() => stalled.destroy())
  const MIB = 64
  const read = () => Number(/^rchar: (\d+)/m.exec(readFileSync(`/proc/${monitor}/io`, 'utf8'))?.[1]) / 2 ** 20
  const [own, its, seen] = [rssOf('self'), rssOf(monitor), read()]
  await container.attach(['sh', '-c', `head -c ${MIB * 2 ** 20} /dev/zero > /dev/console`])
  t.ok(read() - seen > MIB * 0.9, `control: the monitor has read ${Math.round(read() - seen)} MiB`)
  t.ok(rssOf(monitor) - its < 16, `the monitor has grown by ${rssOf(monitor) - its} MiB`)
  const failure = await errorOf(container.attach(['sh', '-c', 'cat /dev/zero'], { maxBuffer: 1_000_000 }))
  t.match(failure.message, /maxBuffer|1000000|1,000,000|output/, failure.message)
  t.ok(rssOf('self') - own < 64, `this process has grown by ${rssOf('self') - own} MiB`)
})

/** Starts get a Spec whose hooks have so long. */
function withHookTime(t: Test, hookTimeoutMs: number): void {
  const { addon } = native()
  const { launch } = addon
  addon.launch = (verb, spec, ...rest) => launch.call(addon, verb, { ...spec, hookTimeoutMs }, ...rest)
  t.teardown(() => {
    addon.launch = launch
  })
}

t.test('E-O3 a hook that hangs is killed, and what was begun is undone', { skip }, async t => {
  withHookTime(t, 700)
  const { container, lxcpath } = await makeContainer(t)
  const hook = join(lxcpath, 'hook')
  const mark = `6${process.pid}`
  writeFileSync(hook, '#!/bin/sh\nexit 0\n', { mode: 0o755 })
  await container.config.set('lxc.hook.pre-start', [hook]).save()
  await container.start()
  t.equal(await container.state(), 'RUNNING', 'control: one that ends lets it start')
  await container.stop({ force: true })
  writeFileSync(hook, '#!/bin/sh\nexit 3\n')
  t.match(await errorOf(container.start()), { code: 'ERR_TOOL_FAILED' })
  writeFileSync(hook, `#!/bin/sh\ntrap '' TERM INT HUP\nsleep ${mark} &\nsleep ${mark}\n`, { mode: 0o755 })
  const sleeping = () =>
    readdirSync('/proc').filter(pid => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8') === `sleep\0${mark}\0`
      } catch {
        return false
      }
    })
  for (const point of ['pre-start', 'start-host'] as const) {
    container.config.clear('lxc.hook').set(`lxc.hook.${point}`, [hook])
    await leavesNoTrace(
      t,
      async () =>
        void t.match(
          await errorOf(container.start()),
          { code: 'ERR_TIMEOUT', step: `hook.${point}`, path: hook },
          point,
        ),
      tagOf(lxcpath),
    )
    t.strictSame(sleeping(), [], 'nothing of it lives on')
    t.equal(await container.state(), 'STOPPED')
  }
})

t.test('E-O6 what one container uses up of a user’s quota another has', { skip }, async t => {
  const [one, two] = [await startContainer(t), await startContainer(t)]
  const most = Number(readFileSync('/proc/sys/fs/inotify/max_user_instances', 'utf8'))
  const keep = '/probe watch-much >/tmp/n 2>&1 </dev/null & until [ -s /tmp/n ]; do sleep 0.1; done; cat /tmp/n'
  const watch = async ({ container }: typeof one) => Number((await container.attach(['sh', '-c', keep])).stdout)
  t.equal(await watch(one), most, 'it uses up all that it may have')
  await one.container.attach(['rm', '/tmp/n'])
  t.equal(await watch(one), 0, 'control: its own root has no more')
  t.equal(await watch(two), most, 'the other’s has')
})
