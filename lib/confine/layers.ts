/** Overlays whose lower layers have other ids on disk than the upper one, shown as when their container runs (`caisson-monitor view`). */
import { dirname, join } from 'node:path'
import type { Shift } from '../host/shift.ts'
import { check, native } from '../native/binding.ts'
import { type Program, type ProgramOptions, startProgram } from '../native/program.ts'
import type { RootfsSpec, ViewSpec } from '../native/spec.ts'

const MOUNT_ATTR_RDONLY = 1

export interface Layers {
  /** The topmost first, with ids as inside. */
  readonly lower: readonly string[]
  /** With ids of the host. */
  readonly upper: string
  readonly idmap: readonly Shift[]
}

/** Starts a program that sees them at `/run/<at>`, with ids of the host, in a mount namespace that goes with it. */
export function startOnLayers(
  layers: Layers,
  at: string,
  access: 'read' | 'write',
  [program, ...args]: readonly [string, ...string[]],
  options: Pick<ProgramOptions, 'label' | 'signal'> = {},
): Program {
  const { addon, monitor } = native()
  const told = check(addon.sealView(specOf(layers, at, access), monitor), { verb: 'show layers' })
  try {
    return startProgram(program, ['view', program, ...args], {
      ...options,
      executable: told[1],
      stdio: ['pipe', 'pipe', 'pipe', 'ignore', 'ignore', told[0]],
    })
  } finally {
    addon.closeDescriptors(told)
  }
}

function specOf({ lower, upper, idmap }: Layers, at: string, access: 'read' | 'write'): ViewSpec {
  const extents = (kind: 'uid' | 'gid') =>
    idmap
      .filter(({ type }) => type === kind || type === 'both')
      .map(({ container, host, range }) => ({ container, host, range }))
  const rootfs: RootfsSpec = {
    path: upper,
    lower: [...lower],
    work: join(dirname(upper), 'work'),
    inMemory: false,
    memory: 0,
    idmapped: true,
    idmapPreferred: false,
    userNamespace: -1,
    attributes: access === 'read' ? MOUNT_ATTR_RDONLY : 0,
    options: [],
    image: '',
    imageType: '',
    empty: false,
    links: [],
    files: [],
    attachedAt: '',
  }
  const map = { uids: extents('uid'), gids: extents('gid'), newuidmap: '', newgidmap: '', denySetgroups: false }
  return { rootfs, idmap: map, at }
}
