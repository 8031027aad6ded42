/**
 * Images, from nothing and with no network: a container is made and changed, published, and launched twice from what was
 * published; one of the two is kept as a snapshot, spoilt, and put back.
 *
 *   node --import=@tapjs/typescript/import examples/images.ts
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Container, Images } from '../lib/index.ts'

const lxcpath = mkdtempSync(join(tmpdir(), 'caisson-images-'))
try {
  const images = await Images.open(join(lxcpath, 'images'))

  const base = await Container.create('base', { path: lxcpath })
  await base.files.write('/etc/motd', 'made once, launched often\n')
  const image = await images.publish(base, { properties: { os: 'BusyBox', release: '1' } })
  await images.setAlias('base', image.fingerprint)
  console.log('published', image.fingerprint.slice(0, 12), image.properties)

  const [one, two] = [
    await images.launch('base', 'one', { path: lxcpath }),
    await images.launch('base', 'two', { path: lxcpath }),
  ]
  console.log('launched', one.config.get('lxc.rootfs.path'))

  const snapshot = await one.snapshots.create({ comment: 'as launched' })
  await one.start()
  await one.attach(['rm', '/etc/motd'])
  await one.stop({ force: true })
  await one.snapshots.restore(snapshot)
  console.log('restored', JSON.stringify((await one.files.read('/etc/motd')).toString()))

  for (const container of [one, two, base]) await container.destroy({ snapshots: true })
} finally {
  rmSync(lxcpath, { recursive: true })
}
