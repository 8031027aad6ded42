/** Hostile archives, by their ids in the escape corpus (M1–M13), and honest ones, which must come out whole. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { confine } from '../../lib/confine/confine.ts'
import { LIMITS, type Limits, TarScanner } from '../../lib/image/tar.ts'
import { readEntries, type Unpacked, type UnpackOptions, unpack } from '../../lib/image/unpack.ts'
import { until } from '../support/until.ts'
import { archive, header, type Member, paxRecords } from './archive.ts'

const rooted = { skip: process.geteuid?.() === 0 ? false : 'needs root: owners' }
/** Some calls are made by their numbers. */
const onX64 = process.arch === 'x64' ? rooted : { skip: 'needs x86-64' }
const base = await mkdtemp(join(tmpdir(), 'caisson-unpack-'))
t.teardown(() => rm(base, { recursive: true }))
let serial = 0

/** What comes out of the scanner, as one buffer. */
function scan(bytes: Buffer, limits: Partial<Limits> = {}, step = bytes.length): Buffer {
  const scanner = new TarScanner(() => 'keep', { ...LIMITS, ...limits })
  const out: Buffer[] = []
  for (let at = 0; at < bytes.length; at += step) out.push(...scanner.write(bytes.subarray(at, at + step)))
  scanner.end()
  return Buffer.concat(out)
}

async function extract(bytes: Buffer, options: UnpackOptions = {}): Promise<{ at: string; result: Unpacked }> {
  const path = join(base, `archive-${++serial}`)
  const at = join(base, `tree-${serial}`)
  await writeFile(path, bytes)
  await mkdir(at)
  await using file = await open(path, 'r')
  return { at, result: await unpack(file, at, options) }
}

const refused = (test: Test, name: string, members: readonly Member[], message: RegExp): void => {
  test.throws(() => scan(archive(members)), { code: 'ERR_IMAGE', message }, name)
}

t.test('M1: names that lead outside are refused in every form', async t => {
  const names = ['../x', '/x', 'a/../../x', 'a/..', '..', './../x', '//x', 'a//../x']
  for (const name of names) {
    refused(t, `ustar ${name}`, [{ name, data: 'x' }], /absolute|upward/)
    refused(t, `v7 ${name}`, [{ name, data: 'x', magic: '' }], /absolute|upward/)
    refused(t, `pax ${name}`, [{ name: 'x', pax: { path: name }, data: 'x' }], /absolute|upward/)
    refused(t, `gnu ${name}`, [{ name: '@', type: 'L', data: `${name}\0` }, { name: 'x' }], /absolute|upward/)
    const sparse = { path: 'x', 'GNU.sparse.name': name, 'GNU.sparse.major': '1' }
    refused(t, `sparse ${name}`, [{ name: 'x', pax: sparse }], /absolute|upward/)
  }
  refused(t, 'empty name', [{ name: '', data: 'x' }], /empty/)
  refused(t, 'the root as a file', [{ name: './', data: 'x' }], /root/)
  t.ok(scan(archive([{ name: 'a/..b', data: 'x' }])), 'control: one below it is let through')
})

t.test('M2: no entry passes through a link of the same archive', async t => {
  const link = { name: 'etc', type: '2', linkname: '/tmp' }
  refused(t, 'file', [link, { name: 'etc/x', data: 'x' }], /through the link "etc"/)
  refused(t, 'deep', [link, { name: './etc/a/b', type: '5' }], /through the link "etc"/)
  refused(t, 'whiteout', [link, { name: 'etc/.wh.victim' }], /through the link "etc"/)
  refused(t, 'hard link target', [link, { name: 'x', type: '1', linkname: 'etc/passwd' }], /through the link "etc"/)
  const replaced = archive([link, { name: 'etc', type: '5' }, { name: 'etc/x', data: 'x' }])
  t.same(scan(replaced), replaced, 'control: a link that was replaced by a directory is none')
})

