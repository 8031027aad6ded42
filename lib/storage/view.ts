/**
 * Runs programs that see volumes as directories. What must be mounted for that is mounted in a mount namespace that lives as
 * long as the program: nothing is left behind, whoever is killed when.
 */
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { startOnLayers } from '../confine/layers.ts'
import type { Shift } from '../host/shift.ts'
import { type Program, type ProgramOptions, runProgram, startProgram } from '../native/program.ts'
import { backendOf } from './backends.ts'
import { copyShifted, copyTree } from './copy.ts'
import type { Volume } from './storage.ts'

/** Where a program finds the volumes, by the names they are given. */
export const VIEW = '/run'

/** For each volume: its name, the number of mount arguments, these. Then the program. */
const SCRIPT = `
mount -n -t tmpfs -o size=1m,mode=755 none /run
while [ "$1" != -- ]; do
  name=$1 count=$2; shift 2
  mkdir "/run/$name"
  case $count in
    2) mount -n "$1" "$2" "/run/$name";;
    3) mount -n "$1" "$2" "$3" "/run/$name";;
    5) mount -n "$1" "$2" "$3" "$4" "$5" "/run/$name";;
    *) exit 125;;
  esac
  shift "$count"
done
shift
exec "$@"
`

/** Runs a program with volumes at `/run/<name>`. */
export async function runInView(
  volumes: Readonly<Record<string, { readonly volume: Volume; readonly access: 'read' | 'write' }>>,
  program: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<string> {
  const mounts = Object.entries(volumes).flatMap(([name, { volume, access }]) => {
    const own = backendOf(volume).mountArguments(volume, access)
    return [name, String(own.length), ...own]
  })
  const unshare = ['--mount', '--propagation', 'private', '--', '/bin/sh', '-euc', SCRIPT, 'sh', ...mounts, '--']
  const { stdout } = await runProgram('unshare', [...unshare, program, ...args], { label: program, ...options })
  return stdout
}

/** Copies one volume into another, which is new and empty. */
export async function copyVolume(
  from: Volume,
  to: Volume,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const [source, target] = [from, to].map(volume => backendOf(volume).directory?.(volume))
  if (source !== undefined && target !== undefined) return copyTree(source, target, options)
  const volumes = { from: { volume: from, access: 'read' }, to: { volume: to, access: 'write' } } as const
  const args = ['--archive', '--reflink=auto', '--sparse=auto', '--one-file-system', '--no-target-directory', '--']
  await runInView(volumes, 'cp', [...args, `${VIEW}/from`, `${VIEW}/to`], { signal: options.signal })
}

/** What is looked at: a volume, and the id map of its container, by which its owners stand on disk. */
export interface Content {
  readonly volume: Volume
  /** How ids stand on disk; undefined: as inside. */
  readonly shift: readonly Shift[] | undefined
  /** The map through which the lower layers of an overlay are shown, whose upper layer then has ids of the host. */
  readonly idmap?: readonly Shift[] | undefined
}

/**
 * Copies what a container has into a volume that is new and empty. Layers that have other ids on disk get those of the inside; so does all
 * when `shift` is given, and these then stand on disk by it.
 */
export async function copyContent(
  from: Content,
  to: Volume,
  options: { readonly signal?: AbortSignal | undefined; readonly shift?: readonly Shift[] | undefined } = {},
): Promise<void> {
  const { signal, shift } = options
  const isLayered = from.idmap !== undefined && from.volume.type === 'overlay'
  if (!isLayered && shift === undefined) return copyVolume(from.volume, to, { signal })
  await withView(from, 'read', source =>
    withView({ volume: to, shift }, 'write', target =>
      copyShifted(
        source.path,
        target.path,
        { from: source.shift, to: shift },
        { signal, seenFrom: source.through, seenTo: target.through },
      ),
    ),
  )
}

/** Where it is seen, through whose mounts (undefined: the caller's own), and how ids stand there. */
export interface Shown {
  readonly path: string
  readonly through: number | undefined
  readonly shift: readonly Shift[] | undefined
}

const WAIT = ['/bin/sh', '-c', 'echo; read -r _'] as const

/** Shows a volume to this process while `act` runs: where it lies, or through the root of a process that has it mounted. */
export async function withView<T>(
  content: Content,
  access: 'read' | 'write',
  act: (shown: Shown) => Promise<T>,
): Promise<T> {
  const direct = backendOf(content.volume).directory?.(content.volume)
  if (direct !== undefined) return act({ path: direct, through: undefined, shift: content.shift })
  const holder = hold(content, access)
  try {
    await Promise.race([once(holder.stdout as Readable, 'data'), holder.done])
    const shift = content.idmap ?? content.shift
    const pid = await holder.pid
    return await act({ path: `/proc/${pid}/root${VIEW}/v`, through: pid, shift })
  } finally {
    holder.stdin?.end('\n')
    await holder.done
  }
}

function hold({ volume, idmap }: Content, access: 'read' | 'write'): Program {
  const label = 'mount'
  if (volume.type === 'overlay' && idmap !== undefined) {
    return startOnLayers({ lower: volume.lower, upper: volume.upper, idmap }, 'v', access, WAIT, { label })
  }
  const own = backendOf(volume).mountArguments(volume, access)
  const script = ['--', '/bin/sh', '-euc', SCRIPT, 'sh', 'v', String(own.length), ...own, '--', ...WAIT]
  const unshare = ['--mount', '--propagation', 'private', ...script]
  return startProgram('unshare', unshare, { stdio: ['pipe', 'pipe', 'pipe'], label })
}
