// The escape corpus, B: paths of the image and of volumes that lead elsewhere, standing still and while they are being exchanged.
import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join, relative } from 'node:path'
import t, { type Test } from 'tap'
import { errorOf, look, makeContainer, startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { probe } from '../support/probe.ts'
import { directory, rootfs } from '../support/rootfs.ts'

const skip = needsRoot
const hostMounts = () => readFileSync('/proc/self/mountinfo', 'utf8')

/** A directory of the host with a canary in it, which everybody could write to. */
function watched(t: Test): { path: string; canary: string; touched(): boolean } {
  const path = directory(t)
  const canary = randomUUID()
  writeFileSync(join(path, 'canary'), canary, { mode: 0o666 })
  chmodSync(path, 0o777)
  return {
    path,
    canary,
    touched: () =>
      readdirSync(path).join() !== 'canary' ||
      readFileSync(join(path, 'canary'), 'utf8') !== canary ||
      hostMounts().includes(path),
  }
}

function linked(root: string, name: string, to: string): string {
  symlinkSync(to, join(root, name))
  return name
}

/** Ways of an image to say "elsewhere": each is a name below the root that leads to a directory of the host, for who follows it there. */
const WAYS: Readonly<Record<string, (root: string, to: string) => string>> = {
  final: (root, to) => linked(root, 'way', to),
  intermediate: (root, to) => `${linked(root, 'way', to)}/made`,
  relative: (root, to) => `${linked(root, 'tmp/way', relative(join(root, 'tmp'), to))}/made`,
  climbing: (root, to) => `${linked(root, 'way', `../../../../../../../..${to}`)}/made`,
  dangling: (root, to) => linked(root, 'way', `${to}/made/further`),
  chain: (root, to) => {
    for (let each = 0; each < 39; each++) symlinkSync(each === 0 ? to : `link${each - 1}`, join(root, `link${each}`))
    return 'link38/made'
  },
}

t.test('E-B1 E-B7 a mount’s target behind links of the image is made inside, or refused', { skip }, async t => {
  for (const [way, make] of Object.entries(WAYS)) {
    for (const create of ['dir', 'file'] as const) {
      const host = watched(t)
      const { container, rootfs: root } = await makeContainer(t)
      const target = make(root, host.path)
      const source = create === 'dir' ? directory(t) : join(host.path, 'canary')
      container.config.set('lxc.mount.entry', [`${source} ${target} none bind,create=${create} 0 0`])
      const failure = await container.start().then(
        () => undefined,
        (error: Error & { code?: string }) => error,
      )
      t.match(failure?.code ?? 'started', /^(started|E[A-Z]+)$/, `${way}, ${create}: ${failure?.message ?? 'inside'}`)
      t.notOk(host.touched(), `${way}, ${create}: the host’s directory is as it was`)
      await container.destroy({ force: true })
      // What is made through the same name by who trusts it is made on the host.
      if (way !== 'dangling') {
        mkdirSync(join(root, target, 'naive'), { recursive: true })
        t.ok(host.touched(), `${way}: control: the name leads there`)
      }
    }
  }
})

/** Names that are exchanged for each other by another process, as fast as it can, while something is done. */
async function whileExchanging(one: string, other: string, act: () => Promise<void>): Promise<void> {
  const racer = spawn(probe, ['exchange', one, other], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(racer.stdout, 'data')
  try {
    await act()
  } finally {
    racer.kill('SIGKILL')
    if (racer.exitCode === null && racer.signalCode === null) await once(racer, 'exit')
  }
}

const SECONDS = 4

t.test('E-B2 E-B7 a directory that is exchanged for a link while it is mounted on leads nowhere', { skip }, async t => {
  const host = watched(t)
  const volume = directory(t)
  mkdirSync(join(volume, 'dir'))
  for (const path of [volume, join(volume, 'dir')]) chmodSync(path, 0o777)
  symlinkSync(host.path, join(volume, 'link'))
  const source = directory(t)
  const { container } = await startContainer(t, { mounts: [{ source: volume, target: '/volume', create: 'dir' }] })
  await whileExchanging(join(volume, 'dir'), join(volume, 'link'), async () => {
    const [end, outcomes] = [Date.now() + SECONDS * 1000, new Map<string, number>()]
    let tries = 0
    for (; Date.now() < end || (outcomes.get('mounted') ?? 0) < 10; tries++) {
      const target = `/volume/dir/made${tries % 50}`
      const outcome = await container.mount({ source, target, create: 'dir' }).then(
        () => 'mounted',
        (error: { code?: string }) => error.code ?? 'no code',
      )
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      if (outcome === 'mounted') await container.unmount(target).catch(() => undefined) // the name may mean another directory now
    }
    t.comment(`${tries} mounts: ${[...outcomes].map(([what, count]) => `${what} ${count}`).join(', ')}`)
    t.notOk(host.touched(), 'nothing was made or mounted on the host')
    let [naive, naiveTries] = [0, 0]
    for (; naive < 1000; naiveTries++) {
      try {
        mkdirSync(join(volume, 'dir', 'naive'))
        if (existsSync(join(host.path, 'naive'))) naive++
      } catch {}
      for (const place of [host.path, join(volume, 'dir'), join(volume, 'link')]) {
        try {
          rmSync(join(place, 'naive'), { recursive: true })
        } catch {}
      }
    }
    t.equal(naive, 1000, `control: a naive mkdir of the same name was outside 1000 times of ${naiveTries}`)
  })
})

t.test(
  'E-B12 a root file system behind a link is the caller’s or root’s choice, and nobody else’s',
  { skip },
  async t => {
    const { container, lxcpath } = await makeContainer(t, { rootfs: directory(t) })
    const real = rootfs(t)
    const host = watched(t)
    const [link, deep] = [join(lxcpath, 'link'), join(lxcpath, 'deep')]
    const lead = (to: string, owner: number, mode = 0o755) => {
      for (const path of [link, deep]) rmSync(path, { recursive: true, force: true })
      symlinkSync(to, link)
      mkdirSync(deep)
      symlinkSync('../link', join(deep, 'link'))
      for (const path of [link, join(deep, 'link')]) lchownSync(path, owner, owner)
      for (const path of [lxcpath, deep]) chmodSync(path, mode)
    }
    const tries: readonly [string, string, string][] = [
      ['at the end', host.path, link],
      ['on the way', '/', join(link, host.path)],
      ['behind another', host.path, join(deep, 'link')],
    ]
    for (const [where, to, path] of tries) {
      for (const [whose, owner, mode] of [
        ['another’s', 61_235, 0o755],
        ['in a directory of all', 0, 0o777],
      ] as const) {
        lead(to, owner, mode)
        await container.config.set('lxc.rootfs.path', `dir:${path}`).save()
        t.match(
          await errorOf(container.start()),
          { code: 'ELOOP', step: 'rootfs.open', hint: /somebody else/ },
          `${where}, ${whose}`,
        )
        t.match(await errorOf(container.files.read('/canary')), { code: 'ELOOP' }, 'nothing is read there')
        t.match(await errorOf(container.files.write('/made', '')), { code: 'ELOOP' }, 'nor written')
        t.match(await errorOf(container.clone('clone')), { code: 'ELOOP' }, 'nor copied')
        container.config.set('lxc.rootfs.path', `overlay:${path}:${directory(t)}/delta`)
        t.match(await errorOf(container.start()), { code: 'ELOOP' }, 'as a layer')
        t.equal(readFileSync(join(path, 'canary'), 'utf8'), host.canary, 'control: the name leads there')
        t.notOk(host.touched())
      }
    }
    for (const [to, path] of [
      [real, link],
      ['/', join(link, real)],
      [real, join(deep, 'link')],
    ] as const) {
      lead(to, 0)
      await container.config.set('lxc.rootfs.path', `dir:${path}`).save()
      await container.start()
      t.equal(await container.state(), 'RUNNING', 'control: root’s own are followed, as LXC does')
      await container.stop({ force: true })
      t.match(String(await container.files.read('/etc/passwd')), /^root:/)
    }
    const clone = await container.clone('clone')
    t.ok(lstatSync(join(lxcpath, 'clone/rootfs')).isDirectory(), 'and a copy is one of the directory')
    await clone.destroy()
  },
)

const KINDS: Readonly<Record<string, (path: string, to: string) => void>> = {
  link: (path, to) => symlinkSync(to, path),
  'relative link': (path, to) => symlinkSync(`../../../..${to}`, path),
  file: path => writeFileSync(path, ''),
  fifo: path => void execFileSync('mkfifo', [path]),
}

t.test('E-B3 E-B6 what is at the place of /proc, /sys or /dev and is no directory is refused', { skip }, async t => {
  const { container: good } = await makeContainer(t)
  await good.start()
  t.equal(await good.state(), 'RUNNING', 'control: with directories it starts')
  for (const place of ['proc', 'sys', 'dev']) {
    for (const [kind, make] of Object.entries(KINDS)) {
      const host = watched(t)
      for (const name of ['ptmx', 'null', 'self']) writeFileSync(join(host.path, name), host.canary)
      const before = readdirSync(host.path).join()
      const { container, rootfs: root } = await makeContainer(t)
      rmSync(join(root, place), { recursive: true })
      make(join(root, place), host.path)
      t.match(await errorOf(container.start()), { code: /^(ELOOP|ENOTDIR|ERR_.*)$/ }, `${place} as a ${kind}`)
      t.equal(readdirSync(host.path).join(), before, 'nothing was made or removed where it leads')
      t.equal(readFileSync(join(host.path, 'ptmx'), 'utf8'), host.canary)
      t.notMatch(hostMounts(), host.path)
      await container.destroy()
    }
  }
})

t.test('E-B3 links below /dev and /sys lead nowhere', { skip }, async t => {
  for (const place of ['dev/pts', 'dev/shm', 'dev/mqueue', 'sys/fs/cgroup', 'dev/console', 'dev/ptmx']) {
    const host = watched(t)
    const { container, rootfs: root } = await makeContainer(t)
    mkdirSync(join(root, place, '..'), { recursive: true })
    symlinkSync(host.path, join(root, place))
    const failure = await container.start().then(
      () => undefined,
      (error: Error & { code?: string }) => error,
    )
    t.match(failure?.code ?? 'started', /^(started|E[A-Z]+)$/, place)
    t.notOk(host.touched(), `${place}: the host is as it was`)
    await container.destroy({ force: true })
  }
})

t.test('E-B4 the image’s /dev/null covers nothing', { skip }, async t => {
  const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8')
  const { container, rootfs: root } = await makeContainer(t, { config: 'lxc.autodev = 0\n' })
  symlinkSync('/proc/sys/kernel/core_pattern', join(root, 'dev/null'))
  t.match(
    await errorOf(container.start()),
    { code: 'EACCES', path: '/dev/null' },
    'one that leads to a setting is not opened',
  )
  rmSync(join(root, 'dev/null'))
  symlinkSync('/victim', join(root, 'dev/null'))
  writeFileSync(join(root, 'victim'), 'victim', { mode: 0o666 })
  await container.start()
  const sh = async (script: string) => (await container.attach(['sh', '-c', script], { reject: false })).stdout.trim()
  t.equal(await sh('cat /dev/null'), 'victim', 'control: the image’s leads where it says')
  t.equal(await sh('stat -c %t:%T /proc/kallsyms'), '1:3', 'a masked file is the null device')
  for (const file of ['kallsyms', 'timer_list', 'keys']) await sh(`echo evil > /proc/${file}`)
  t.equal(readFileSync(join(root, 'victim'), 'utf8'), 'victim', 'what is written to it goes nowhere')
  t.equal(readFileSync('/proc/sys/kernel/core_pattern', 'utf8'), pattern)
})

t.test('E-B5 the console is the pty that was made for it', { skip }, async t => {
  for (const autodev of [0, 1]) {
    const host = watched(t)
    const { container, rootfs: root } = await makeContainer(t, { config: `lxc.autodev = ${autodev}\n` })
    for (const name of ['console', 'ptmx']) symlinkSync(join(host.path, 'canary'), join(root, 'dev', name))
    const failure = await container.start().then(
      () => undefined,
      (error: Error & { code?: string }) => error,
    )
    if (failure === undefined) {
      const init = await container.initPid()
      const [console, pty] = ['dev/console', 'dev/pts/0'].map(name => statSync(`/proc/${init}/root/${name}`))
      t.match(
        console,
        { rdev: pty?.rdev, ino: pty?.ino, dev: pty?.dev },
        `autodev ${autodev}: it is pty 0 of the container`,
      )
    } else t.match(failure, { code: /^E/ }, `autodev ${autodev}: ${failure.message}`)
    t.notOk(host.touched(), 'what the image put there leads nowhere')
    await container.destroy({ force: true })
  }
})

t.test('E-B9 a source below the root that leads out of it is no source', { skip }, async t => {
  const host = watched(t)
  for (const [way, make] of Object.entries(WAYS)) {
    const { container, rootfs: root } = await makeContainer(t)
    const source = make(root, host.path).replace(/\/made$/, '')
    container.config.set('lxc.mount.entry', [
      `${join(root, source)} mnt none bind,create=dir,relative 0 0`,
      `/${source} mnt2 none bind,create=dir,relative,optional 0 0`,
    ])
    const failure = await container.start().then(
      () => undefined,
      (error: Error & { code?: string }) => error,
    )
    if (failure === undefined) {
      const seen = await container.attach(['sh', '-c', 'cat /mnt/canary /mnt2/canary'], { reject: false })
      t.notMatch(seen.stdout, host.canary, `${way}: nothing of the host is shown`)
    } else t.match(failure, { code: /^E/ }, `${way}: ${failure.message}`)
    if (way !== 'dangling')
      t.equal(readFileSync(join(root, source, 'canary'), 'utf8'), host.canary, `${way}: control: the name leads there`)
    await container.destroy({ force: true })
  }
})

t.test('E-B17 options of a bind change nothing of the host’s file system', { skip }, async t => {
  const source = mkdtempSync('/dev/shm/caisson-test-')
  t.teardown(() => rmSync(source, { recursive: true }))
  const superOptions = () =>
    hostMounts()
      .split('\n')
      .filter(line => line.includes(' /dev/shm '))
  const before = superOptions()
  for (const option of ['size=4k', 'mode=000', 'nr_inodes=7', 'errors=remount-ro']) {
    const { container } = await makeContainer(t, {
      config: `lxc.mount.entry = ${source} mnt none bind,${option},create=dir 0 0\n`,
    })
    const failure = await container.start().then(
      () => undefined,
      (error: Error & { code?: string }) => error,
    )
    t.match(failure, { code: /^E/ }, `${option} is refused`)
    t.strictSame(superOptions(), before, option)
    await container.destroy({ force: true })
  }
  const { container } = await startContainer(t, {
    config: `lxc.mount.entry = ${source} mnt none bind,ro,create=dir 0 0\n`,
  })
  t.match(
    (await look(container)).mounts.find(({ point }) => point === '/mnt')?.options,
    /\bro\b/,
    'control: what is an option of the bind is taken',
  )
  t.strictSame(superOptions(), before)
})

t.test('E-B22 a FIFO, a socket and a device that are bound are not opened', { skip }, async t => {
  const place = directory(t)
  execFileSync('mkfifo', [join(place, 'fifo')])
  execFileSync('mknod', [join(place, 'device'), 'c', '1', '11'])
  const server = createServer(() => t.fail('somebody connected')).listen(join(place, 'socket'))
  await once(server, 'listening')
  t.teardown(() => server.close())
  const mounts = ['fifo', 'device', 'socket'].map(name => ({
    source: join(place, name),
    target: `/${name}`,
    create: 'file' as const,
  }))
  const { container } = await startContainer(t, { mounts })
  const seen = await container.attach(['stat', '-c', '%F', '/fifo', '/device', '/socket'])
  t.equal(seen.stdout, 'fifo\ncharacter special file\nsocket\n', 'control: all three are there')
  await container.mount({ source: join(place, 'fifo'), target: '/later', create: 'file' })
  t.ok(lstatSync(join(place, 'fifo')).isFIFO())
})
