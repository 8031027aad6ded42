/**
 * What a confined program may do beyond its namespaces, as layers of their own: Landlock, seccomp, few capabilities. Each holds
 * when the others do not. What is sealed here is loaded by `caisson-monitor confine`, right before the program.
 */
import { constants } from 'node:os'
import { RIGHT } from '../lsm/landlock.ts'
import { check, native } from '../native/binding.ts'
import type { ConfineSpec, LandlockSpec, SeccompPolicy } from '../native/spec.ts'
import { defaultProfile } from '../seccomp/profiles.ts'
import { ALLOW, fail, type SeccompCondition, type SeccompStatement } from '../seccomp/statements.ts'

/** Where a confined program finds its directory. */
export const WORK = '/tree'

/** What of its directory it may do; `bare`: it has none, and the caller's root instead of its own. */
export type Access = 'read' | 'write' | 'none' | 'bare'

/** CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SETFCAP: what writing the files of others takes. */
const CAPABILITIES = [0, 1, 2, 3, 4, 31].reduce((set, bit) => set + 2 ** bit, 0)

/** What is unpacked is data: none of it is executed, and no sockets and devices are made. */
const READ = RIGHT.readFile | RIGHT.readDir
const WRITE =
  READ |
  RIGHT.writeFile |
  RIGHT.truncate |
  RIGHT.removeDir |
  RIGHT.removeFile |
  RIGHT.makeDir |
  RIGHT.makeReg |
  RIGHT.makeFifo |
  RIGHT.makeSym |
  RIGHT.refer

const ALL = { files: (1 << 16) - 1, network: 3, scopes: 3 }
const TREE = { none: 0, read: READ, write: WRITE } as const
const PROGRAMS = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']

function landlock(access: keyof typeof TREE): LandlockSpec {
  return {
    handledAccess: ALL.files,
    handledNetwork: ALL.network,
    scoped: ALL.scopes,
    paths: [
      ...PROGRAMS.map(path => ({ path, access: READ | RIGHT.execute })),
      { path: '/dev/null', access: RIGHT.readFile | RIGHT.writeFile },
      { path: WORK, access: TREE[access] },
    ],
    ports: [],
    required: false,
  }
}

/**
 * S_IFMT, and what of it a file may be: regular (tar makes those with xattrs so), a FIFO, or a socket that nobody listens
 * at, as a copy of a tree has; in a directory of its own Landlock refuses the last.
 */
const S_IFMT = 0o170000n
const MADE = [0n, 0o100000n, 0o010000n, 0o140000n]

/** The profile of applications, without any socket, and with what makes files and FIFOs. */
function policy(): SeccompPolicy {
  const rule = (syscalls: string[], action: SeccompStatement['action'], ...conditions: SeccompCondition[]) => ({
    syscalls,
    action,
    conditions,
    architectures: [],
  })
  const eperm = fail(constants.errno.EPERM)
  const base = defaultProfile('app', { compat32Sockets: false, systemVIpc: false })
  const own = [
    rule(['socket', 'socketpair', 'socketcall'], eperm),
    ...MADE.flatMap(value => [
      rule(['mknod'], ALLOW, { index: 1, comparison: '==', value, mask: S_IFMT }),
      rule(['mknodat'], ALLOW, { index: 2, comparison: '==', value, mask: S_IFMT }),
    ]),
  ]
  return { ...base, rules: [...own, ...base.rules] }
}

let filter: Uint8Array | undefined

/** The way to its directory: a mount namespace, and a step from the working directory; and a file in that. All may be empty. */
type Way = Pick<ConfineSpec, 'through' | 'below' | 'at' | 'atDirectory'>

function specOf(access: Access, way: Way, filter: Uint8Array): ConfineSpec {
  const guard = { ...way, seccomp: filter, capabilities: CAPABILITIES }
  if (access === 'bare') return { ...guard, ownRoot: false, programs: [], tree: '', readOnly: false }
  const tree = access === 'none' ? '' : WORK.slice(1)
  return { ...guard, ownRoot: true, programs: PROGRAMS, tree, readOnly: access === 'read', landlock: landlock(access) }
}

/** The descriptors of the guard and of the monitor's program; the caller closes them. */
export function sealGuard(access: Access, way: Way): [told: number, monitor: number] {
  const { addon, monitor } = native()
  const action = { verb: 'confine a program' }
  filter ??= check(addon.compileSeccomp(policy()), action).program
  return check(addon.sealConfinement(specOf(access, way, filter), monitor), action)
}