t.test('M3: targets of hard links are paths below the root', async t => {
  refused(t, 'absolute', [{ name: 'x', type: '1', linkname: '/etc/passwd' }], /absolute/)
  refused(t, 'upward', [{ name: 'x', type: '1', linkname: '../../etc/passwd' }], /upward/)
  refused(t, 'by pax', [{ name: 'x', type: '1', pax: { linkpath: '../x' }, linkname: 'y' }], /upward/)
  const below = [
    { name: 'y', data: 'x' },
    { name: 'x', type: '1', linkname: 'y' },
  ]
  t.ok(scan(archive(below)), 'control: one below it is let through')
})

t.test('M5: xattrs that steer overlayfs are refused', async t => {
  for (const space of ['trusted', 'user']) {
    const pax = { [`SCHILY.xattr.${space}.overlay.redirect`]: '/etc' }
    refused(t, space, [{ name: 'x', type: '5', pax }], /overlay/)
  }
  const other = { 'SCHILY.xattr.user.other': '/etc' }
  t.ok(scan(archive([{ name: 'x', type: '5', pax: other }])), 'control: another is let through')
})

t.test('M6: what costs too much is refused before it is paid for', async t => {
  const many = archive(Array.from({ length: 20 }, (_, i) => ({ name: `f${i}` })))
  t.throws(() => scan(many, { entries: 10 }), { code: 'ERR_IMAGE', message: /10 entries/ })
  t.ok(scan(many, { entries: 20 }), 'control: as many as may be')
  t.throws(() => scan(archive([{ name: 'x', data: Buffer.alloc(4096) }]), { bytes: 4000 }), { message: /4000 bytes/ })
  t.throws(() => scan(archive([{ name: `${'a/'.repeat(40)}b` }]), { depth: 30 }), { message: /40|41/ })
  const long = archive([{ name: 'x', pax: { path: 'a'.repeat(5000) } }])
  t.throws(() => scan(long), { message: /5000 characters/ })
  const hole = { 'GNU.sparse.major': '1', 'GNU.sparse.name': 'x', 'GNU.sparse.realsize': String(2 ** 60) }
  t.throws(() => scan(archive([{ name: 'x', pax: hole }])), { message: /bytes/ }, 'a hole counts')
  const negative = Buffer.alloc(12, 0xff)
  refused(t, 'negative size', [{ name: 'x', size: negative }], /negative/)
  const huge = Buffer.from('80ffffffffffffffffffffff', 'hex')
  refused(t, 'base-256 size out of range', [{ name: 'x', size: huge }], /range/)
  const endless = Array.from({ length: 9 }, () => ({ name: 'p', type: 'x', data: paxRecords({ comment: 'x' }) }))
  refused(t, 'headers without end', endless, /without end|two headers/)
  refused(t, 'a header of 2 MiB', [{ name: 'p', type: 'x', size: 2 ** 21 }], /header of 2097152/)
})

t.test('what two readers could read differently is refused', async t => {
  refused(t, 'a directory with data', [{ name: 'x', type: '5', data: 'x' }], /with data/)
  refused(t, 'a link with data', [{ name: 'x', type: '2', linkname: 'y', data: 'x' }], /with data/)
  refused(t, 'a global path', [{ name: 'g', type: 'g', data: paxRecords({ path: 'x' }) }], /global/)
  refused(t, 'an incremental directory', [{ name: 'x', type: 'D', data: 'Ry\0' }], /type "D"/)
  refused(
    t,
    'a name twice',
    [{ name: 'x', pax: { path: 'a' } }].flatMap(m => [{ name: '@', type: 'L', data: 'b\0' }, m]),
    /two headers/,
  )
  const twice = paxRecords({ path: 'a' }) + paxRecords({ path: 'b' })
  refused(t, 'a key twice', [{ name: 'p', type: 'x', data: twice }, { name: 'x' }], /two "path"/)
  refused(t, 'no record', [{ name: 'p', type: 'x', data: '99 path=x\n' }, { name: 'x' }], /list of records/)
  const wrong = archive([{ name: 'x', data: 'x' }])
  wrong[0] = 0x79
  t.throws(() => scan(wrong), { message: /checksum/ })
  t.throws(() => scan(archive([{ name: 'x', data: 'x' }], false)), { message: /cut off/ })
  const trailer = Buffer.concat([archive([{ name: 'x' }]), archive([{ name: '/etc/passwd', data: 'x' }])])
  t.same(scan(trailer), archive([{ name: 'x' }]), 'bytes after the end are not passed on')
})

