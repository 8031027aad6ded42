import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readElf } from '../../lib/image/elf.ts'
import { createRootfs, type TemplateContext } from '../../lib/image/template.ts'
import { findTemplate } from '../../lib/image/templates.ts'

const root = process.geteuid?.() === 0

async function emptyContext(test: Tap, more: Partial<TemplateContext> = {}): Promise<TemplateContext> {
  const base = await mkdtemp(join(tmpdir(), 'caisson-busybox-'))
  test.teardown(() => rm(base, { recursive: true }))
  const rootfs = join(base, 'rootfs')
  await mkdir(rootfs)
  return { name: 'web', rootfs, options: {}, ...more }
}
type Tap = { teardown(f: () => unknown): void }

t.test('busybox makes a root file system that can run by itself', async t => {
  const context = await emptyContext(t)
  const result = await createRootfs(findTemplate('busybox'), context)
  const at = (path: string): string => join(context.rootfs, path)
  t.equal((await readElf(at('bin/busybox')))?.isStatic, true)
  t.equal(await readlink(at('sbin/init')), '../bin/busybox')
  t.equal(await readlink(at('bin/sh')), 'busybox')
  t.equal((await stat(at('tmp'))).mode & 0o7777, 0o1777)
  t.equal((await stat(at('root'))).mode & 0o7777, 0o700)
  t.equal(await readFile(at('etc/hostname'), 'utf8'), 'web\n')
  t.equal(new Map(result.config).get('lxc.signal.halt'), 'SIGUSR1')
  t.equal(new Map(result.config).get('lxc.signal.reboot'), 'SIGTERM')
  t.test('its shell runs in it', { skip: root ? false : 'needs root: chroot' }, async t => {
    const out = execFileSync('chroot', [context.rootfs, '/bin/sh', '-c', 'id -un; ls /sbin/init'], { encoding: 'utf8' })
    t.equal(out, 'root\n/sbin/init\n')
  })
})

t.test('owners are shifted when asked', { skip: root ? false : 'needs root: chown' }, async t => {
  const shift = [{ type: 'both', container: 0, host: 300000, range: 65536 }] as const
  const context = await emptyContext(t, { shift })
  await createRootfs(findTemplate('busybox'), context)
  const strays = execFileSync('find', [context.rootfs, '-not', '-uid', '300000', '-o', '-not', '-gid', '300000'])
  t.equal(strays.toString(), '')
})

t.test('a dynamic or damaged busybox is refused', async t => {
  const context = await emptyContext(t, { options: { path: process.execPath } })
  await t.rejects(createRootfs(findTemplate('busybox'), context), { code: 'ERR_TEMPLATE', hint: /busybox-static/ })
  const script = `${context.rootfs}.sh`
  await writeFile(script, '#!/bin/sh\n', { mode: 0o755 })
  await t.rejects(createRootfs(findTemplate('busybox'), { ...context, options: { path: script } }), {
    code: 'ERR_TEMPLATE',
  })
})

t.test('mistakes in names are answered with the nearest one', async t => {
  const context = await emptyContext(t, { options: { pth: '/' } })
  await t.rejects(createRootfs(findTemplate('busybox'), context), {
    code: 'ERR_INVALID_OPTION',
    hint: 'did you mean "path"?',
  })
  t.throws(() => findTemplate('busibox'), { code: 'ERR_TEMPLATE', hint: 'did you mean "busybox"?' })
})

t.test('directory copies a tree with its links, holes and modes', async t => {
  const source = await emptyContext(t)
  await createRootfs(findTemplate('busybox'), source)
  const copy = await emptyContext(t, { options: { path: source.rootfs } })
  await createRootfs(findTemplate('directory'), copy)
  t.equal(await readlink(join(copy.rootfs, 'sbin/init')), '../bin/busybox')
  t.equal((await stat(join(copy.rootfs, 'tmp'))).mode & 0o7777, 0o1777)
  const missing = await emptyContext(t, { options: { path: `${source.rootfs}-missing` } })
  await t.rejects(createRootfs(findTemplate('directory'), missing), { code: 'ERR_ROOTFS_MISSING' })
})
