/** What a user without rights over the host's network may use: programs of the host that are installed, and what LXC's file grants. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { nameOf } from '../host/users.ts'
import { findProgram, hasProgram } from '../native/program.ts'

/** The helpers by which a user without rights gets a network; absolute paths. */
export interface UserNetwork {
  /** lxc-user-nic(1), and the bridges that /etc/lxc/lxc-usernet lets this user have a veth on. */
  readonly lxcUserNic?: { readonly program: string; readonly bridges: readonly string[] } | undefined
  /** pasta(1): the host's own connections, by a process in user space. */
  readonly pasta?: string | undefined
  /** slirp4netns(1): the same behind an address of its own, 10.0.2.100. */
  readonly slirp4netns?: string | undefined
}

const HELPERS = [
  '/usr/libexec/lxc/lxc-user-nic',
  '/usr/lib/lxc/lxc-user-nic',
  `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/lxc/lxc-user-nic`,
]

/** The helpers of this user. */
export function findUserNetwork(): UserNetwork {
  const helper = HELPERS.find(isExecutable)
  const bridges =
    helper === undefined
      ? []
      : grantedBridges(read('/etc/lxc/lxc-usernet'), nameOf(process.geteuid?.() ?? 0), groupNames())
  const program = (name: string) => (hasProgram(name) ? findProgram(name) : undefined)
  return {
    lxcUserNic: helper === undefined || bridges.length === 0 ? undefined : { program: helper, bridges },
    pasta: isConfined() ? undefined : program('pasta'),
    slirp4netns: program('slirp4netns'),
  }
}

/**
 * Whether AppArmor keeps pasta out of the namespaces of others: Debian 12's profile of it may open them, but lets it look at no process
 * outside of the profile, without which the kernel refuses. proc_pid_ns(5)
 */
function isConfined(): boolean {
  if (!/^Y/.test(read('/sys/module/apparmor/parameters/enabled'))) return false
  if (existsSync('/etc/apparmor.d/disable/usr.bin.passt')) return false
  return shutsOut(
    ['usr.bin.passt', 'abstractions/passt', 'abstractions/pasta'].map(name => read(`/etc/apparmor.d/${name}`)),
  )
}

/** The same of the texts of a profile; apparmor.d(5) "Ptrace rules". No profile confines nobody. */
export function shutsOut(profile: readonly string[]): boolean {
  const text = profile.join('\n')
  return /^\s*profile\s+passt\b/m.test(text) && !/^\s*(allow\s+)?ptrace\b/m.test(text)
}

/** The names of this process's supplementary groups: LXC's helper counts no others. group(5) */
function groupNames(): string[] {
  const mine = new Set(/^Groups:\s*(.*)$/m.exec(read('/proc/self/status'))?.[1]?.trim().split(' '))
  return read('/etc/group')
    .split('\n')
    .map(line => line.split(':'))
    .flatMap(([name = '', , gid = '']) => (mine.has(gid) ? [name] : []))
}

/** What the process that carries a container's traffic leaves in its run directory; one of the two is a word of its command line. */
export function helperFiles(runDir: string): { readonly pid: string; readonly socket: string } {
  return { pid: join(runDir, 'network.pid'), socket: join(runDir, 'network.socket') }
}

/** Ends that process, where its monitor did not; false when there was none. A pid that another program has by now is none. */
export async function endHelper(runDir: string): Promise<boolean> {
  const { pid: file, socket } = helperFiles(runDir)
  const pid = Number(read(file))
  const words = Number.isInteger(pid) && pid > 0 ? read(`/proc/${pid}/cmdline`).split('\0') : []
  const alive = words.includes(file) || words.includes(`--api-socket=${socket}`)
  if (alive) process.kill(pid, 'SIGTERM')
  await Promise.all([file, socket].map(left => rm(left, { force: true })))
  return alive
}

/** Lines `USER|@GROUP veth BRIDGE COUNT` of lxc-usernet(5) that are about this user. */
export function grantedBridges(text: string, user: string, groups: readonly string[]): string[] {
  return text.split('\n').flatMap(line => {
    const [who = '', type, bridge, count] = line.replace(/#.*/, '').trim().split(/\s+/)
    const mine = who === user || (who.startsWith('@') && groups.includes(who.slice(1)))
    return mine && type === 'veth' && bridge !== undefined && Number(count) > 0 ? [bridge] : []
  })
}

/** A file of the system; one that is missing or not for this user says nothing. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (['ENOENT', 'EACCES', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return ''
    throw error
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
