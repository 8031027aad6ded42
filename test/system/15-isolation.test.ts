// What the default profile leaves a container: seen by the probe as its process 1, and by the host.
import { closeSync, openSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync } from 'node:fs'
import t from 'tap'
import { DEVICES, look, makeContainer, startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { parseReport } from '../support/probe.ts'

const skip = needsRoot

t.test('process 1 by default', { skip }, async t => {
  process.env.HOST_SECRET = 'canary'
  const canary = openSync('/etc/hostname', 'r')
  t.teardown(() => {
    delete process.env.HOST_SECRET
    closeSync(canary)
  })
  const { container } = await makeContainer(t)
  const { stdout } = await container.execute(['/probe'])
  const seen = parseReport(stdout)

  t.strictSame(seen.uid, [0, 0, 0])
  t.equal(seen.uidMap.length, 1)
  t.ok((seen.uidMap[0]?.[1] ?? 0) >= 65_536, 'root inside is nobody in particular outside')
  t.strictSame(seen.groups, [])
  for (const [kind, own] of Object.entries(seen.namespaces)) {
    if (kind.endsWith('_for_children') || kind === 'time') continue
    t.not(own, readlinkSync(`/proc/self/ns/${kind}`), `a ${kind} namespace of its own`)
  }
  t.equal(seen.status.CapInh, '0000000000000000', 'nothing is inheritable (D1)')
  t.equal(seen.status.CapAmb, '0000000000000000')
  t.equal(seen.status.Seccomp, '2')
  t.strictSame(Object.keys(seen.fds), ['0', '1', '2'], 'no descriptor of the caller (A3)')
  t.strictSame(Object.keys(seen.env).toSorted(), ['PATH', 'TERM', 'container'], 'no variable of the caller (D11)')
  t.equal(seen.hostname, 'c')
  const keys = readFileSync('/proc/self/status', 'utf8')
  t.ok(keys !== '' && seen.keyring !== 0, 'a session keyring')
  const points = seen.mounts.map(({ point }) => point)
  t.notOk(
    points.some(point => point.includes('caisson-test')),
    'no mount of the host is left',
  )
  const mount = (point: string) => seen.mounts.findLast(one => one.point === point)
  t.match(mount('/'), { options: /idmapped|rw/ })
  t.match(mount('/proc/sys'), { options: /^ro/ })
  t.match(mount('/sys'), { options: /^ro/ })
  t.match(mount('/dev'), { type: 'tmpfs', options: /nosuid,noexec/ })
})

t.test('what it tries and cannot', { skip }, async t => {
  const { container } = await startContainer(t)
  const sh = async (command: string) => (await container.attach(['sh', '-c', command], { reject: false })).exitCode
  t.not(await sh('echo 1 > /proc/sys/kernel/panic'), 0, 'a host setting')
  t.not(await sh('mknod /tmp/sda b 8 0'), 0, 'a device (F8)')
  t.not(await sh('echo b > /proc/sysrq-trigger'), 0)
  t.equal(await sh('test -s /proc/kallsyms'), 1, 'a masked file is empty')
  t.strictSame((await container.attach(['ls', '/sys/firmware'])).stdout, '', 'a masked directory too')
  t.strictSame(
    (await container.attach(['ls', '/dev'])).stdout.trim().split('\n').toSorted(),
    DEVICES,
    'exactly these devices (H5)',
  )
  t.not(await sh('mount -t tmpfs none /tmp && mount | grep -q /tmp && false'), 0)
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), /caisson-test.*tmpfs/, 'its mounts do not come out (B16)')
})

t.test('files it makes belong to root on disk, and to nobody that the host knows while it runs', { skip }, async t => {
  const { container, rootfs } = await startContainer(t)
  await container.attach(['sh', '-c', 'echo x > /root/made'])
  t.equal(statSync(`${rootfs}/root/made`).uid, 0, 'through the id map uid 0 on disk is its root')
  const status = readFileSync(`/proc/${await container.initPid()}/status`, 'utf8')
  t.ok(Number(/^Uid:\t(\d+)/m.exec(status)?.[1]) >= 65_536)
})

t.test('privileged only by name', { skip }, async t => {
  const { container } = await makeContainer(t, { idmap: false })
  const seen = parseReport((await container.execute(['/probe'])).stdout)
  t.strictSame(seen.uidMap, [[0, 0, 4294967295]])
  t.equal(seen.status.Seccomp, '2', 'still filtered')
  t.notOk(container.config.has('lxc.idmap'))
})

t.test('a link where /proc, /sys or /dev should be is refused, not followed (B3, B6)', { skip }, async t => {
  for (const name of ['proc', 'sys', 'dev']) {
    const { container, rootfs } = await makeContainer(t)
    rmSync(`${rootfs}/${name}`, { recursive: true })
    symlinkSync('/tmp', `${rootfs}/${name}`)
    await t.rejects(container.start(), { code: 'ELOOP', message: /symlink/ }, name)
    t.equal(await container.state(), 'STOPPED')
  }
})

t.test('a second look from inside: attach is as confined as init (D6)', { skip }, async t => {
  const { container } = await startContainer(t)
  const [a, b] = [await look(container), await look(container, { user: 1000 })]
  t.equal(a.status.CapBnd, b.status.CapBnd)
  t.equal(b.status.CapPrm, '0000000000000000')
  t.equal(a.status.Seccomp_filters, b.status.Seccomp_filters)
})
