/** A snapshot, and the way back; a copy, and what it costs. */
import { Container } from '../lib/index.ts'

const box = await Container.create('snapshot')
let copy: Container | undefined
try {
  const before = await box.snapshots.create({ comment: 'as made' })
  await box.start()
  await box.attach(['rm', '-r', '/etc'], { reject: false })
  await box.stop({ force: true })

  await box.snapshots.restore(before)
  await box.start()
  console.log('restored:', (await box.attach(['ls', '/etc/passwd'])).stdout.trim())
  await box.stop({ force: true })

  copy = await box.clone('snapshot-copy')
  console.log(
    'copied:',
    copy.name,
    'with ids of its own:',
    copy.config.get('lxc.idmap')?.[0] !== box.config.get('lxc.idmap')?.[0],
  )
} finally {
  await copy?.destroy({ force: true })
  await box.destroy({ force: true, snapshots: true })
}
