/** Each backend: what is put in comes out, a fork is independent, and nothing is left on the host. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { backendOf, chooseBackend, findBackend } from '../../lib/storage/backends.ts'
import { copyShifted } from '../../lib/storage/copy.ts'
import { lvmWith } from '../../lib/storage/lvm.ts'
import type { Backend, Site, Volume } from '../../lib/storage/storage.ts'
import { copyVolume, runInView, VIEW } from '../../lib/storage/view.ts'
import { zfsWith } from '../../lib/storage/zfs.ts'

const rooted = { skip: process.geteuid?.() === 0 ? false : 'needs root: owners and mounts' }
const base = await mkdtemp(join(tmpdir(), 'caisson-storage-'))
t.teardown(() => rm(base, { recursive: true }))
let serial = 0

async function newSite(at = base): Promise<Site> {
  const name = `c${++serial}`
  const directory = join(at, name)
  await mkdir(directory)
  return { directory, name }
}

/** Everything a copy could lose. */
const MAKE = `cd "$1"; mkdir d; echo hi >d/f; ln d/f hard; ln -s /etc/passwd soft; mkfifo p; mknod n c 1 3
  truncate -s 8M sparse; echo end >>sparse; setfattr -n user.note -v 1 d; setfacl -m u:1234:r d/f; chown -h 7:8 soft p
  cp /bin/true cap; setcap cap_net_raw+ep cap; chmod 4711 cap; setcap cap_net_raw+ep cap; chmod 1777 d; touch -d @1000000000.5 d/f`
const LOOK = `cd "$1"; stat -c '%n %F %a %u:%g %Y' d; stat -c '%n %F %a %u:%g %h %s %t,%T %Y' d/f hard soft p n sparse cap; readlink soft
  getfattr --only-values -n user.note d; getfacl -n d/f; getcap -n cap`

const shell = async (volume: Volume, script: string): Promise<string> =>
  runInView({ v: { volume, access: 'write' } }, 'sh', ['-euc', script, 'sh', `${VIEW}/v`])

const hostState = (): string =>
  readFileSync('/proc/self/mountinfo', 'utf8') +
  execFileSync('losetup', ['--noheadings', '--list'], { encoding: 'utf8' })

/** What every backend must do. */
async function exercise(t: Test, backend: Backend, at: string): Promise<void> {
  const before = hostState()
  const site = await newSite(at)
  t.ok(await backend.isUsable(at))
  const volume = await backend.create(site, { size: 64 * 1024 ** 2 })
  await shell(volume, MAKE)
  const there = await shell(volume, LOOK)
  t.match(there, /cap_net_raw/)

  const plain = await findBackend('dir').create(await newSite(), {})
  await copyVolume(volume, plain)
  t.equal(await shell(plain, LOOK), there, 'a copy to dir has everything')
  const back = await backend.create(await newSite(at), { size: 64 * 1024 ** 2 })
  await copyVolume(plain, back)
  t.equal(await shell(back, LOOK), there, 'and back')

  if (backend.fork !== undefined) {
    const fork = await backend.fork(volume, await newSite(at), {})
    t.equal(await shell(fork, LOOK), there, 'a fork has everything')
    await shell(fork, 'cd "$1"; echo changed >d/f; rm soft; echo new >new')
    t.equal(await shell(volume, LOOK), there, 'what changes in a fork changes nothing else')
    await backendOf(fork).remove(fork)
    t.equal(await shell(volume, LOOK), there)
  }

  const to = { directory: `${site.directory}x`, name: `${site.name}x` }
  await rename(site.directory, to.directory)
  const moved = await backend.moved(volume, site, to)
  t.equal(await shell(moved, LOOK), there, 'it moves with its directory')
  for (const one of [moved, back]) await backend.remove(one)
  t.equal(hostState(), before, 'nothing is mounted, no loop device is held')
}

