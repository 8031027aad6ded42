/**
 * Runs a host program on data that nobody vouches for: the one place through which archives are decompressed and unpacked.
 *
 * The program gets a user namespace (so it is root over the ids of one map and nothing else: no device nodes, no
 * `trusted.*` xattrs, no mounts of the host), its own mount, network, PID, IPC and UTS namespaces, and a root directory that
 * holds nothing but the host's programs, read-only, and the one directory it may write. What it reads and writes comes by
 * descriptors that were opened, and verified, before.
 *
 * `caisson-monitor confine` makes these, and adds layers of its own to that: Landlock, seccomp, few capabilities (guard.ts). The maps
 * are written from here. The map is a parameter, and so this is also
 * how a tree is shifted: what a program in there writes as uid 0 stands on disk as the first id of the map, with ACLs
 * and file capabilities translated by the kernel (capabilities(7), namespaced file capabilities).
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { Shift } from '../host/shift.ts'
import { native } from '../native/binding.ts'
import { findProgram, type Program, runProgram, startProgram } from '../native/program.ts'
import { sealGuard, WORK } from './guard.ts'

export { WORK }

export interface Confinement {
  /** The directory shown as {@link WORK}; absent: none. */
  readonly directory?: string | undefined
  /** The process in whose mount namespace the directory lies, where that is not the caller's. */
  readonly through?: number | undefined
  /** Show it read-only. */
  readonly readonly?: boolean | undefined
  /**
   * A file of the directory, found with that as root directory: its standard input, or where it works. When there is none the
   * errno comes from its descriptor 4, as one byte.
   */
  readonly at?: { readonly path: string; readonly kind: 'file' | 'directory' } | undefined
  /** The id map; absent: ids stay as they are, and the caller's own is root where the caller is not. */
  readonly shift?: readonly Shift[] | undefined
  /** In the caller's own root, where a path is what it is outside: for trees that are no place for links, as cgroups are. */
  readonly bare?: boolean | undefined
  readonly stdin?: 'pipe' | 'ignore' | number | undefined
  readonly stdout?: 'pipe' | 'ignore' | number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Every id there is; of a caller without rights the one that it has. */
function identity(): readonly Shift[] {
  if (process.geteuid?.() === 0) return [{ type: 'both', container: 0, host: 0, range: 4294967295 }]
  return [
    { type: 'uid', container: 0, host: process.geteuid?.() ?? 0, range: 1 },
    { type: 'gid', container: 0, host: process.getegid?.() ?? 0, range: 1 },
  ]
}

/** A map of the caller's own ids needs no helper; with it nobody inside may change groups, user_namespaces(7). */
export function isSingle(shift: readonly Shift[]): boolean {
  return (
    process.geteuid?.() !== 0 &&
    shift.every(({ type, host, range }) => {
      const ids =
        type === 'uid'
          ? [process.geteuid?.()]
          : type === 'gid'
            ? [process.getegid?.()]
            : [process.geteuid?.(), process.getegid?.()]
      return range === 1 && ids.every(id => id === host)
    })
  )
}

/**
 * From where a directory is entered, and the way on. A container's root may have closed its own to everybody else: the last
 * step is made with its rights. What is named by a descriptor is open already.
 */
function reach(directory: string | undefined): readonly [cwd: string | undefined, below: string] {
  if (directory === undefined || process.geteuid?.() === 0 || directory.startsWith('/proc/')) return [directory, '']
  return [dirname(directory), basename(directory)]
}

/** Starts a host program in there. Paths among its arguments are those of its own root: {@link WORK} and `/usr`. */
export async function confine(name: string, args: readonly string[], options: Confinement = {}): Promise<Program> {
  const access = options.bare ? 'bare' : options.directory === undefined ? 'none' : options.readonly ? 'read' : 'write'
  const path = findProgram(name)
  const [cwd, below] = reach(options.directory)
  const guard = sealGuard(access, {
    through: options.through === undefined ? '' : `/proc/${options.through}/ns/mnt`,
    below,
    at: options.at?.path ?? '',
    atDirectory: options.at?.kind === 'directory',
  })
  let program: Program
  try {
    program = startProgram(name, ['confine', path, ...args], {
      executable: guard[1],
      stdio: [options.stdin ?? 'ignore', options.stdout ?? 'ignore', 'pipe', 'input', 'output', guard[0]],
      cwd,
      signal: options.signal,
    })
  } finally {
    native().addon.closeDescriptors(guard)
  }
  const go = program.input(3)
  // A program that is already gone reports so through `done`.
  go.on('error', () => undefined)
  await Promise.race([once(program.output(4), 'data'), program.done])
  const shift = options.shift ?? identity()
  const single = isSingle(shift)
  try {
    await writeMaps(await program.pid, shift, single)
  } catch (error) {
    program.kill()
    await program.done.catch(() => undefined)
    throw error
  }
  go.end(single ? 'k' : 'c')
  return program
}

/** The same, to its end, for programs that neither read nor write a pipe of ours. */
export async function runConfined(name: string, args: readonly string[], options: Confinement): Promise<void> {
  await (await confine(name, args, options)).done
}

/** Root writes the maps itself, and so does who maps nobody else; anybody else goes through newuidmap(1), which asks /etc/subuid. */
export async function writeMaps(pid: number, shift: readonly Shift[], single: boolean): Promise<void> {
  if (single) await writeFile(`/proc/${pid}/setgroups`, 'deny')
  for (const type of ['gid', 'uid'] as const) {
    const entries = shift.filter(entry => entry.type === type || entry.type === 'both')
    const numbers = entries.map(entry => [entry.container, entry.host, entry.range].map(String))
    if (single || process.geteuid?.() === 0) {
      await writeFile(`/proc/${pid}/${type}_map`, numbers.map(n => `${n.join(' ')}\n`).join(''))
    } else await runProgram(`new${type}map`, [String(pid), ...numbers.flat()])
  }
}
