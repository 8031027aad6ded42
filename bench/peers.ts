/** Other programs that run a command in isolation, each as its users would call it for a job like ours, from one Node program. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Peer {
  readonly name: string
  readonly program: string
  /** What it isolates, and what it does not. */
  readonly isolates: string
  /** The command line of one run; `tag` keeps names of runs at the same time apart. */
  command(place: Place, tag: string): string[]
}

/** A root file system with a static busybox, and room for the peers' own files. */
export interface Place {
  readonly directory: string
  readonly rootfs: string
  /** Where the v2 hierarchy is not mounted; ends with its standard input. */
  readonly hidden?: ChildProcess | undefined
}

export const PEERS: readonly Peer[] = [
  {
    name: 'bubblewrap',
    program: 'bwrap',
    isolates: '7 namespaces, no_new_privs, no capabilities; no filter, no cgroup',
    command: ({ rootfs }) => [
      ...['bwrap', '--ro-bind', rootfs, '/', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp'],
      ...['--unshare-all', '--new-session', '--die-with-parent', '--cap-drop', 'ALL', '/bin/true'],
    ],
  },
  {
    name: 'crun',
    program: 'crun',
    isolates:
      '6 namespaces, cgroups with limits, capabilities; no user namespace. On hybrid hosts by way of nsenter(1), 1 to 2 ms',
    command: ({ directory, hidden }, tag) => [
      ...(hidden === undefined ? [] : ['nsenter', `--mount=/proc/${hidden.pid}/ns/mnt`]),
      ...['crun', 'run', '--bundle', join(directory, 'bundle'), `bench-${tag}`],
    ],
  },
  {
    name: 'runc',
    program: 'runc',
    isolates: '6 namespaces, cgroups with limits, capabilities; no user namespace',
    command: ({ directory }, tag) => ['runc', 'run', '--bundle', join(directory, 'bundle'), `bench-${tag}`],
  },
  {
    name: 'lxc-execute',
    program: 'lxc-execute',
    isolates: '5 namespaces, cgroups, capabilities, filter; no user namespace',
    command: ({ directory }, tag) => [
      ...['lxc-execute', '-n', `bench-${tag}`, '-P', directory, '-f', join(directory, 'lxc.conf'), '--', '/bin/true'],
    ],
  },
  {
    name: 'firejail',
    program: 'firejail',
    isolates: "4 namespaces, filter, capabilities, on the host's own files; no cgroup",
    command: () => [
      ...[
        'firejail',
        '--quiet',
        '--noprofile',
        '--private-dev',
        '--private-tmp',
        '--net=none',
        '--seccomp',
        '--caps.drop=all',
      ],
      '/bin/true',
    ],
  },
  {
    name: 'nsjail',
    program: 'nsjail',
    isolates: '7 namespaces, capabilities, resource limits; no filter, no cgroup',
    command: ({ rootfs }) => ['nsjail', '-Mo', '-Q', '--chroot', rootfs, '--', '/bin/true'],
  },
  {
    name: 'sandbox-runtime',
    program: 'srt',
    isolates: "bubblewrap on the host's own files, with proxies for its network; a Node program of its own",
    command: () => ['srt', '/bin/true'],
  },
  {
    name: 'systemd-nspawn',
    program: 'systemd-nspawn',
    isolates: '6 namespaces, capabilities, filter',
    command: ({ rootfs }, tag) => [
      ...['systemd-nspawn', '--quiet', '--register=no', '--keep-unit', '--as-pid2', '--private-network', '--read-only'],
      ...['--volatile=no', `--machine=bench-${tag}`, '-D', rootfs, '/bin/true'],
    ],
  },
]

/** Makes the root file system and what the peers read. */
export async function makePlace(directory: string): Promise<Place> {
  const rootfs = join(directory, 'rootfs')
  for (const name of [
    'bin',
    'dev',
    'proc',
    'sys',
    'tmp',
    'etc',
    'run',
    'usr/bin',
    'usr/sbin',
    'usr/lib',
    'var/tmp',
    'root',
  ]) {
    mkdirSync(join(rootfs, name), { recursive: true })
  }
  copyFileSync(
    execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim(),
    join(rootfs, 'bin/busybox'),
  )
  for (const name of ['true', 'sh', 'sleep', 'cat']) symlinkSync('busybox', join(rootfs, 'bin', name))
  writeFileSync(join(rootfs, 'etc/os-release'), 'ID=bench\n')
  writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
  makeBundle(join(directory, 'bundle'), rootfs, ['/bin/true'])
  makeBundle(join(directory, 'sleeper'), rootfs, ['/bin/sleep', '100000'])
  const lines = [
    `lxc.rootfs.path = dir:${rootfs}`,
    'lxc.net.0.type = empty',
    'lxc.mount.auto = proc sys:ro',
    'lxc.autodev = 1',
    'lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp',
    'lxc.no_new_privs = 1',
  ]
  writeFileSync(join(directory, 'lxc.conf'), `${lines.join('\n')}\n`)
  const hidden = hideUnified()
  if (hidden?.stdout) await once(hidden.stdout, 'data')
  return { directory, rootfs, hidden }
}

function makeBundle(bundle: string, rootfs: string, args: readonly string[]): void {
  mkdirSync(bundle)
  if (!isInstalled('crun') && !isInstalled('runc')) return
  execFileSync(isInstalled('crun') ? 'crun' : 'runc', ['spec'], { cwd: bundle })
  const file = join(bundle, 'config.json')
  const config = JSON.parse(readFileSync(file, 'utf8'))
  config.process.terminal = false
  config.process.args = args
  config.root = { path: rootfs, readonly: true }
  config.linux.resources = { ...config.linux.resources, pids: { limit: 256 } }
  writeFileSync(file, JSON.stringify(config))
}

/** crun 1.8 refuses hosts with both versions of cgroups: on those it is shown the v1 ones only, from a mount namespace that is kept. */
function hideUnified(): ChildProcess | undefined {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
  const unified = mounts
    .split('\n')
    .find(line => line.includes(' - cgroup2 '))
    ?.split(' ')[4]
  if (unified === undefined || !/ - cgroup /.test(mounts)) return undefined
  const script = `umount ${unified} && echo && exec cat`
  return spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
}

export function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Runs a command to its end. Rejects with what it wrote when it failed. */
export function spawned([program, ...args]: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program as string, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let words = ''
    child.stderr.on('data', chunk => {
      words += chunk
    })
    child.once('error', reject)
    child.once('close', (code, signal) =>
      code === 0 ? resolve() : reject(new Error(`${program}: ${signal ?? code}: ${words.trim().split('\n')[0]}`)),
    )
  })
}