t.test('dir', rooted, t => exercise(t, findBackend('dir'), base))
t.test('overlay', rooted, t => exercise(t, findBackend('overlay'), base))
t.test('loop', rooted, t => exercise(t, findBackend('loop'), base))

t.test('btrfs', { skip: existsSync('/usr/bin/btrfs') ? rooted.skip : 'needs btrfs-progs' }, async t => {
  const image = join(base, 'btrfs.img')
  const at = join(base, 'btrfs')
  await mkdir(at)
  execFileSync('sh', ['-euc', 'truncate -s 256M "$1"; mkfs.btrfs -q "$1"; mount -o loop "$1" "$2"', 'sh', image, at])
  t.teardown(() => execFileSync('umount', [at]))
  const backend = findBackend('btrfs')
  t.equal((await chooseBackend('best', at)).name, 'btrfs')
  t.equal((await chooseBackend('best', base)).name, 'dir')
  await exercise(t, backend, at)
  const volume = await backend.create(await newSite(at), { size: 8 * 1024 ** 2 })
  const fill = 'cd "$1"; head -c 20M /dev/urandom >x; sync x'
  await t.rejects(shell(volume, fill), { code: 'ERR_TOOL_FAILED', message: /[Qq]uota/ }, 'a limit holds')
  await backend.limit?.(volume, 64 * 1024 ** 2)
  await shell(volume, fill)
  await shell(volume, 'btrfs subvolume create -q "$1/inner" || btrfs subvolume create "$1/inner"')
  await backend.remove(volume)
})

t.test('ids are shifted by a copy, and back', rooted, async t => {
  const shift = [{ type: 'both', container: 0, host: 500000, range: 65536 }] as const
  const paths = await Promise.all(
    ['a', 'b', 'c'].map(async name => {
      const path = join(base, `shift-${name}`)
      await mkdir(path)
      return path
    }),
  )
  const [plain, shifted, back] = paths as [string, string, string]
  execFileSync('sh', ['-euc', `${MAKE}\nchown 5:6 d/f`, 'sh', plain])
  await copyShifted(plain, shifted, { to: shift })
  t.match(await stat(join(shifted, 'd/f')), { uid: 500005, gid: 500006 })
  t.match(execFileSync('getfacl', ['-n', join(shifted, 'd/f')], { encoding: 'utf8' }), /user:501234:r/)
  t.match(execFileSync('getcap', ['-n', join(shifted, 'cap')], { encoding: 'utf8' }), /rootid=500000/)
  t.notOk(existsSync(join(shifted, 'n')), 'devices are left out')
  await copyShifted(shifted, back, { from: shift })
  const look = (at: string): string =>
    execFileSync('sh', ['-euc', LOOK.replace(' n ', ' '), 'sh', at], { encoding: 'utf8' })
  t.equal(look(back), look(plain))
  const stranger = join(base, 'shift-d')
  await mkdir(stranger)
  execFileSync('chown', ['70000', join(plain, 'd')])
  await t.rejects(
    copyShifted(plain, stranger, { to: shift }),
    { code: 'ERR_TOOL_FAILED' },
    'an id that the map does not hold',
  )
})

