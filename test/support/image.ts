/** A small image for tests, in a store of its own. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Images } from '../../lib/index.ts'
import { directory } from './rootfs.ts'

/** An image with busybox and a file of uid 1000, in a store of its own. */
export async function imageOf(t: Test): Promise<{ store: string; images: Images; fingerprint: string }> {
  const base = directory(t)
  const tree = join(base, 'image')
  for (const name of ['rootfs/bin', 'rootfs/etc', 'rootfs/proc', 'rootfs/dev', 'rootfs/tmp'])
    mkdirSync(join(tree, name), { recursive: true })
  execFileSync('sh', ['-c', 'cp "$(command -v busybox)" "$0"', join(tree, 'rootfs/bin/busybox')])
  for (const name of ['sh', 'cat', 'id', 'stat', 'ls']) symlinkSync('busybox', join(tree, 'rootfs/bin', name))
  writeFileSync(join(tree, 'rootfs/etc/passwd'), 'root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/tmp:/bin/sh\n')
  writeFileSync(join(tree, 'rootfs/etc/group'), 'root:x:0:\nalice:x:1000:\n')
  writeFileSync(join(tree, 'rootfs/etc/own'), 'of the image\n')
  chmodSync(join(tree, 'rootfs/tmp'), 0o1777)
  writeFileSync(join(tree, 'metadata.yaml'), 'architecture: x86_64\ncreation_date: 1700000000\n')
  const owners = ['--owner=0', '--group=0', '-C', tree]
  const own = ['--owner=1000', '--group=1000', 'rootfs/etc/own']
  execFileSync('tar', ['-cf', join(base, 'image.tar'), ...owners, '--exclude=own', 'metadata.yaml', 'rootfs'])
  execFileSync('tar', ['-rf', join(base, 'image.tar'), '-C', tree, ...own])
  const store = join(base, 'store')
  const images = await Images.open(store)
  const { fingerprint } = await images.import(join(base, 'image.tar'))
  await images.setAlias('small', fingerprint)
  return { store, images, fingerprint }
}
