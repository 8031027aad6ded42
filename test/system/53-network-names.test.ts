/** Names between containers, and the files that show them: whatever an image has in their place, and live while containers come and go. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import type { Test } from 'tap'
import type { Network } from '../../lib/config/network_options.ts'
import { Container, ManagedNetwork } from '../../lib/index.ts'
import { alone, NETWORKS, reaches, run, started } from '../support/network.ts'
import { directory, rootfs } from '../support/rootfs.ts'

const FILES = ['hosts', 'hostname', 'resolv.conf']
const each = (act: (file: string, name: string) => void) => (root: string) => {
  for (const name of FILES) act(join(root, 'etc', name), name)
}
const read = async (container: Container, file: string) => (await run(container, 'cat', `/etc/${file}`)).output

/** All regular files below a directory with their contents, and symlinks with where they lead. */
function contents(path: string): [name: string, text: string][] {
  const names = readdirSync(path, { recursive: true }).map(String).toSorted()
  return names.flatMap(name => {
    const file = join(path, name)
    if (lstatSync(file).isSymbolicLink()) return [[name, `-> ${readlinkSync(file)}`] as [string, string]]
    return statSync(file).isFile() ? [[name, readFileSync(file, 'utf8')] as [string, string]] : []
  })
}

async function names(t: Test): Promise<void> {
  const lxcpath = directory(t)
  await t.test('whatever the image has there (K9)', async t => {
    const network = await ManagedNetwork.create('cnet0', { ipv4: '10.97.0.1/24', domain: 'test' })
    const nic: Network = { type: 'veth', link: 'cnet0' }
    const victims = directory(t)
    for (const name of FILES) writeFileSync(join(victims, name), `of the host: ${name}\n`)
    const before = contents(victims)
    const up = '../'.repeat(20)
    const images: Record<string, (root: string) => void> = {
      plain: each(file => writeFileSync(file, 'of the image\n')),
      bare: () => undefined,
      resolved: root => symlinkSync('../run/systemd/resolve/stub-resolv.conf', join(root, 'etc/resolv.conf')),
      absolute: each((file, name) => symlinkSync(join(victims, name), file)),
      relative: each((file, name) => symlinkSync(`${up}${victims}/${name}`, file)),
      loop: each((file, name) => symlinkSync(name, file)),
      magic: each(file => symlinkSync('/proc/1/root/etc/passwd', file)),
      moved: root => {
        renameSync(join(root, 'etc'), join(root, 'private'))
        symlinkSync('private', join(root, 'etc'))
      },
      escaped: root => {
        mkdirSync(join(root, victims), { recursive: true })
        renameSync(join(root, 'etc'), join(root, 'was'))
        symlinkSync(`${up}${victims}`, join(root, 'etc'))
      },
    }
    for (const [name, prepare] of Object.entries(images)) {
      const root = rootfs(t)
      prepare(root)
      const image = contents(root).filter(([file]) => !/^(bin|sbin|usr)\//.test(file) && file !== 'probe')
      const container = await started(t, lxcpath, name, [nic], 'lxc.uts.name = other-name\n', root)
      t.match(await read(container, 'hosts'), `10.97.0.2\t${name}.test ${name} other-name\n`, `${name}: hosts`)
      t.equal(await read(container, 'hostname'), 'other-name\n', `${name}: hostname`)
      t.match(await read(container, 'resolv.conf'), /^search test\n/, `${name}: resolv.conf`)
      t.match(await run(container, 'sh', '-c', 'echo >>/etc/hosts'), { exitCode: 1, output: /Read-only/ })
      await container.destroy({ force: true })
      const left = contents(root).filter(([file]) => !/^(bin|sbin|usr)\//.test(file) && file !== 'probe')
      const known = new Set(image.map(([file]) => file))
      const old = left.filter(([file]) => known.has(file))
      t.strictSame(old, image, `${name}: the image is as it was`)
      const added = left.filter(([file, text]) => !known.has(file) && !(FILES.includes(basename(file)) && text === ''))
      t.strictSame(added, [], 'but for empty files to show ours on')
    }
    t.strictSame(contents(victims), before, 'nothing of the host was written')
    await network.destroy()
  })

  await t.test('a read-only root', async t => {
    const network = await ManagedNetwork.create('cnet1', { ipv4: '10.97.1.1/24' })
    const nic: Network = { type: 'veth', link: 'cnet1' }
    const [full, bare] = [rootfs(t), rootfs(t)]
    for (const name of FILES) symlinkSync('/nowhere', join(full, 'etc', name))
    const one = await started(t, lxcpath, 'one', [nic], 'lxc.rootfs.options = ro\n', full)
    const two = await started(t, lxcpath, 'two', [nic], 'lxc.rootfs.options = ro\n', bare)
    t.match(await read(one, 'hosts'), /10\.97\.1\.3\ttwo\n/, 'what the image has is covered')
    t.notOk(existsSync(join(bare, 'etc/hosts')))
    t.match(await read(two, 'hosts'), /No such file/, 'one that lacks the file does without')
    t.ok(await reaches(two, '10.97.1.2'), 'and has its network')
    await one.destroy({ force: true })
    await two.destroy({ force: true })
    await network.destroy()
  })

  await t.test('with a user namespace', async t => {
    const network = await ManagedNetwork.create('cnet2', { ipv4: '10.97.2.1/24' })
    const web = await Container.create('mapped', {
      path: lxcpath,
      template: 'busybox',
      network: [{ type: 'veth', link: 'cnet2' }],
    })
    t.teardown(() => web.destroy({ force: true }))
    t.ok(web.config.has('lxc.idmap'))
    await web.start()
    t.match(await read(web, 'hosts'), /10\.97\.2\.2\tmapped\n/)
    const { exitCode } = await run(
      web,
      'sh',
      '-c',
      'mount -o remount,rw,bind /etc/hosts || echo 1.2.3.4 evil >>/etc/hosts',
    )
    t.not(exitCode, 0, 'its root cannot change what the others see')
    await web.destroy({ force: true })
    await network.destroy()
  })

  await t.test('live, and over several networks', async t => {
    const left = await ManagedNetwork.create('cleft', { ipv4: '10.97.3.1/24', domain: 'left' })
    const right = await ManagedNetwork.create('cright', { ipv4: '10.97.4.1/24' })
    const router = await started(t, lxcpath, 'router', [
      { type: 'veth', link: 'cleft' },
      { type: 'veth', link: 'cright' },
    ])
    const ann = await started(t, lxcpath, 'ann', [{ type: 'veth', link: 'cleft' }])
    const bob = await started(t, lxcpath, 'bob', [{ type: 'veth', link: 'cright' }])
    for (const name of ['ann', 'ann.left', 'bob']) t.ok(await reaches(router, name), `the router reaches ${name}`)
    t.ok(await reaches(ann, 'router'), 'and is reached by name')
    t.notMatch(await read(ann, 'hosts'), /bob/, 'those of one network see its names only')
    await bob.destroy({ force: true })
    t.notMatch(await read(router, 'hosts'), /bob/, 'who goes is forgotten at once')
    await router.destroy({ force: true })
    await ann.destroy({ force: true })
    await left.destroy()
    t.strictSame(readdirSync(NETWORKS).toSorted(), ['cright', 'lock'])
    await right.destroy()
  })

  await t.test('a network without names leaves the image its own', async t => {
    const network = await ManagedNetwork.create('cnet5', { ipv4: '10.97.5.1/24', dns: false })
    const root = rootfs(t)
    for (const name of FILES) writeFileSync(join(root, 'etc', name), 'of the image\n')
    const web = await started(t, lxcpath, 'own', [{ type: 'veth', link: 'cnet5' }], '', root)
    for (const name of FILES) t.equal(await read(web, name), 'of the image\n')
    await web.destroy({ force: true })
    await network.destroy()
  })
}

alone(import.meta.url, 'names', names)