t.test('lvm and zfs by their command lines', async t => {
  const lines: string[] = []
  const answers: Record<string, string> = { origin: 'tank/web@copy\n', mountpoint: '/lxc/web/rootfs\n' }
  const run = async (program: string, args: readonly string[]): Promise<{ stdout: string }> => {
    lines.push([program, ...args].join(' '))
    return { stdout: answers[args[4] ?? ''] ?? '' }
  }
  const said = (): string[] => lines.splice(0)
  const site = { directory: '/lxc/web', name: 'web' }
  const copy = { directory: '/lxc/copy', name: 'copy' }

  const zfs = zfsWith(run, () => 'tank')
  const dataset = await zfs.create(site, { size: 1000 })
  t.same(said(), ['zfs create -o mountpoint=/lxc/web/rootfs -o quota=1000 tank/web'])
  t.same(await zfs.fork?.(dataset, copy, {}), { type: 'zfs', path: 'tank/copy' })
  t.same(said(), [
    'zfs snapshot tank/web@copy',
    'zfs clone -o mountpoint=/lxc/copy/rootfs -o canmount=noauto tank/web@copy tank/copy',
    'zfs mount tank/copy',
  ])
  await zfs.remove({ type: 'zfs', path: 'tank/copy' })
  t.same(said(), ['zfs get -H -o value origin tank/copy', 'zfs destroy -r tank/copy', 'zfs destroy tank/web@copy'])
  await zfs.moved(dataset, site, copy)
  t.same(said().slice(1), ['zfs rename tank/web tank/copy', 'zfs set mountpoint=/lxc/copy/rootfs tank/copy'])
  const other = await zfs.create(site, { pool: { parent: 'fast/lxc' } })
  t.same(other, { type: 'zfs', path: 'fast/lxc/web' }, 'below the dataset that is named')
  t.same(await zfs.fork?.(other, copy, {}), { type: 'zfs', path: 'fast/lxc/copy' }, 'and so are its copies')
  said()

  const format = async (device: string, type: string): Promise<void> => void lines.push(`mkfs ${type} ${device}`)
  const thin = lvmWith(run, format, () => ({ group: 'vg', pool: 'pool' }))
  const volume = await thin.create(site, { size: 4096 })
  t.same(said(), [
    'lvcreate --yes --wipesignatures y --name web --thin --virtualsize 4096b vg/pool',
    'mkfs ext4 /dev/vg/web',
  ])
  await thin.fork?.(volume, copy, {})
  t.same(said(), ['lvcreate --yes --snapshot --setactivationskip n --name copy /dev/vg/web'])
  const named = { group: 'data', thinPool: '', volume: 'disk' }
  const disk = await thin.create(site, { size: 4096, pool: named })
  t.same(
    said()[0],
    'lvcreate --yes --wipesignatures y --name disk --size 4096b data',
    'group, pool and name that are given',
  )
  t.equal(
    await thin.moved(disk, { directory: '/lxc/.aside', name: 'web' }, site),
    disk,
    'it keeps its name when it is put in place',
  )
  t.same(said(), [])
  await thin.moved(disk, site, copy)
  t.same(said(), ['lvrename /dev/data/disk /dev/data/copy'], 'and gets that of its container when that is renamed')
  t.same(await thin.fork?.(disk, copy, {}), { type: 'lvm', path: '/dev/data/copy', fstype: 'ext4' })
  said()
  const thick = lvmWith(run, format, () => ({ group: 'vg', pool: '' }))
  await thick.create(site, {})
  t.equal(said()[0], 'lvcreate --yes --wipesignatures y --name web --size 1073741824b vg')
  await thick.moved(volume, site, copy)
  await thick.remove(volume)
  await thick.limit?.(volume, 8192)
  t.same(said(), [
    'lvrename /dev/vg/web /dev/vg/copy',
    'lvremove --yes /dev/vg/web',
    'lvextend --resizefs --size 8192b /dev/vg/web',
  ])
})

t.test('mistakes', async t => {
  t.throws(() => findBackend('btrf'), { code: 'ERR_INVALID_OPTION', hint: 'did you mean "btrfs"?' })
  await t.rejects(chooseBackend('zfs', base), { code: 'ERR_FEATURE_MISSING' })
  await t.rejects(findBackend('loop').create(await newSite(), { fstype: 'ntfs' as never }), {
    code: 'ERR_INVALID_OPTION',
  })
  const colon = { directory: join(base, 'a:b'), name: 'x' }
  await mkdir(colon.directory)
  await t.rejects(findBackend('overlay').create(colon, {}), { code: 'ERR_INVALID_OPTION', message: /colon/ })
})
