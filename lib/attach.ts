/** Running a program inside a running container. */
import { architecture, personality } from './config/arch.ts'
import { ContainerError, nearest } from './errors.ts'
import { type Account, findAccount, findGroup, groupsOf, insideOf, type ReadInside } from './inside.ts'
import { refuseWithoutSelinux } from './lsm/selinux.ts'
import { native } from './native/binding.ts'
import { Monitor } from './native/monitor.ts'
import type { AttachSpec, IdMap, IdMapExtent, StartSpec } from './native/spec.ts'
import { ContainerProcess, type Started } from './process.ts'
import { type AttachOptions, checkOptions, processOptions } from './process_options.ts'
import { onHost } from './spec/idmap.ts'
import { DEFAULT_PATH } from './spec/process.ts'
import { type Wiring, wire } from './stdio.ts'

/** What is known of a running container: its Spec and a pidfd of its init, from its monitor. */
export interface Running {
  readonly spec: StartSpec
  readonly pid: number
  /** Owned by the one who asked. */
  readonly init: number
}

/** Starts `command` in the container that `find` finds. */
export function attach(
  name: string,
  command: readonly string[],
  options: AttachOptions,
  find: () => Promise<Running>,
): ContainerProcess {
  checkOptions(command, options, ['arch', 'context', 'remount'])
  checkPersonality(options)
  const wiring = wire(options, [-1])
  const started = launch(name, command, options, wiring, find)
  return new ContainerProcess(command, processOptions(options, name), wiring.ends, started)
}

async function launch(
  name: string,
  command: readonly string[],
  options: AttachOptions,
  wiring: Wiring,
  find: () => Promise<Running>,
): Promise<Started> {
  const { addon } = native()
  const action = { verb: 'attach to', container: name }
  try {
    const { spec, pid, init } = await find()
    try {
      const told = resolveAttach(spec, pid, command, options, wiring)
      wiring.own(onHost(spec.idmap.uids, told.process.uid), onHost(spec.idmap.gids, told.process.gid))
      const { answer, monitor } = await Monitor.launch('attach', told, wiring.descriptors.with(0, init), action)
      monitor.close()
      const [pidfd, terminal] = answer.descriptors
      return { pid: answer.report.pid, pidfd: pidfd as number, terminal }
    } finally {
      addon.closeDescriptors([init])
    }
  } finally {
    wiring.release()
  }
}

/** The program gets all that confines the container's init, and who and where the options say. */
export function resolveAttach(
  spec: StartSpec,
  pid: number,
  command: readonly string[],
  options: AttachOptions,
  wiring: Wiring,
): AttachSpec {
  const read = insideOf(pid)
  const account = findAccount(read, options.user)
  const gid = options.group === undefined ? account.gid : findGroup(read, options.group)
  const size = typeof options.tty === 'object' ? options.tty : { columns: 0, rows: 0 }
  const namespaces = chooseNamespaces(spec, options.namespaces)
  refuseGroups(spec.idmap, options.groups)
  return {
    init: 0,
    runDir: spec.runDir,
    namespaces,
    ...confinement(spec, account, options),
    process: {
      argv: [...command],
      environment: environmentFor(account, options),
      cwd: options.cwd ?? '/',
      uid: account.uid,
      gid,
      groups: chooseGroups(spec.idmap, read, account, options),
      rlimits: spec.process.rlimits,
      ...(spec.process.oomScoreAdj === undefined ? {} : { oomScoreAdj: spec.process.oomScoreAdj }),
      ...personalityOf(spec, options),
      terminal: Boolean(options.tty),
      ...size,
    },
    input: wiring.slots[0],
    output: wiring.slots[1],
    error: wiring.slots[2],
    ownCgroup: false,
    ownPids: false,
    remount: options.remount === true && !namespaces.includes('mnt'),
    keepGroups: spec.idmap.denySetgroups,
    firstUid: firstId(spec.idmap.uids),
    firstGid: firstId(spec.idmap.gids),
  }
}