t.test('an archive without an end mark is whole only where that is known in another way', async t => {
  const members = [
    { name: '/', type: '5' },
    { name: 'x', data: 'hello' },
  ]
  const bytes = archive(members, false)
  const end = (data: Buffer, unmarked: boolean): Buffer => {
    const scanner = new TarScanner(() => 'keep')
    return Buffer.concat([...scanner.write(data), ...scanner.end(unmarked)])
  }
  const cut = { code: 'ERR_IMAGE', message: /cut off/ }
  t.throws(() => end(bytes, false), cut)
  for (const padding of [0, 1, 507]) {
    const data = bytes.subarray(0, 3 * 512 - 507 + padding)
    t.same(end(data, true), archive(members), `${padding} bytes of padding`)
    t.throws(() => end(data, false), cut)
  }
  t.throws(() => end(bytes.subarray(0, 2 * 512 + 4), true), cut, 'in the data')
  t.throws(() => end(bytes.subarray(0, 2 * 512 - 1), true), cut, 'in a header')
  const headless = archive([{ name: 'x', pax: { mtime: '1' } }], false).subarray(0, 2 * 512)
  t.throws(() => end(headless, true), cut, 'after a header about nothing')
  refused(t, 'the root by another name', [{ name: '//', type: '5' }], /absolute/)
  refused(t, 'the root as a file', [{ name: '/', data: 'x' }], /absolute/)
  refused(t, 'a link to the root', [{ name: 'x', type: '1', linkname: '/' }], /absolute/)
})

t.test('any honest archive passes unchanged, whatever the chunks', async () => {
  const name = fc.stringMatching(/^[a-z]{1,8}(\/[a-z]{1,8}){0,3}$/)
  const member = fc.record({ name, data: fc.string({ maxLength: 1500 }), mode: fc.constantFrom(0o644, 0o755) })
  fc.assert(
    fc.property(fc.array(member, { maxLength: 8 }), fc.integer({ min: 1, max: 2000 }), (members, step) => {
      const bytes = archive(members)
      return scan(bytes, {}, step).equals(bytes)
    }),
  )
})

t.test('no bytes make it fail in another way', async () => {
  const mutate = fc.array(fc.tuple(fc.nat(3000), fc.nat(255)), { minLength: 1, maxLength: 6 })
  const honest = archive([
    { name: 'dir', type: '5' },
    { name: 'dir/x', data: 'hello', pax: { mtime: '1.5' } },
    { name: 'dir/y', type: '1', linkname: 'dir/x' },
  ])
  fc.assert(
    fc.property(mutate, changes => {
      const bytes = Buffer.from(honest)
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      try {
        scan(bytes)
      } catch (error) {
        return (error as { code?: string }).code === 'ERR_IMAGE'
      }
      return true
    }),
    { numRuns: 2000 },
  )
})

