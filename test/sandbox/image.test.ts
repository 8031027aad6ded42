/** An image as the root of a sandbox, for root and for an ordinary user. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { run, SandboxPool, sandbox } from '../../lib/index.ts'
import { imageOf } from '../support/image.ts'

t.test('run() and sandbox() on an image', async t => {
  const { store, images, fingerprint } = await imageOf(t)
  const rootfs = { image: 'small', store }
  const { stdout } = await run(['/bin/sh', '-c', 'cat /etc/own; ls /; stat -c %u /bin/busybox /etc/own'], { rootfs })
  const own = process.geteuid?.() === 0 ? ['0', '1000'] : [String(process.geteuid?.()), String(process.geteuid?.())]
  t.strictSame(stdout.trim().split('\n'), ['of the image', 'bin', 'dev', 'etc', 'proc', 'tmp', ...own])
  await t.rejects(run(['/bin/sh', '-c', 'echo x >/etc/own'], { rootfs }), { code: 'ERR_EXIT' }, 'it is read-only')
  await t.rejects(run(['/bin/id'], { rootfs: { image: 'smal', store } }), {
    code: 'ERR_IMAGE_NOT_FOUND',
    hint: 'did you mean "small"?',
  })
  t.equal(readdirSync(join(store, 'trees')).length, 1, 'unpacked once')
  {
    await using box = await sandbox({ rootfs: { image: fingerprint.slice(0, 12), store } })
    t.equal((await box.run(['/bin/cat', '/etc/own'])).stdout, 'of the image\n')
    await t.rejects(images.remove('small'), { code: 'ERR_CONTAINER_BUSY' }, 'who stands on it is known')
  }
  const pool = new SandboxPool({ rootfs, size: 1 })
  t.equal((await pool.run(['/bin/cat', '/etc/own'])).stdout, 'of the image\n')
  await pool.close()
})

t.test(
  'users are those of the image',
  { skip: process.geteuid?.() !== 0 && 'only root maps more than one id' },
  async t => {
    const { store } = await imageOf(t)
    const { stdout } = await run(['/bin/id', '-un'], { rootfs: { image: 'small', store }, user: 'alice' })
    t.equal(stdout, 'alice\n')
  },
)

t.test('what was aborted has left no tree', async t => {
  const { store } = await imageOf(t)
  const rootfs = { image: 'small', store }
  await t.rejects(sandbox({ rootfs, signal: AbortSignal.abort() }), { code: 'ERR_ABORTED' })
  t.strictSame(readdirSync(join(store, 'trees')), [])
  t.strictSame(readdirSync(join(store, 'downloads')), [])
})
