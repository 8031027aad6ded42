// Stopped containers whose lower layers are shown through an id map: their files, images and clones of them.
import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Container, Images } from '../../lib/index.ts'
import { hasProgram } from '../../lib/native/program.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

const skip = needsRoot

/** A container on the tree of an image, which has a directory and a file of uid 1000. */
async function layered(t: Test): Promise<{ path: string; images: Images; container: Container }> {
  const path = directory(t)
  const images = await Images.open(join(path, 'images'))
  const source = await Container.create('source', { path })
  const home = join(path, 'source/rootfs/home')
  execFileSync('sh', ['-euc', 'mkdir -p "$0/alice"; echo hers >"$0/alice/file"; chown -R 1000:1000 "$0/alice"', home])
  const { fingerprint } = await images.publish(source)
  await source.destroy()
  const container = await images.launch(fingerprint, 'web', { path, backend: 'overlay' })
  return { path, images, container }
}

const WHO = 'stat -c "%u %g %a %n" /home/alice /home/alice/* /etc/passwd; cat /home/alice/file'

async function inside(container: Container, script: string): Promise<string> {
  await container.start()
  try {
    return (await container.attach(['/bin/sh', '-c', script])).stdout.trim()
  } finally {
    await container.stop({ force: true })
  }
}

t.test('files are read and written as the container sees them', { skip }, async t => {
  const { path, container } = await layered(t)
  t.equal((await container.files.read('/home/alice/file')).toString(), 'hers\n')
  await container.files.write('/home/alice/new', 'mine', { uid: 1000, gid: 1000, mode: 0o600 })
  const host = join(path, 'host')
  await mkdir(host)
  await writeFile(join(host, 'pushed'), 'x')
  await container.files.push(host, '/home/alice/tree')
  await container.files.pull('/home/alice', join(path, 'pulled'))
  const pulled = execFileSync('stat', ['-c', '%u %n', 'file', 'new', 'tree/pushed'], { cwd: join(path, 'pulled') })
  t.equal(pulled.toString(), '1000 file\n1000 new\n0 tree/pushed\n')
  const seen = await inside(container, `${WHO}; stat -c "%u %n" /home/alice/tree/pushed`)
  t.equal(
    seen,
    [
      '1000 1000 755 /home/alice',
      '1000 1000 644 /home/alice/file',
      '1000 1000 600 /home/alice/new',
      '0 0 755 /home/alice/tree',
      '0 0 644 /etc/passwd',
      'hers',
      '0 /home/alice/tree/pushed',
    ].join('\n'),
    'a directory that was copied up has kept its owner',
  )
  await container.destroy()
})

t.test('an image is made of it, and of a snapshot while it runs', { skip }, async t => {
  const { path, images, container } = await layered(t)
  await inside(container, 'echo one >/etc/state; rm /etc/group; chown 7:8 /etc/state')
  await container.snapshots.create()
  await inside(container, 'echo two >/etc/state')
  const two = await images.publish(container)
  await container.start()
  await t.rejects(images.publish(container), { code: 'ERR_CONTAINER_RUNNING' })
  await t.rejects(images.publish(container, { snapshot: 'snap7' }), { code: 'ERR_CONTAINER_NOT_FOUND' })
  const one = await images.publish(container, { snapshot: 'snap0', properties: { state: 'one' } })
  await container.stop({ force: true })
  t.equal(one.properties.state, 'one')
  for (const [image, state] of [
    [one, 'one'],
    [two, 'two'],
  ] as const) {
    const made = await images.launch(image.fingerprint, 'made', { path, backend: 'dir' })
    const seen = await inside(
      made,
      `cat /etc/state; stat -c "%u %g" /etc/state; [ -e /etc/group ] || echo gone; ${WHO}`,
    )
    t.match(seen, new RegExp(`^${state}\n7 8\ngone\n1000 1000 755 /home/alice\n`), `of state ${state}`)
    await made.destroy()
  }
  await container.destroy({ snapshots: true })
})

for (const backend of ['dir', 'loop'] as const) {
  const needed = skip || (backend === 'dir' || hasProgram('mkfs.ext4') ? false : 'needs e2fsprogs')
  t.test(`it is cloned to ${backend}, which is published`, { skip: needed }, async t => {
    const { path, images, container } = await layered(t)
    await container.files.write('/home/alice/new', 'mine', { uid: 1000, gid: 1000 })
    const clone = await container.clone('clone', { backend })
    t.notSame(clone.config.get('lxc.idmap'), container.config.get('lxc.idmap'), 'with ids of its own')
    await container.destroy()
    const expected = await inside(clone, WHO)
    t.match(
      expected,
      /^1000 1000 755 \/home\/alice\n1000 1000 644 \/home\/alice\/file\n1000 1000 644 \/home\/alice\/new\n0 0/,
    )
    const host = join(path, 'host')
    await mkdir(join(host, 'sub'), { recursive: true })
    await clone.files.push(host, '/srv')
    const { fingerprint } = await images.publish(clone)
    await clone.destroy()
    const made = await images.launch(fingerprint, 'made', { path })
    t.equal(await inside(made, WHO), expected)
    await made.destroy()
  })
}
