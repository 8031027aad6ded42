/**
 * A program in new namespaces, with nothing of a container: no root of its own, no cgroup, no monitor, nothing that confines it beyond
 * the namespaces. It runs on this process's descriptors with its environment: lxc-unshare and lxc-usernsexec.
 *
 * The namespaces are made by util-linux; maps are written and interfaces moved from here, while a shell in there waits for that.
 */
import { once } from 'node:events'
import { isSingle, writeMaps } from '../confine/confine.ts'
import { ContainerError } from '../errors.ts'
import type { Shift } from '../host/shift.ts'
import { runProgram } from '../native/program.ts'
import { type InPlace, startInPlace } from './in_place.ts'

export type Unshared = 'mnt' | 'pid' | 'uts' | 'ipc' | 'user' | 'net' | 'cgroup'

const OPTIONS: Readonly<Record<Unshared, readonly string[]>> = {
  mnt: ['--mount', '--propagation', 'slave'],
  pid: ['--pid', '--fork'],
  uts: ['--uts'],
  ipc: ['--ipc'],
  user: ['--user', '--keep-caps'],
  net: ['--net'],
  cgroup: ['--cgroup'],
}

export interface UnshareOptions {
  readonly namespaces: readonly Unshared[]
  /** The id maps of a new user namespace. */
  readonly maps?: readonly Shift[]
  /** Who it becomes there: user and group; none: it stays who it is. */
  readonly id?: number
  /** The host name in a new UTS namespace. */
  readonly hostname?: string
  /** Interfaces of the host that are moved into a new network namespace; they come back when it ends. */
  readonly interfaces?: readonly string[]
  /** New /proc, /dev/shm and /dev/mqueue in a new mount namespace. */
  readonly remount?: boolean
  /** Does not wait for it: it may outlive this process. */
  readonly daemon?: boolean
}

/** Waits until all is done from outside (descriptors 3 and 4), then does what can only be done in there, and becomes the program. */
const ENTER = `
echo >&4; read -r _ <&3
hostname=$1 remount=$2 id=$3 groups=$4; shift 4
[ -z "$hostname" ] || printf %s "$hostname" >/proc/sys/kernel/hostname || exit 1
if [ "$remount" = yes ]; then
  mount -n -t proc proc /proc || exit 1
  [ ! -d /dev/shm ] || mount -n -t tmpfs -o nosuid,nodev tmpfs /dev/shm || exit 1
  [ ! -d /dev/mqueue ] || mount -n -t mqueue mqueue /dev/mqueue || exit 1
fi
exec 3<&- 4>&-
[ -n "$id" ] || exec "$@"
exec setpriv --reuid="$id" --regid="$id" "--$groups-groups" --inh-caps=-all -- /bin/sh -c 'exec "$@"' sh "$@"
`

/** Runs it, and gives how it ended; at once, with code 0, for a daemon. Throws EPERM, ERR_TOOL_MISSING, ERR_ID_NOT_GRANTED. */
export async function runUnshared(
  command: readonly string[],
  options: UnshareOptions,
): Promise<{ code: number; signal: NodeJS.Signals | null }> {
  const { namespaces, maps = [], hostname = '', remount = false, daemon = false, id } = options
  if (process.geteuid?.() !== 0 && !namespaces.includes('user'))
    throw new ContainerError('EPERM', 'Cannot make namespaces: only root may, without a user namespace', {
      hint: 'run it as root, or make a user namespace, too',
    })
  const single = isSingle(maps)
  const told = [hostname, remount ? 'yes' : 'no', id === undefined ? '' : String(id), single ? 'keep' : 'clear']
  const script = ['--', '/bin/sh', '-euc', ENTER, 'sh', ...told, ...command]
  const flags = [...new Set(namespaces)].flatMap(name => OPTIONS[name])
  const program = startInPlace('unshare', [...flags, ...script], { pipes: 2, detached: daemon })
  await setUp(program, maps, single, options.interfaces ?? [])
  if (daemon) return { code: 0, signal: null }
  const { code, signal } = await withSignals(program)
  return { code: code ?? 1, signal }
}

async function setUp(program: InPlace, maps: readonly Shift[], single: boolean, interfaces: readonly string[]) {
  const go = program.pipe(3)
  const there = program.pipe(4)
  // A program that is already gone says so by its end.
  go.on('error', () => undefined)
  const isThere = await Promise.race([once(there, 'data').then(() => true), program.ended.then(() => false)])
  if (!isThere) return
  try {
    if (maps.length > 0) await writeMaps(program.pid, maps, single)
    for (const name of interfaces) await runProgram('ip', ['link', 'set', 'dev', name, 'netns', String(program.pid)])
  } catch (error) {
    program.kill('SIGKILL')
    await program.ended
    throw error
  }
  there.destroy()
  // Whoever does not wait for the program may end before it has been told.
  await new Promise<void>(resolve => go.end('go\n', resolve))
}

/** What a terminal sends goes to the program, too, which may well go on; what only this process gets is passed on. */
async function withSignals(program: InPlace): Promise<Awaited<InPlace['ended']>> {
  const stay = () => undefined
  const pass = (signal: NodeJS.Signals) => program.kill(signal)
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, stay)
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, pass)
  try {
    return await program.ended
  } finally {
    for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.off(signal, stay)
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.off(signal, pass)
  }
}
