// Mounts and devices of a running container, changed from outside; joined namespaces; time offsets.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { errorOf, look, makeContainer, startContainer, tagOf } from '../support/container.ts'
import { leavesNoTrace, needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

t.test('mount injection', { skip: needsRoot }, async t => {
  const { container, lxcpath } = await startContainer(t)
  const read = async (path: string) => (await container.attach(['cat', path])).stdout
  const shown = directory(t)
  writeFileSync(join(shown, 'file'), 'of the host')

  await t.test('a directory appears, read-only, and goes; the host sees nothing of it', async t => {
    await leavesNoTrace(
      t,
      async () => {
        await container.mount({ source: shown, target: '/new/place', create: 'dir', options: ['ro'] })
        t.equal(await read('/new/place/file'), 'of the host')
        t.equal((await container.attach(['touch', '/new/place/x'], { reject: false })).exitCode, 1)
        const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
        t.notMatch(mounts, '/new/place')
        await container.unmount('/new/place')
        t.equal((await container.attach(['ls', '/new/place'])).stdout, '')
      },
      tagOf(lxcpath),
    )
    t.match(await errorOf(container.unmount('/new/place')), { code: 'EINVAL' })
  })

  await t.test('a single file, a file system, and the container’s own ids', async t => {
    await container.mount({ source: join(shown, 'file'), target: '/etc/shown', create: 'file' })
    t.equal(await read('/etc/shown'), 'of the host')
    await container.mount({ source: 'tmpfs', target: '/tmp', type: 'tmpfs', options: ['size=64k', 'nosuid'] })
    const tmp = (await look(container)).mounts.find(({ point }) => point === '/tmp')
    t.match(tmp, { type: 'tmpfs', super: /size=64k/, options: /nosuid/ })
    await container.mount({ source: shown, target: '/mapped', create: 'dir', idmap: 'container' })
    t.equal((await container.attach(['stat', '-c', '%u', '/mapped/file'])).stdout, '0\n', 'root’s there is root’s here')
  })

  await t.test('all that is refused says why', async t => {
    t.match(await errorOf(container.mount({ source: '/nowhere', target: '/tmp' })), {
      code: 'ENOENT',
      step: 'mount.open',
    })
    t.match(await errorOf(container.mount({ source: shown, target: '/missing' })), {
      code: 'ENOENT',
      step: 'mount.attach',
    })
  })

  await t.test('a target that the container points elsewhere stays inside (B1, B7)', async t => {
    await container.attach(['sh', '-c', 'ln -s /etc /link; ln -s ../../../../../../etc /up'])
    for (const target of ['/link/made', '/up/made2']) await container.mount({ source: shown, target, create: 'dir' })
    t.notOk(existsSync('/etc/made') || existsSync('/etc/made2'), 'nothing was made on the host')
    t.equal(await read('/etc/made/file'), 'of the host')
  })
})

t.test('devices (H4)', { skip: needsRoot }, async t => {
  const { container, rootfs } = await startContainer(t)
  const open = async (path: string) =>
    JSON.parse((await container.attach(['/probe', 'open', path, 'r'])).stdout) as { error: string | null }
  const denied = async (path: string) => ['EPERM', 'EACCES', 'ENXIO', 'ENOENT'].includes((await open(path)).error ?? '')
  // fuse: no default lets it in, and everybody may open it where it may be opened at all.
  const device = join(directory(t), 'fuse')
  execFileSync('mknod', ['-m', '666', device, 'c', '10', '229'])
  t.ok(await denied(device), 'not there before')
  await container.addDevice(device, '/dev/sub/it')
  t.match(await open('/dev/sub/it'), { error: null })
  t.match(await errorOf(container.removeDevice('/dev/null')), { code: 'ERR_INVALID_OPTION', hint: '/dev/sub/it' })
  await container.removeDevice('/dev/sub/it')
  t.match(await open('/dev/sub/it'), { error: 'ENOENT' })
  t.match(await errorOf(container.addDevice('/etc/passwd')), { code: 'ERR_INVALID_OPTION' })

  await container.attach(['sh', '-c', 'mkdir -p /real; ln -s /etc /dev/turned'])
  await container.addDevice(device, '/dev/turned/it')
  t.notOk(existsSync('/etc/it'), 'the host’s /etc has no such file')
  t.ok(existsSync(join(rootfs, 'etc/it')), 'it is the container’s')
  await container.removeDevice('/dev/turned/it')
  t.notOk(existsSync(join(rootfs, 'etc/it')))
})

t.test(
  'device rules change while it runs (lxc.cgroup2.devices.*), on v1 and v2 alike',
  { skip: needsRoot },
  async t => {
    // A privileged root, so that nothing but the rules keeps it from a device. kmsg may be opened by who has the right to.
    const device = join(directory(t), 'fuse')
    execFileSync('mknod', ['-m', '666', device, 'c', '10', '229'])
    const shown = `lxc.mount.entry = ${device} tmp/fuse none bind,create=file 0 0`
    for (const [base, before] of [
      ['', 'EPERM'],
      ['lxc.cgroup2.devices.allow = a\n', null],
    ] as const) {
      const { container } = await startContainer(t, { idmap: false, config: base + shown })
      const open = async (mode: string) =>
        (JSON.parse((await container.attach(['/probe', 'open', '/tmp/fuse', mode])).stdout) as { error: string | null })
          .error
      t.equal(await open('r'), before)
      await container.cgroup.set('devices.allow', 'c 10:229 rw')
      t.equal(await open('rw'), null, 'allowed now')
      await container.cgroup.set('devices.deny', 'c 10:229 w')
      t.equal(await open('w'), 'EPERM', 'the last rule that matches decides')
      t.equal(await open('r'), null)
      await container.cgroup.set('devices.deny', 'c 10:229 r')
      t.equal(await open('r'), 'EPERM')
      t.match(await errorOf(container.cgroup.set('devices.allow', 'c 10')), { code: 'ERR_CONFIG_VALUE' })
    }
  },
)

t.test('namespaces of others are joined (lxc.namespace.share.*)', { skip: needsRoot }, async t => {
  const other = await startContainer(t)
  const { container } = await makeContainer(t)
  const pid = (await other.container.initPid()) as number
  const ns = async (kind: string, of: number) => readlinkSync(`/proc/${of}/ns/${kind}`)
  container.config.set('lxc.namespace.share.net', `${other.lxcpath}/c`).set('lxc.namespace.share.ipc', String(pid))
  await container.start()
  const own = (await container.initPid()) as number
  t.equal(await ns('net', own), await ns('net', pid))
  t.equal(await ns('ipc', own), await ns('ipc', pid))
  t.not(await ns('mnt', own), await ns('mnt', pid))
  t.equal((await look(container)).namespaces.net, (await look(other.container)).namespaces.net, 'attach follows')
  t.not(await ns('net', own), readlinkSync('/proc/self/ns/net'))
  await container.stop({ force: true })
  t.equal(await other.container.state(), 'RUNNING', 'the other lives on')
  container.config.set('lxc.namespace.share.net', `${other.lxcpath}/nobody`)
  t.match(await errorOf(container.start()), { code: 'ERR_CONTAINER_NOT_RUNNING' })
})

t.test('a user namespace is shared, and the ids with it', { skip: needsRoot }, async t => {
  const other = await startContainer(t)
  const { container } = await makeContainer(t, { idmap: false })
  const pid = (await other.container.initPid()) as number
  for (const kind of ['user', 'net', 'uts'] as const) container.config.set(`lxc.namespace.share.${kind}`, String(pid))
  await container.start()
  const own = (await container.initPid()) as number
  t.equal(readlinkSync(`/proc/${own}/ns/user`), readlinkSync(`/proc/${pid}/ns/user`))
  t.match(await look(container), { uid: [0, 0, 0] })
})

t.test('kept namespaces are the caller’s', { skip: needsRoot }, async t => {
  const { container } = await makeContainer(t)
  container.config.set('lxc.namespace.keep', 'ipc net')
  await container.start()
  const own = (await container.initPid()) as number
  for (const kind of ['ipc', 'net'])
    t.equal(readlinkSync(`/proc/${own}/ns/${kind}`), readlinkSync(`/proc/self/ns/${kind}`))
})

const clocks = needsRoot || (existsSync('/proc/self/ns/time') ? false : 'no time namespaces')
t.test('clocks are ahead (lxc.time.offset.*)', { skip: clocks }, async t => {
  const { container } = await makeContainer(t)
  container.config.set('lxc.time.offset.boot', '10h').set('lxc.time.offset.monotonic', '2h')
  await container.start()
  const uptime = Number((await container.attach(['cat', '/proc/uptime'])).stdout.split(' ')[0])
  t.ok(
    uptime - Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) > 9 * 3600,
    'attach is in the time namespace too',
  )
  const own = (await container.initPid()) as number
  t.match(readFileSync(`/proc/${own}/timens_offsets`, 'utf8'), /boottime\s+36000\s+0/)
})
