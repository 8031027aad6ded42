/**
 * `npm run bench:images`: what it costs to make containers from images, to clone, to snapshot and to restore them, on each backend, in turn with
 * LXC's own programs. Writes bench/IMAGES.md. Needs root, and rsync for LXC's copies. The image is documentation and Perl of the host,
 * thousands of small files, about 170 MB. Everything lies below TMPDIR; `--rounds N` (default 7).
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { unpack } from '../lib/image/unpack.ts'
import { Container, Images } from '../lib/index.ts'
import type { BackendName } from '../lib/storage/storage.ts'
import { atMost, goalTable, ratioGoal } from './goals.ts'
import { type Contender, inTurn, median, type Series } from './measure.ts'
import { machine, table } from './report.ts'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '7' } } })
const rounds = Number(values.rounds)
const SOURCES = ['usr/share/doc', 'usr/share/perl', 'usr/lib/x86_64-linux-gnu/perl']
const execute = promisify(execFile)
const run = (program: string, ...args: string[]) => execute(program, args, { maxBuffer: 2 ** 28 })
const hasLxc = existsSync('/usr/bin/lxc-copy') && existsSync('/usr/bin/rsync')

interface Place {
  readonly base: string
  readonly images: Images
  /** The two halves, as lxc-create takes them: meta.tar.xz and rootfs.tar.xz. */
  readonly halves: { readonly metadata: string; readonly rootfs: string }
  /** In the store, by its fingerprint. */
  readonly image: string
  /** A tree with a program that can be its init. */
  readonly tree: string
  /** Where a btrfs is mounted; undefined without mkfs.btrfs. */
  readonly btrfs: string | undefined
}

async function prepare(base: string): Promise<Place> {
  await Container.create('source', { path: base })
  const tree = join(base, 'source/rootfs')
  const sources = SOURCES.filter(path => existsSync(`/${path}`))
  await run('sh', '-c', 'tar -C / -cf - "$@" | tar -C "$0" -xpf -', tree, ...sources)
  const metadata = join(base, 'metadata')
  mkdirSync(metadata)
  writeFileSync(join(metadata, 'config'), 'lxc.arch = x86_64\n')
  const halves = { metadata: join(base, 'meta.tar.xz'), rootfs: join(base, 'rootfs.tar.xz') }
  await run('tar', '-C', metadata, '-cJf', halves.metadata, '.')
  await run('sh', '-c', 'tar -C "$0" --numeric-owner -cf - . | xz -T0 -1 >"$1"', tree, halves.rootfs)
  await run('sh', '-c', 'tar -C "$0" --numeric-owner -cf - . | zstd -q >"$1"', tree, join(base, 'tree.tar.zst'))
  const images = await Images.open(join(base, 'images'))
  const { fingerprint } = await images.import(halves)
  return { base, images, halves, image: fingerprint, tree, btrfs: await mountBtrfs(base) }
}

async function mountBtrfs(base: string): Promise<string | undefined> {
  const at = join(base, 'btrfs')
  const script = 'truncate -s 8G "$1.img"; mkfs.btrfs -q "$1.img"; mkdir "$1"; mount -o loop "$1.img" "$1"'
  return run('sh', '-euc', script, 'sh', at).then(
    () => at,
    () => undefined,
  )
}

// ── unpacking ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function unpacking({ base }: Place, archive: FileHandle): Contender[] {
  const to = join(base, 'unpacked')
  const path = join(base, 'tree.tar.zst')
  const options = ['--numeric-owner', '--xattrs', '--xattrs-include=*', '--zstd', '-xpf', path]
  const after = async () => rmSync(to, { recursive: true })
  const into = (act: () => Promise<unknown>) => async () => {
    mkdirSync(to)
    await act()
  }
  return [
    { name: 'tar alone', run: into(() => run('tar', '-C', to, ...options)), after },
    { name: 'caisson, scanned and confined', run: into(() => unpack(archive, to)), after },
  ]
}

