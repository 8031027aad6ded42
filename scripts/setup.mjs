// Makes a checkout ready to run: system packages, npm packages, the addon, the TypeScript output.
//
//   node scripts/setup.mjs            what `npm run demo` needs
//   node scripts/setup.mjs --tests    and what only the tests use
//
// It runs before `npm ci`, so it may import nothing but Node's own modules. It does only what is missing, and says so;
// on a checkout that is ready it prints nothing.
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const path = [process.env.PATH, '/usr/sbin', '/sbin'].join(delimiter).split(delimiter)

/** What must be on the machine: how it is seen, and the Debian package that brings it. */
const needed = [
  { package: 'g++', present: () => program('g++') },
  { package: 'cmake', present: () => program('cmake') },
  { package: 'ninja-build', present: () => program('ninja') ?? program('make') },
  { package: 'libseccomp-dev', present: () => existsSync('/usr/include/seccomp.h') },
  { package: 'busybox-static', present: staticBusybox },
]
const neededByTests = [
  { package: 'strace', present: () => program('strace') },
  { package: 'mmdebstrap', present: () => program('mmdebstrap') },
  { package: 'cpio', present: () => program('cpio') },
  { package: 'uidmap', present: () => program('newuidmap') },
  { package: 'e2fsprogs', present: () => program('mkfs.ext4') },
  { package: 'iproute2', present: () => program('ip') },
  { package: 'nftables', present: () => program('nft') },
  { package: 'dnsmasq-base', present: () => program('dnsmasq') },
  { package: 'passt', present: () => program('pasta') },
  { package: 'slirp4netns', present: () => program('slirp4netns') },
  { package: 'lxc', present: () => program('lxc-info') },
  { package: 'xfsprogs', present: () => program('mkfs.xfs') },
  { package: 'btrfs-progs', present: () => program('mkfs.btrfs') },
  { package: 'squashfs-tools', present: () => program('mksquashfs') },
  { package: 'attr', present: () => program('getfattr') },
  { package: 'acl', present: () => program('setfacl') },
  { package: 'libcap2-bin', present: () => program('setcap') },
  { package: 'gpg', present: () => program('gpg') },
  { package: 'gpgv', present: () => program('gpgv') },
  { package: 'uidmap', present: () => program('newuidmap') },
  { package: 'wget', present: () => program('wget') },
  { package: 'xz-utils', present: () => program('xz') },
  { package: 'zstd', present: () => program('zstd') },
  { package: 'openssl', present: () => program('openssl') },
  { package: 'skopeo', present: () => program('skopeo') },
  { package: 'umoci', present: () => program('umoci') },
]

function program(name) {
  return path.map(directory => join(directory, name)).find(executable)
}

function executable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** A busybox that runs in an empty root file system: one that names no dynamic loader. */
function staticBusybox() {
  const found = program('busybox')
  return found !== undefined && !readFileSync(found).includes('/ld-linux')
}

function say(text) {
  process.stderr.write(`setup: ${text}\n`)
}

/** Runs a program to its end, silently; when it fails, all that it said is shown and the set-up ends. */
function run(command, args, env = process.env) {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (status === 0) return
  process.stderr.write(stdout ?? '')
  process.stderr.write(stderr ?? '')
  say(`failed: ${command} ${args.join(' ')}${error ? ` (${error.message})` : ''}`)
  process.exit(1)
}

function prepareSystem(requirements) {
  const missing = requirements.filter(each => !each.present()).map(each => each.package)
  if (missing.length === 0) return
  if (process.getuid?.() !== 0 || !program('apt-get')) {
    say(`install these Debian packages first, or run this as root on Debian: ${missing.join(' ')}`)
    process.exit(1)
  }
  say(`installing ${missing.join(' ')}`)
  const apt = ['-qq', '-o', 'DPkg::Lock::Timeout=600']
  const install = [...apt, '-y', '--no-install-recommends', 'install', ...missing]
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  if (spawnSync('apt-get', install, { env, stdio: 'ignore' }).status === 0) return
  // a fresh machine has no package lists, and an old one has outdated ones
  run('apt-get', [...apt, 'update'], env)
  run('apt-get', install, env)
}

/** Whether node_modules holds what the lock file names; npm keeps its own account of what it installed. */
function modulesMatchLock() {
  const account = join(root, 'node_modules/.package-lock.json')
  if (!existsSync(account)) return false
  const installed = JSON.parse(readFileSync(account, 'utf8')).packages
  const locked = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  return Object.entries(locked).every(
    ([name, { version, optional }]) =>
      name === '' || installed[name]?.version === version || (optional && !(name in installed)),
  )
}

function prepareModules() {
  if (modulesMatchLock()) return
  say('installing npm packages')
  run('npm', ['ci', '--no-audit', '--no-fund'])
}

function prepareAddon() {
  // cmake-js answers a compile error by building everything anew; once it has configured the tree, cmake is enough
  if (existsSync(join(root, 'build/CMakeCache.txt'))) return run('cmake', ['--build', 'build'])
  say('building the addon')
  run(process.execPath, ['node_modules/cmake-js/bin/cmake-js', 'compile'])
}

function newest(entry) {
  const { mtimeMs } = statSync(entry)
  if (!statSync(entry).isDirectory()) return mtimeMs
  return Math.max(mtimeMs, ...readdirSync(entry).map(name => newest(join(entry, name))))
}

function prepareTypeScript() {
  const output = join(root, 'dist')
  const changed = Math.max(
    ...['lib', 'examples', 'scripts/tools.mjs', 'tsconfig.json', 'package-lock.json'].map(name =>
      newest(join(root, name)),
    ),
  )
  // What is made last: a build that broke off is none.
  const last = join(output, 'bin')
  if (existsSync(last) && statSync(last).mtimeMs > changed) return
  say('compiling TypeScript')
  rmSync(output, { recursive: true, force: true })
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmitOnError'])
  run('npm', ['run', '--silent', 'build:tools'])
}

prepareSystem(process.argv.includes('--tests') ? [...needed, ...neededByTests] : needed)
prepareModules()
prepareAddon()
prepareTypeScript()