t.test('what comes out is what went in', rooted, async t => {
  const source = join(base, 'source')
  await mkdir(source)
  const make = `mkdir d; echo hi > d/f; chown 7:8 d/f; ln d/f hard; ln -s /etc/passwd soft; mkfifo p; chmod 4755 d/f
    truncate -s 3M sparse; echo x >> sparse; setfattr -n user.note -v 1 d; setfacl -m u:1000:r d/f
    cp /bin/true cap; setcap cap_net_raw+ep cap; mknod null c 1 3; chmod 1777 d`
  execFileSync('sh', ['-euc', make], { cwd: source })
  for (const compress of ['', '-z', '-J', '--zstd', '-j']) {
    const path = join(base, `honest${compress}`)
    const args = ['--sparse', '--xattrs', '--acls', '--format=posix', ...(compress === '' ? [] : [compress])]
    execFileSync('tar', [...args, '-C', source, '-cf', path, '.'])
    const { at, result } = await extract(await readFile(path))
    t.equal(result.devices, 1, `${compress}: the device is left out`)
    t.notOk(existsSync(join(at, 'null')))
    const look =
      'stat -c "%n %a %u:%g %h %s" d d/f hard soft sparse; getfattr --only-values -n user.note d; getfacl -n d/f; getcap cap'
    const seen = (cwd: string): string => execFileSync('sh', ['-c', look], { cwd, encoding: 'utf8' })
    t.equal(seen(at), seen(source), compress)
    t.ok((await stat(join(at, 'sparse'))).blocks < 100, 'holes stay holes')
  }
})

t.test('M4, M5: ids, capabilities and ACLs are shifted, and nothing is made as the real root', rooted, async t => {
  const shift = [{ type: 'both', container: 0, host: 400000, range: 65536 }] as const
  const source = join(base, 'shifted')
  await mkdir(source)
  execFileSync(
    'sh',
    ['-euc', 'cp /bin/true cap; setcap cap_net_raw+ep cap; echo > f; chown 5:6 f; setfacl -m u:7:r f'],
    {
      cwd: source,
    },
  )
  execFileSync('tar', ['--xattrs', '--acls', '-C', source, '-czf', `${source}.tar.gz`, '.'])
  const { at } = await extract(await readFile(`${source}.tar.gz`), { shift })
  const own = execFileSync('stat', ['-c', '%u:%g', '.', 'f'], { cwd: at, encoding: 'utf8' })
  t.equal(own, '400000:400000\n400005:400006\n')
  t.match(execFileSync('getcap', ['-n', 'cap'], { cwd: at, encoding: 'utf8' }), /cap_net_raw.*rootid=400000/)
  t.match(execFileSync('getfacl', ['-n', 'f'], { cwd: at, encoding: 'utf8' }), /^user:400007:r--$/m)
})

/** File systems that fold case, with what makes one at $1 and mounts it at $2; which there are depends on the kernel. */
const FOLDING = [
  'mkfs.xfs -q -n version=ci "$1"; mount -o loop "$1" "$2"; mkdir "$2/tree"',
  'mkfs.ext4 -q -O casefold "$1"; mount -o loop "$1" "$2"; mkdir "$2/tree"; chattr +F "$2/tree"',
  'mount -t tmpfs -o casefold none "$2"; mkdir "$2/tree"; chattr +F "$2/tree"',
  'mkfs.vfat "$1"; mount -o loop "$1" "$2"; mkdir "$2/tree"',
]

/** Mounts one of them; undefined where the kernel has none. */
function mountFolding(t: Test): string | undefined {
  const [image, at] = [join(base, 'folding.img'), join(base, 'folding')]
  const begin = 'rm -f "$1"; truncate -s 400M "$1"; mkdir -p "$2"; '
  const made = FOLDING.some(script => spawnSync('sh', ['-euc', begin + script, 'sh', image, at]).status === 0)
  t.teardown(() => spawnSync('umount', [at]))
  return made ? join(at, 'tree') : undefined
}

