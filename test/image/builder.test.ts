/** The template `mmdebstrap` on a repository of its own: packages made here, signed here, read from a directory. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createRootfs } from '../../lib/image/template.ts'
import { findTemplate } from '../../lib/image/templates.ts'

const NEEDED = { mmdebstrap: 'mmdebstrap', gpg: 'gpg', 'dpkg-deb': 'dpkg', 'dpkg-scanpackages': 'dpkg-dev' }
const missing = Object.entries(NEEDED).find(([program]) => !existsSync(`/usr/bin/${program}`))
const skip =
  process.geteuid?.() !== 0 ? 'needs root: owners' : missing === undefined ? false : `needs the package "${missing[1]}"`

const base = await mkdtemp(join(tmpdir(), 'caisson-builder-'))
// apt reads it as a user of its own.
await chmod(base, 0o755)
t.teardown(() => rm(base, { recursive: true }))
const arch = execFileSync('sh', ['-c', 'dpkg --print-architecture 2>/dev/null || echo amd64'], {
  encoding: 'utf8',
}).trim()

async function makePackage(pool: string, name: string, depends: string): Promise<void> {
  const tree = join(base, name)
  await mkdir(join(tree, 'DEBIAN'), { recursive: true })
  await mkdir(join(tree, 'usr/share', name), { recursive: true })
  await writeFile(join(tree, 'usr/share', name, 'file'), `of ${name}\n`)
  const control = [`Package: ${name}`, 'Version: 1', `Architecture: ${arch}`, 'Maintainer: Nobody <nobody@example>']
  await writeFile(
    join(tree, 'DEBIAN/control'),
    [...control, ...(depends === '' ? [] : [`Depends: ${depends}`]), 'Description: x', ''].join('\n'),
  )
  execFileSync('dpkg-deb', ['--root-owner-group', '--build', tree, join(pool, `${name}.deb`)], { stdio: 'ignore' })
}

/** A repository with the suite `test`, and the keyring of who signed it. */
async function makeRepository(): Promise<{ mirror: string; keyring: string }> {
  const [repository, home] = [join(base, 'repository'), join(base, 'gnupg')]
  const [pool, packages] = [join(repository, 'pool'), join(repository, `dists/test/main/binary-${arch}`)]
  for (const path of [pool, packages]) await mkdir(path, { recursive: true })
  await mkdir(home, { mode: 0o700 })
  await makePackage(pool, 'caisson-one', 'caisson-two')
  await makePackage(pool, 'caisson-two', '')
  const scan = ['-c', 'cd "$0"; dpkg-scanpackages pool 2>/dev/null', repository]
  const list = execFileSync('sh', scan)
  await writeFile(join(packages, 'Packages'), list)
  const sum = createHash('sha256').update(list).digest('hex')
  const release = [
    'Suite: test',
    'Codename: test',
    `Architectures: ${arch}`,
    'Components: main',
    `Date: ${new Date().toUTCString()}`,
    'SHA256:',
    ` ${sum} ${list.length} main/binary-${arch}/Packages`,
    '',
  ]
  await writeFile(join(repository, 'dists/test/Release'), release.join('\n'))
  const gpg = (...args: string[]) =>
    execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', ...args], { stdio: 'pipe' })
  gpg('--passphrase', '', '--quick-generate-key', 'caisson test', 'default', 'sign', 'never')
  const keyring = join(base, 'keyring.gpg')
  await writeFile(keyring, gpg('--export'))
  gpg('--clearsign', '--output', join(repository, 'dists/test/InRelease'), join(repository, 'dists/test/Release'))
  execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'])
  return { mirror: `copy://${repository}`, keyring }
}

t.test('a system is built of packages, as an archive that is unpacked like any other', { skip }, async t => {
  const { mirror, keyring } = await makeRepository()
  const shift = [{ type: 'both', container: 0, host: 600000, range: 65536 }] as const
  const options = {
    suite: 'test',
    mirror,
    arch,
    keyring,
    components: 'main',
    variant: 'extract',
    include: 'caisson-one',
  }
  const make = async (name: string, more: object = {}) => {
    const rootfs = join(base, 'made', name, 'rootfs')
    await mkdir(rootfs, { recursive: true })
    const phases = new Set<string>()
    const onProgress = ({ phase }: { phase: string }) => void phases.add(phase)
    const context = { name, rootfs, options: { ...options, ...more }, shift, onProgress }
    return { rootfs, phases, made: createRootfs(findTemplate('mmdebstrap'), context) }
  }
  const { rootfs, phases, made } = await make('web')
  t.match((await made).config, [['lxc.arch', /./]])
  t.strictSame([...phases], ['packages', 'unpack'])
  for (const name of ['caisson-one', 'caisson-two']) {
    const file = join(rootfs, 'usr/share', name, 'file')
    t.equal(await readFile(file, 'utf8'), `of ${name}\n`, `${name} is there`)
    t.equal((await stat(file)).uid, 600000, 'shifted')
  }
  t.strictSame(await readdir(join(base, 'made/web')), ['rootfs'], 'nothing lies beside it')
  const other = await make('other', { keyring: '/usr/share/keyrings/debian-archive-keyring.gpg' })
  await t.rejects(other.made, { code: 'ERR_TOOL_FAILED' }, 'what another key has signed is not taken')
  t.strictSame(await readdir(other.rootfs), [])
  t.strictSame(await readdir(join(base, 'made/other')), ['rootfs'])
  const absent = await make('absent', { include: 'caisson-three' })
  await t.rejects(absent.made, { code: 'ERR_TOOL_FAILED' }, 'and what is not there is an error')
})