// ── creating ──────────────────────────────────────────────────────────────────────────────────────────────────────────

async function gone(path: string, name = 'made'): Promise<void> {
  await (await Container.open(name, { path })).destroy({ snapshots: true })
}

function creating({ base, images, image, halves, btrfs }: Place): Contender[] {
  const ours = (name: string, backend: BackendName, path = base): Contender => ({
    name: `caisson ${name}`,
    run: () => images.launch(image, 'made', { path, backend }),
    after: () => gone(path),
  })
  const cached: Contender = {
    ...ours('overlay, cached', 'overlay'),
    after: async () => {
      await gone(base)
      rmSync(join(images.path, 'trees'), { recursive: true })
      mkdirSync(join(images.path, 'trees'))
    },
  }
  const local = ['-t', 'local', '--', '--metadata', halves.metadata, '--fstree', halves.rootfs]
  const theirs: Contender = {
    name: 'lxc-create -t local',
    run: () => run('lxc-create', '-P', join(base, 'theirs'), '-n', 'made', '-f', '/dev/null', ...local),
    after: () => run('lxc-destroy', '-P', join(base, 'theirs'), '-n', 'made'),
  }
  return [
    ...(hasLxc ? [theirs] : []),
    ours('dir', 'dir'),
    ...(btrfs === undefined ? [] : [ours('btrfs', 'btrfs', btrfs)]),
    // It leaves the tree to the next.
    ours('overlay, first time', 'overlay'),
    cached,
  ]
}

// ── copies of containers ──────────────────────────────────────────────────────────────────────────────────────────────

/** A container of the image on a backend, which copies are made of. */
async function original({ images, image }: Place, path: string, backend: BackendName): Promise<Container> {
  const size = backend === 'loop' ? { size: 2 ** 29 } : {}
  return images.launch(image, `of-${backend}`, { path, backend, ...size })
}

async function originals(place: Place): Promise<[BackendName, Container][]> {
  const { base, btrfs } = place
  const wanted: [BackendName, string | undefined][] = [
    ['dir', base],
    ['overlay', base],
    ['btrfs', btrfs],
    ['loop', base],
  ]
  const made: [BackendName, Container][] = []
  for (const [backend, path] of wanted) {
    if (path !== undefined) made.push([backend, await original(place, path, backend)])
  }
  return made
}

function cloning({ base }: Place, from: readonly [BackendName, Container][]): Contender[] {
  const ours = from.flatMap(([backend, container]) => {
    const kinds = backend === 'loop' ? [false] : [false, true]
    return kinds.map(snapshot => ({
      name: `caisson ${backend}, ${snapshot ? 'snapshot' : 'copy'}`,
      run: () => container.clone('made', { snapshot }),
      after: () => gone(container.path),
    }))
  })
  if (!hasLxc) return ours
  const path = join(base, 'theirs')
  const copy = (name: string, ...args: string[]): Contender => ({
    name,
    run: () => run('lxc-copy', '-P', path, '-n', 'source', '-N', 'made', ...args),
    after: () => run('lxc-destroy', '-P', path, '-n', 'made'),
  })
  return [copy('lxc-copy'), copy('lxc-copy -s -B overlay', '-s', '-B', 'overlay'), ...ours]
}

function snapshots({ base }: Place, from: readonly [BackendName, Container][]): Contender[] {
  const ours = from.map(([backend, container]) => ({
    name: `caisson ${backend}`,
    run: () => container.snapshots.create(),
    after: () => container.snapshots.destroyAll(),
  }))
  if (!hasLxc) return ours
  const [path, snapshot] = [join(base, 'theirs'), ['-P', join(base, 'theirs'), '-n', 'source']]
  const theirs = {
    name: 'lxc-snapshot',
    run: () => run('lxc-snapshot', ...snapshot),
    after: async () => {
      await run('lxc-snapshot', ...snapshot, '-d', 'ALL')
      rmSync(join(path, 'source/snaps'), { recursive: true, force: true })
    },
  }
  return [theirs, ...ours]
}

