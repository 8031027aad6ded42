/**
 * The offline template: a static busybox of the host, its applets as links, and an init that obeys LXC's signals.
 * It needs no network, no archive and about 2 MB; nothing of the host is bound into it.
 */
import { chmod, constants, copyFile, lchown, mkdir, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { throwIfAborted } from '../abort.ts'
import { ContainerError } from '../errors.ts'
import { shiftId } from '../host/shift.ts'
import { findProgram, runProgram } from '../native/program.ts'
import { readElf } from './elf.ts'
import { stringOption, type Template, type TemplateContext, type TemplateResult } from './template.ts'

/** Where distributions put a static busybox: Debian's busybox-static, Alpine's, Arch's, Fedora's. */
const CANDIDATES = [
  '/bin/busybox.static',
  '/usr/lib/initcpio/busybox',
  '/usr/bin/busybox',
  '/bin/busybox',
  '/sbin/busybox',
]

/** Directories in the order of their making, with modes (hier(7)). */
const DIRECTORIES: readonly (readonly [path: string, mode: number])[] = [
  ...['bin', 'sbin', 'usr', 'usr/bin', 'usr/sbin', 'etc', 'dev', 'proc', 'sys', 'run', 'home', 'mnt', 'srv'].map(
    path => [path, 0o755] as const,
  ),
  ...['var', 'var/cache', 'var/lib', 'var/log', 'var/spool'].map(path => [path, 0o755] as const),
  ['root', 0o700],
  ['tmp', 0o1777],
  ['var/tmp', 0o1777],
]

/**
 * busybox init reads `tty::action:process`. The console and tty1 get a shell without a password: who may open them is
 * decided by the host, and a locked account could not be used at all.
 */
const FILES: readonly (readonly [path: string, mode: number, text: string])[] = [
  [
    'etc/inittab',
    0o644,
    'console::askfirst:-/bin/sh\ntty1::askfirst:-/bin/sh\n::ctrlaltdel:/sbin/reboot\n::restart:/sbin/init\n',
  ],
  [
    'etc/passwd',
    0o644,
    'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n',
  ],
  ['etc/shadow', 0o600, 'root:*:0:0:99999:7:::\ndaemon:*:0:0:99999:7:::\nnobody:*:0:0:99999:7:::\n'],
  ['etc/group', 0o644, 'root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n'],
  ['etc/shells', 0o644, '/bin/sh\n/bin/ash\n'],
  ['etc/profile', 0o644, 'export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n'],
  ['etc/fstab', 0o644, ''],
  ['etc/resolv.conf', 0o644, ''],
  ['etc/os-release', 0o644, 'ID=busybox\nNAME=BusyBox\nPRETTY_NAME="BusyBox"\n'],
]

/** busybox init halts on SIGUSR1 and reboots on SIGTERM; SIGPWR, LXC's default, it ignores. */
const CONFIG = [
  ['lxc.signal.halt', 'SIGUSR1'],
  ['lxc.signal.reboot', 'SIGTERM'],
  ['lxc.tty.max', '1'],
  ['lxc.pty.max', '1024'],
  ['lxc.mount.auto', 'cgroup:mixed proc:mixed sys:mixed'],
] as const

/** The template `busybox`. Options: `path`, the static busybox to use. */
export const busybox: Template = {
  name: 'busybox',
  options: ['path'],
  async create(context: TemplateContext): Promise<TemplateResult> {
    const program = await findBusybox(stringOption(context, 'path'))
    const applets = await listApplets(program.path, context.signal)
    const tree = new Tree(context)
    context.onProgress?.({ phase: 'files', done: 0 })
    throwIfAborted(context.signal, `create "${context.name}"`)
    for (const [path, mode] of DIRECTORIES) await tree.directory(path, mode)
    await tree.copy(program.path, 'bin/busybox')
    await Promise.all(applets.map(applet => tree.link(applet, 'bin/busybox')))
    await tree.link('var/run', 'run')
    for (const [path, mode, text] of FILES) await tree.file(path, mode, text)
    await tree.file('etc/hostname', 0o644, `${context.name}\n`)
    await tree.file('etc/hosts', 0o644, `127.0.0.1 localhost\n127.0.1.1 ${context.name}\n::1 localhost\n`)
    await tree.own('.')
    return { config: [['lxc.arch', program.machine], ...CONFIG] }
  },
}

/** Finds a busybox that is verifiably static. */
async function findBusybox(given: string | undefined): Promise<{ path: string; machine: string }> {
  for (const path of given === undefined ? CANDIDATES : [given]) {
    if (
      !(await stat(path).then(
        s => s.isFile(),
        () => false,
      ))
    )
      continue
    const header = await readElf(path)
    if (header?.isStatic) return { path, machine: header.machine }
  }
  const what = given === undefined ? 'none is installed' : `"${given}" is not a static program`
  throw new ContainerError('ERR_TEMPLATE', `Cannot find a static busybox: ${what}`, {
    hint: 'install the package "busybox-static", or name one with the option "path"',
  })
}

/** The applets of a busybox as paths without a leading slash. */
async function listApplets(path: string, signal: AbortSignal | undefined): Promise<string[]> {
  const { stdout } = await runProgram(findProgram(path), ['--list-full'], { signal })
  const applets = stdout.split('\n').filter(line => /^(usr\/)?s?bin\/[\w.[-]+$/.test(line) && line !== 'bin/busybox')
  if (applets.includes('sbin/init') && applets.includes('bin/sh')) return applets
  throw new ContainerError('ERR_TEMPLATE', `Cannot use busybox "${path}": it has no init or no sh`, {
    hint: 'install the package "busybox-static"',
  })
}

/** Makes the files of a new tree, each owned by the container's root as it stands on disk. */
class Tree {
  readonly #root: string
  readonly #uid: number
  readonly #gid: number

  constructor(context: TemplateContext) {
    this.#root = context.rootfs
    this.#uid = shiftId(context.shift, 'uid', 0)
    this.#gid = shiftId(context.shift, 'gid', 0)
  }

  async directory(path: string, mode: number): Promise<void> {
    await mkdir(join(this.#root, path), { recursive: true })
    await chmod(join(this.#root, path), mode)
    await this.own(path)
  }

  async file(path: string, mode: number, text: string): Promise<void> {
    await writeFile(join(this.#root, path), text, { mode, flag: 'wx' })
    await chmod(join(this.#root, path), mode)
    await this.own(path)
  }

  async copy(from: string, path: string): Promise<void> {
    await copyFile(from, join(this.#root, path), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    await chmod(join(this.#root, path), 0o755)
    await this.own(path)
  }

  /** A relative link, so that it also holds when the tree is looked at from outside. */
  async link(path: string, to: string): Promise<void> {
    await symlink(relative(dirname(path), to), join(this.#root, path))
    await this.own(path)
  }

  async own(path: string): Promise<void> {
    // A rootless caller makes files of its own, and it cannot give them away.
    if (process.geteuid?.() === 0) await lchown(join(this.#root, path), this.#uid, this.#gid)
  }
}
