/** A root file system: where it comes from, what is put into it before the start, and directories of the host that are shown in it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Container } from '../lib/index.ts'

const shared = mkdtempSync(join(tmpdir(), 'caisson-shared-'))
writeFileSync(join(shared, 'note'), 'from the host\n')

// `template` makes it: busybox, download, oci, directory, mmdebstrap …; `rootfs: '/a/directory'` takes one that exists.
const web = await Container.create('rootfs', {
  template: 'busybox',
  mounts: [{ source: join(shared, 'note'), target: 'mnt/note', options: ['ro'], create: 'file' }],
})
try {
  console.log('its files are in', web.config.get('lxc.rootfs.path'))
  await web.start()
  await web.files.write('/etc/motd', 'written by Node\n')
  console.log((await web.attach(['cat', '/etc/motd', '/mnt/note'])).stdout.trimEnd())
  const refused = await web.attach(['sh', '-c', 'echo x >/mnt/note'], { reject: false })
  console.log(refused.stderr.trimEnd())
} finally {
  await web.destroy({ force: true })
  rmSync(shared, { recursive: true })
}