t.test('M7: nothing is unpacked where two names are one', rooted, async t => {
  const folding = mountFolding(t)
  const path = join(base, 'folding.tar')
  const collision: Member[] = [
    { name: 'Etc', type: '2', linkname: base },
    { name: 'etc/canary', data: Buffer.from('over') },
  ]
  await writeFile(path, archive(collision))
  const file = await open(path, 'r')
  t.teardown(() => file.close())
  const plain = join(base, 'not-folding')
  await mkdir(plain)
  t.equal((await unpack(file, plain)).entries, 2, 'where they are two, they are two')
  t.notOk(existsSync(join(base, 'canary')))
  await t.test(
    'a file system that folds',
    { skip: folding ? false : 'needs xfs, ext4, tmpfs or vfat that folds case' },
    async t => {
      await t.rejects(unpack(file, folding as string), { code: 'ERR_IMAGE', message: /two names/ })
      t.same(await readdir(folding as string), [])
      t.notOk(existsSync(join(base, 'canary')))
    },
  )
})

t.test('M10: it is the verified file that is read, not the path', rooted, async t => {
  const path = join(base, 'swapped')
  await writeFile(path, archive([{ name: 'good', data: 'x' }]))
  await using file = await open(path, 'r')
  await writeFile(`${path}.new`, archive([{ name: 'evil', data: 'x' }]))
  execFileSync('mv', [`${path}.new`, path])
  const at = join(base, 'swapped-tree')
  await mkdir(at)
  await unpack(file, at)
  t.same(await readdir(at), ['good'])
})

t.test('M13: a broken unpacker finds nothing to break', rooted, async t => {
  const canary = join(base, 'canary')
  await writeFile(canary, 'alive')
  const at = join(base, 'jail')
  await mkdir(at)
  const attack = `! cat ${canary}; ! ls ${base}; ! mknod /tree/sda b 8 0; ! touch /usr/caisson-canary; ! touch /caisson
    ! kill -9 ${process.pid}; ! mount -t proc proc /proc; ! ls /proc/1; touch /tree/mine; exit 0`
  await (await confine('sh', ['-c', attack.replaceAll('!', 'set +e; set -e; !')], { directory: at })).done
  t.equal(await readFile(canary, 'utf8'), 'alive')
  t.same(await readdir(at), ['mine'])
  t.notOk(existsSync('/usr/caisson-canary'))
  const control = execFileSync('cat', [canary], { encoding: 'utf8' })
  t.equal(control, 'alive', 'positive control: outside the same program reads it')
})

/** What a confined program tries, as words of a status line: yes where it could. */
const TRIES = `try() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name yes"; else echo "$name no"; fi; }
  cp /bin/true "$1/true"; cd "$1"
  try execute ./true
  try socket perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0) or exit 1'
  try inet perl -MSocket -e 'socket(my $s, AF_INET, SOCK_STREAM, 0) or exit 1'
  try node mknod sock p
  try bound perl -e 'my $n = "bound"; exit 1 if syscall(133, $n, 0140644, 0) != 0'
  try ptrace perl -e 'exit 1 if syscall(101, 0, 0, 0, 0) != 0'
  try unshare unshare --mount true
  try chroot chroot / true
  try rename sh -euc 'mkdir -p a b; echo x >a/f; mv a/f b/f; ln b/f g; truncate -s 0 g'
  try outside sh -c 'echo x >/dev/null; cat /usr/bin/true'`

t.test('M13: each layer around the unpacker holds by itself', onX64, async t => {
  const answers = (text: string) => Object.fromEntries(text.split('\n').map(line => line.split(' ', 2)))
  const make = async (name: string): Promise<string> => {
    const path = join(base, name)
    await mkdir(path)
    return path
  }
  // The control: the same user namespace, without the guard and the root of its own.
  const free = await make('free')
  const shell = ['sh', '-c', TRIES, 'sh', free]
  const control = answers(execFileSync('unshare', ['--user', '--map-root-user', ...shell], { encoding: 'utf8' }))
  const expected = ['execute', 'socket', 'inet', 'node', 'bound', 'ptrace', 'unshare', 'chroot', 'rename', 'outside']
  for (const name of expected) t.equal(control[name], 'yes', `positive control: ${name} works without the guard`)
  const program = await confine('sh', ['-c', TRIES, 'sh', '/tree'], {
    directory: await make('guarded'),
    stdout: 'pipe',
  })
  const guarded = answers(await text(program.stdout as Readable))
  await program.done
  const may = ['node', 'rename', 'outside']
  for (const name of expected) t.equal(guarded[name], may.includes(name) ? 'yes' : 'no', name)
  t.notOk(existsSync(join(base, 'guarded/bound')))
})