/** Throws ERR_INVALID_OPTION for an architecture that there is not, ERR_FEATURE_MISSING for a context without SELinux. */
function checkPersonality({ arch, context }: AttachOptions): void {
  if (arch !== undefined && !architecture.words?.includes(arch)) {
    const near = nearest(String(arch), architecture.words ?? [])
    throw new ContainerError('ERR_INVALID_OPTION', `Cannot run: ${JSON.stringify(arch)} is no architecture`, {
      hint: near === undefined ? `known are ${architecture.words?.join(', ')}` : `did you mean "${near}"?`,
    })
  }
  if (context !== undefined) refuseWithoutSelinux(context)
}

function personalityOf(spec: StartSpec, { arch }: AttachOptions): Pick<AttachSpec['process'], 'personality'> {
  const wanted = arch === undefined ? spec.process.personality : personality(arch)
  return wanted === undefined ? {} : { personality: wanted }
}

/** The cgroups and the security of init, less what the options leave off by name. */
function confinement(spec: StartSpec, { uid }: Account, { elevated: off, context }: AttachOptions) {
  const elevated = (part: 'cgroup' | 'caps' | 'lsm' | 'seccomp') =>
    off === true || (Array.isArray(off) && off.includes(part))
  const { capabilities } = spec.security
  const own = uid === 0 ? capabilities.bounding : 0
  const all = (1n << 63n) - 1n
  return {
    cgroup: { ...spec.cgroup, hierarchies: elevated('cgroup') ? [] : spec.cgroup.hierarchies, files: [], devices: [] },
    security: {
      ...spec.security,
      capabilities: elevated('caps')
        ? { bounding: all, permitted: all, effective: all, ambient: 0, securebits: 0 }
        : { ...capabilities, permitted: own, effective: own, ambient: 0 },
      seccomp: elevated('seccomp') ? new Uint8Array() : spec.security.seccomp,
      seccompNotify: spec.security.seccompNotify && !elevated('seccomp'),
      ...(elevated('lsm') ? { apparmor: '', selinux: '', selinuxKeyring: '', landlock: undefined } : {}),
      ...(context === undefined ? {} : { selinux: context }),
    },
  }
}

/** Supplementary groups can't be given where the user namespace of an ordinary user forbids setgroups(2). Throws ERR_INVALID_OPTION. */
export function refuseGroups({ denySetgroups }: IdMap, groups: readonly number[] = []): void {
  if (!denySetgroups || groups.length === 0) return
  throw new ContainerError(
    'ERR_INVALID_OPTION',
    `Cannot run with the groups ${groups.join(', ')}: its user namespace has no others`,
    {
      hint: 'leave `groups` out: a user without subordinate ids can map only one group, user_namespaces(7)',
    },
  )
}

/** Those asked for; otherwise a user given by name has those of group(5), as far as the container can have them. */
function chooseGroups(idmap: IdMap, read: ReadInside, account: Account, { user, groups }: AttachOptions): number[] {
  if (groups !== undefined) return [...groups]
  if (user !== account.name || idmap.denySetgroups) return []
  return groupsOf(read, account).filter(gid => idmap.gids.length === 0 || onHost(idmap.gids, gid) !== undefined)
}

/** 0 where it is mapped, or without a map: as the kernel side takes it when a container starts. */
function firstId(extents: readonly IdMapExtent[]): number {
  return extents.some(({ container }) => container === 0) ? 0 : (extents[0]?.container ?? 0)
}

function chooseNamespaces(spec: StartSpec, wanted: AttachOptions['namespaces']): AttachSpec['namespaces'] {
  const owned = [...spec.namespaces, ...spec.joined.map(({ kind }) => kind)]
  if (wanted === undefined) return owned
  for (const kind of wanted) {
    if (!['mnt', 'pid', 'net', 'ipc', 'uts', 'user', 'cgroup', 'time'].includes(kind)) {
      throw new ContainerError('ERR_INVALID_OPTION', `Cannot attach: ${JSON.stringify(kind)} is not a namespace`)
    }
  }
  return owned.filter(kind => wanted.includes(kind))
}

function environmentFor(account: Account, options: AttachOptions): string[] {
  const base: Record<string, string> = { PATH: DEFAULT_PATH, HOME: account.home, container: 'lxc' }
  if (account.name !== '') base.USER = account.name
  if (options.tty) base.TERM = 'xterm-256color'
  return Object.entries({ ...base, ...options.env }).map(([name, value]) => `${name}=${value}`)
}
