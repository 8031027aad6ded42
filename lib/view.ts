/**
 * What a sandbox sees of the host: its programs, their libraries, and of /etc only what programs need to run. Not /root, /home, /run,
 * /srv, /var, /sys, nor any other directory of the top, where secrets and sockets are; nothing of it writable (CVE-2013-6441).
 */
import { lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { ContainerError, rehint } from './errors.ts'
import { bindOf, type View } from './spec/sandbox.ts'

/** Links on hosts with a merged /usr; /nix and /gnu hold the programs of NixOS and Guix. */
const PROGRAMS = ['usr', 'bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32', 'opt', 'nix', 'gnu']

const ETC = [
  'alternatives',
  'bash.bashrc',
  'ca-certificates',
  'fonts',
  'gitconfig',
  'inputrc',
  'java-11-openjdk',
  'java-17-openjdk',
  'java-21-openjdk',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'localtime',
  'magic',
  'mime.types',
  'os-release',
  'perl',
  'pki',
  'profile',
  'protocols',
  'python3',
  'services',
  'shells',
  'ssl/certs',
  'ssl/openssl.cnf',
  'terminfo',
  'timezone',
]

/** Our own words about users and names: the host's are nobody's business inside. */
function filesOf(uid: number, gid: number): Record<string, string> {
  const own = uid === 0 || uid === 65534 ? '' : `user:x:${uid}:${gid}:user:/tmp:/bin/sh\n`
  const group = gid === 0 || gid === 65534 ? '' : `user:x:${gid}:\n`
  return {
    'etc/passwd': `root:x:0:0:root:/tmp:/bin/sh\n${own}nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n`,
    'etc/group': `root:x:0:\n${group}nogroup:x:65534:\n`,
    'etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
    'etc/hosts': '127.0.0.1 localhost\n::1 localhost\n',
    'etc/resolv.conf': '',
  }
}

/** The view of this host, for programs that run as `uid` and `gid`. */
export function readView(uid: number, gid: number): View {
  const programs = PROGRAMS.map(name => [name, kindOf(`/${name}`)] as const)
  const etc = ETC.map(name => [`etc/${name}`, kindOf(`/etc/${name}`)] as const)
  const all = [...programs, ...etc]
  return {
    links: [
      ...all.flatMap(([name, kind]) => (kind === 'link' ? [{ key: name, value: readlinkSync(`/${name}`) }] : [])),
      { key: 'etc/mtab', value: '/proc/self/mounts' },
      { key: 'var/tmp', value: '/tmp' },
    ],
    files: Object.entries(filesOf(uid, gid)).map(([key, value]) => ({ key, value })),
    mounts: all.flatMap(([name, kind]) => (kind === 'dir' || kind === 'file' ? [bindOf(`/${name}`, name, kind)] : [])),
  }
}

/**
 * A program that the sandbox does not have is often one that the host has in a place that is not shown: below a home, or in a directory that
 * only the caller's PATH names.
 */
export function explainMissing(error: unknown, [program = '']: readonly string[], rootfs: unknown): unknown {
  if (!(error instanceof ContainerError) || error.code !== 'ERR_INIT_MISSING' || rootfs !== 'host') return error
  const names = program.includes('/') ? [program] : (process.env.PATH ?? '').split(':').map(dir => join(dir, program))
  const found = names.find(name => isAbsolute(name) && kindOf(realOf(name)) === 'file')
  if (found === undefined) return error
  const real = realOf(found)
  const named = program.includes('/')
  const shown = PROGRAMS.includes(real.split('/')[1] as string)
  if (shown && named) return error
  const way = 'run it by its path, or give `env: { PATH }`'
  if (shown) return rehint(error, `it is ${real}, which is not in the sandbox's PATH: ${way}`)
  const directory = dirname(basename(dirname(real)) === 'bin' ? dirname(real) : real)
  return rehint(
    error,
    `the host has it as ${real}, which a sandbox does not see: bind ${directory}${named ? '' : `, and ${way}`}`,
  )
}

function realOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path // not there
  }
}

function kindOf(path: string): 'dir' | 'file' | 'link' | undefined {
  const info = lstatSync(path, { throwIfNoEntry: false })
  if (info?.isSymbolicLink()) return 'link'
  if (info?.isDirectory()) return 'dir'
  return info?.isFile() ? 'file' : undefined
}