async function restores({ base }: Place, from: readonly [BackendName, Container][]): Promise<Contender[]> {
  const ours: Contender[] = []
  for (const [backend, container] of from) {
    const name = await container.snapshots.create()
    ours.push({ name: `caisson ${backend}`, run: () => container.snapshots.restore(name) })
  }
  if (!hasLxc) return ours
  const snapshot = ['-P', join(base, 'theirs'), '-n', 'source']
  await run('lxc-snapshot', ...snapshot)
  return [{ name: 'lxc-snapshot -r', run: () => run('lxc-snapshot', ...snapshot, '-r', 'snap0') }, ...ours]
}

async function makeTheirs({ base, tree }: Place): Promise<void> {
  const source = join(base, 'theirs/source')
  mkdirSync(join(source, 'rootfs'), { recursive: true })
  await run('cp', '-a', `${tree}/.`, join(source, 'rootfs'))
  writeFileSync(join(source, 'config'), `lxc.rootfs.path = dir:${source}/rootfs\nlxc.uts.name = source\n`)
}

// ── the report ────────────────────────────────────────────────────────────────────────────────────────────────────────

function goals(unpacked: readonly Series[], created: readonly Series[], cloned: readonly Series[]): string {
  const of = (all: readonly Series[], name: string) => median(all.find(one => one.name === name)?.times ?? [])
  const cheap = cloned.filter(
    ({ name, times }) => /^caisson .*(snapshot|overlay, copy)$/.test(name) && times.length > 0,
  )
  return goalTable([
    ...ratioGoal('unpacking', unpacked, 'caisson, scanned and confined', 'tar alone', 1.2),
    atMost('creating on overlay, cached', of(created, 'caisson overlay, cached'), 100, 'ms'),
    ...cheap.map(({ name, times }) => atMost(`cloning: ${name}`, median(times), 50, 'ms')),
  ])
}

async function main(base: string): Promise<void> {
  const before = machine()
  const place = await prepare(base)
  if (hasLxc) await makeTheirs(place)
  const archive = await open(join(base, 'tree.tar.zst'), 'r')
  const unpacked = await inTurn(unpacking(place, archive), rounds)
  await archive.close()
  const created = await inTurn(creating(place), rounds)
  const from = await originals(place)
  const cloned = await inTurn(cloning(place, from), rounds)
  const taken = await inTurn(snapshots(place, from), rounds)
  const restored = await inTurn(await restores(place, from), rounds)
  const { stdout } = await run('sh', '-c', 'du -sm "$0" | cut -f1; find "$0" | wc -l; stat -f -c %T "$0"', place.tree)
  const [size, count, system] = stdout.trim().split('\n')
  const text = [
    '# Images, clones, snapshots',
    '',
    `\`npm run bench:images\` wrote this: ${rounds} rounds, each of one of every row of a table in turn, and what they made taken away`,
    `in between, which is not counted. The image has ${count} files, ${size} MB, on ${system}, with a warm page cache; btrfs is on a loop device.`,
    ...(hasLxc ? [] : ["LXC's programs, or rsync, are not installed: no comparison."]),
    '',
    before,
    '',
    goals(unpacked, created, cloned),
    '',
    table('Unpacking (zstd)', unpacked),
    '',
    table('Creating a container from an image (xz)', created),
    '',
    table('Cloning', cloned),
    '',
    table('Taking a snapshot', taken),
    '',
    table('Restoring one', restored),
    '',
  ].join('\n')
  writeFileSync(new URL('IMAGES.md', import.meta.url), text)
  process.stdout.write(text)
}

const base = mkdtempSync(join(tmpdir(), 'caisson-bench-'))
try {
  await main(base)
} finally {
  if (existsSync(join(base, 'btrfs'))) await run('umount', join(base, 'btrfs')).catch(() => undefined)
  rmSync(base, { recursive: true, force: true })
}