t.test('M13: Landlock and seccomp are there, each', rooted, async t => {
  const at = join(base, 'status')
  await mkdir(at)
  // There is no /proc inside: a program that waits is looked at from outside.
  const waiting = await confine('cat', [], { directory: at, stdin: 'pipe', stdout: 'ignore' })
  const pid = await processBelow(await waiting.pid, 'cat')
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  t.match(status, /^Seccomp:\t2$/m)
  t.match(status, /^NoNewPrivs:\t1$/m)
  t.match(status, /^CapEff:\t000000008000001f$/m)
  t.match(status, /^CapBnd:\t000000008000001f$/m)
  t.same((await readdir(`/proc/${pid}/fd`)).sort(), ['0', '1', '2'], 'it has no descriptor but its own')
  waiting.stdin?.end()
  await waiting.done
})

/** The process of that name below another. */
async function processBelow(pid: number, name: string): Promise<number> {
  return until(async () => {
    const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ').filter(Boolean)
    for (const child of children) {
      if ((await readFile(`/proc/${child}/comm`, 'utf8')).trim() === name) return Number(child)
    }
    return 0
  }, `there is a ${name}`)
}

t.test('damage, cuts and an abort end with an error', rooted, async t => {
  const good = gzipSync(archive([{ name: 'x', data: Buffer.alloc(100_000, 1) }]))
  await t.rejects(extract(good.subarray(0, 60)), { code: 'ERR_IMAGE' })
  await t.rejects(extract(Buffer.from('no archive at all, but long enough to look at')), { code: 'ERR_IMAGE' })
  const xz = execFileSync('xz', ['-c'], { input: archive([{ name: 'x', data: 'x'.repeat(5000) }]) })
  xz[30] = (xz[30] as number) ^ 0xff
  await t.rejects(extract(xz), { code: 'ERR_IMAGE' })
  const bomb = gzipSync(Buffer.concat([header({ name: 'x', size: 2 ** 30 }), Buffer.alloc(2 ** 27)]))
  await t.rejects(extract(bomb, { limits: { ratio: 100 } }), { code: 'ERR_IMAGE', message: /100 times/ })
  const signal = AbortSignal.abort()
  await t.rejects(extract(good, { signal }), { code: 'ERR_ABORTED' })
})

t.test('single files are read without unpacking', async t => {
  const path = join(base, 'metadata')
  await writeFile(
    path,
    gzipSync(
      archive([
        { name: './metadata.yaml', data: 'a: b\n' },
        { name: 'rootfs', type: '5' },
      ]),
    ),
  )
  await using file = await open(path, 'r')
  const found = await readEntries(file, e => (e.name === 'metadata.yaml' ? 'capture' : 'drop'))
  t.equal(found.get('metadata.yaml')?.toString(), 'a: b\n')
})

t.test('squashfs comes out whole, without its devices', rooted, async t => {
  const source = join(base, 'squash')
  await mkdir(source)
  execFileSync('sh', ['-euc', 'mkdir dev; mknod dev/null c 1 3; echo hi > f; chown 7:8 f; ln -s f l'], { cwd: source })
  execFileSync('mksquashfs', [source, `${source}.img`, '-quiet', '-no-progress'])
  const { at, result } = await extract(await readFile(`${source}.img`))
  t.equal(result.devices, 1)
  t.same((await readdir(at)).sort(), ['dev', 'f', 'l'])
  t.same(await readdir(join(at, 'dev')), [])
  t.equal((await stat(join(at, 'f'))).uid, 7)
  await t.rejects(extract(await readFile(`${source}.img`), { limits: { entries: 2 } }), { code: 'ERR_IMAGE' })
})
