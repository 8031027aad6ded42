/**
 * resolve(): Config + Host → StartSpec. Pure: it reads nothing and makes nothing; whatever has to be read from files (an fstab, a seccomp
 * policy) comes in as an argument. Every key of the config either reaches the Spec or is refused with the reason.
 */
import type { Config } from '../config/config.ts'
import type { MountLine } from '../config/mount_entry.ts'
import { sumTimeOffsets } from '../config/time_offset.ts'
import { ContainerError } from '../errors.ts'
import type { Host } from '../host/host.ts'
import type { Labels } from '../lsm/label.ts'
import type {
  ConsoleSpec,
  DevSpec,
  LinkSpec,
  MountSpec,
  NamespaceJoin,
  RootfsSpec,
  SecuritySpec,
  Setting,
  SignalSpec,
  StartSpec,
  TimeOffset,
} from '../native/spec.ts'
import { type Parts, takeAll } from '../turns.ts'
import { type CgroupOptions, resolveCgroup } from './cgroup.ts'
import { checkEffects } from './effects.ts'
import { resolveHooks, rootForHooks } from './hook.ts'
import { onHost, resolveIdMap, resolveNamespaces } from './idmap.ts'
import { resolveLog } from './log.ts'
import { resolveMount, sortWords } from './mount.ts'
import { resolveProcess } from './process.ts'
import { MASKED, READ_ONLY, resolveCapabilities } from './security.ts'

/** A hook that takes longer is killed, and has failed. */
const HOOK_MS = 60_000

/** What is asked of a start beyond the config. */
export interface StartRequest {
  readonly name: string
  readonly lxcpath: string
  readonly runDir: string
  /** Names of kernel objects begin with it: `caisson.<name>.<hash of lxcpath>`. */
  readonly tag: string
  readonly foreground: boolean
  readonly command?: readonly string[] | undefined
  /** The program runs under a small init of ours (lxc-execute). */
  readonly minimalInit?: boolean
  readonly terminal?: { readonly columns: number; readonly rows: number } | undefined
  /** Slots of the descriptors 0, 1 and 2; absent: the console. */
  readonly stdio?: readonly [number, number, number] | undefined
  readonly trace?: boolean
  /** Points at which the one who starts it is asked. */
  readonly callbacks?: StartSpec['callbacks']
  /** Interfaces and files of managed networks, as they were prepared. */
  readonly network: { readonly links: readonly LinkSpec[]; readonly mounts: readonly MountSpec[] }
  /** Slots of the user namespaces that mounts name by their files. */
  readonly userNamespaces: ReadonlyMap<string, number>
  /** The lines of lxc.mount.fstab. */
  readonly fstab: readonly MountLine[]
  /** The compiled filter; empty for none. */
  readonly filter: { readonly program: Uint8Array; readonly notify: boolean }
  /** What init's exec enters. */
  readonly labels: Labels['spec']
  /** Namespaces that are taken over, their descriptors by slot. */
  readonly joined: readonly NamespaceJoin[]
  readonly configFile: string
  /** Whether a directory of the host exists. */
  exists(path: string): boolean
  /** The caller's environment, for variables that a config takes over by name. */
  readonly environment: NodeJS.ProcessEnv
  /** lxc.cgroup.pattern and lxc.cgroup.use of lxc.conf. */
  readonly cgroups?: { readonly pattern?: string | undefined; readonly use?: string | undefined }
}

export interface Resolved {
  readonly spec: StartSpec
  /** What this host cannot hold of the defaults, one sentence each. */
  readonly notes: readonly string[]
}

/** Resolves one start. Throws ERR_CONFIG_*, ERR_ID_NOT_GRANTED, ERR_NO_CGROUP … with the place in the config where there is one. */
export function resolve(config: Config, host: Host, request: StartRequest): Resolved {
  return takeAll(specParts(config, host, request))
}

/** The same in parts. */
export function* specParts(config: Config, host: Host, request: StartRequest): Parts<Resolved> {
  checkEffects(config)
  yield
  const idmap = resolveIdMap(config, host)
  const joined = [...request.joined]
  const namespaces = resolveNamespaces(config, idmap).filter(kind => !joined.some(join => join.kind === kind))
  const [uid, gid] = [onHost(idmap.uids, 0), onHost(idmap.gids, 0)]
  yield
  const cgroup = resolveCgroup(config, host.cgroups, {
    directory: request.tag,
    owner: uid === undefined || gid === undefined ? undefined : { uid, gid },
    root: host.root,
    exists: request.exists,
    ...globalPlaces(request),
  })
  yield
  const log = resolveLog(config, request)
  const process = resolveProcess(config, request.command, request.environment)
  yield
  const spec: StartSpec = {
    ...asked(request),
    trace: (request.trace ?? false) || log?.level === 0,
    unshare: config.value('lxc.monitor.unshare') !== 0,
    ephemeral: config.value('lxc.ephemeral') && host.root && isFiles(config),
    namespaces,
    joined,
    idmap,
    timeOffsets: resolveTimeOffsets(config),
    cgroup: cgroup.spec,
    rootfs: resolveRootfs(config, host, request, namespaces.includes('user')),
    ...resolveAutoMounts(config),
    mounts: [...request.network.mounts, ...resolveMounts(config, request)],
    dev: resolveDev(config, namespaces),
    console: resolveConsole(config, request),
    masked: [...MASKED, ...host.throttles],
    readOnly: [...READ_ONLY],
    hostname: namespaces.includes('uts') ? (config.value('lxc.uts.name') ?? request.name) : '',
    sysctls: resolveSettings(config, 'lxc.sysctl'),
    procSettings: resolveSettings(config, 'lxc.proc'),
    links: namespaces.includes('net') ? [...request.network.links] : [],
    security: resolveSecurity(config, host, request, process.uid),
    process: { ...process, ...(request.terminal === undefined ? {} : { terminal: true, ...request.terminal }) },
    signals: resolveSignals(config),
    ...resolveHookSpecs(config, request),
    log,
    syscallProxy: resolveSyscallProxy(config),
  }
  return { spec, notes: cgroup.notes }
}

/** What the config has no say in. */
function asked({ name, lxcpath, runDir, foreground, minimalInit = false }: StartRequest) {
  return { name, lxcpath, runDir, foreground, minimalInit, ahead: false }
}

function resolveHookSpecs(
  config: Config,
  request: StartRequest,
): Pick<StartSpec, 'hooks' | 'callbacks' | 'hookTimeoutMs'> {
  return { hooks: resolveHooks(config, request), callbacks: [...(request.callbacks ?? [])], hookTimeoutMs: HOOK_MS }
}

function resolveSecurity(config: Config, host: Host, request: StartRequest, uid: number): SecuritySpec {
  return {
    capabilities: resolveCapabilities(config, host.lastCapability, uid),
    noNewPrivs: config.value('lxc.no_new_privs'),
    seccomp: request.filter.program,
    seccompNotify: request.filter.notify,
    ...request.labels,
    keyring: config.value('lxc.keyring.session'),
    coreScheduling: config.value('lxc.sched.core'),
  }
}

/** Whether a container is nothing but files, which the monitor can remove alone. */
function isFiles(config: Config): boolean {
  const type = config.value('lxc.rootfs.path')?.type
  return type !== 'lvm' && type !== 'zfs'
}

/** What lxc.conf says of cgroups. */
function globalPlaces({ name, cgroups }: StartRequest): Pick<CgroupOptions, 'pattern' | 'use'> {
  const use = cgroups?.use?.split(',').filter(controller => controller !== '@all')
  return { pattern: cgroups?.pattern?.replaceAll('%n', name), use }
}

/** lxc.seccomp.notify.*: who answers the calls whose rule says notify. */
function resolveSyscallProxy(config: Config): StartSpec['syscallProxy'] {
  const proxy = config.value('lxc.seccomp.notify.proxy')
  if (proxy === undefined) return undefined
  const abstract = 'abstract' in proxy
  const cookie = config.value('lxc.seccomp.notify.cookie') ?? ''
  return { address: abstract ? proxy.abstract : proxy.path, abstract, cookie }
}

function resolveTimeOffsets(config: Config): TimeOffset[] {
  return (['boot', 'monotonic'] as const).flatMap(clock => {
    const offsets = config.value(`lxc.time.offset.${clock}`)
    return offsets.length === 0 ? [] : [{ monotonic: clock === 'monotonic', ...sumTimeOffsets(offsets) }]
  })
}

function resolveRootfs(config: Config, host: Host, request: StartRequest, userNamespace: boolean): RootfsSpec {
  const [path, options] = [config.value('lxc.rootfs.path'), config.value('lxc.rootfs.options')]
  const words = sortWords(options?.options ?? [])
  const rootfs: RootfsSpec = {
    path: '',
    lower: [],
    work: '',
    inMemory: path?.type === 'overlay' && config.has('caisson.overlay.tmpfs'),
    memory: config.value('caisson.overlay.tmpfs') ?? 0,
    idmapped: options?.idmap === 'container' && userNamespace && host.root,
    idmapPreferred: false,
    userNamespace: slotOf(options?.idmap, request.userNamespaces),
    attributes: words.attributes,
    options: words.options,
    image: '',
    imageType: '',
    empty: false,
    links: [],
    files: [],
    attachedAt: rootForHooks(config),
  }
  if (path === undefined) return { ...rootfs, path: '/' }
  if (path.type === 'overlay') {
    return {
      ...rootfs,
      path: path.upper,
      lower: [...path.lower],
      work: `${path.upper.replace(/\/[^/]*$/, '')}/work`,
    }
  }
  if (path.type === undefined || path.type === 'dir' || path.type === 'btrfs') return { ...rootfs, path: path.path }
  if (path.type === 'loop' || path.type === 'lvm')
    return { ...rootfs, image: path.path, imageType: config.value('caisson.rootfs.fstype') ?? 'ext4' }
  // Without `zfsutil` only datasets with a legacy mount point can be mounted (zfsprops(7)).
  if (path.type === 'zfs')
    return {
      ...rootfs,
      image: path.path,
      imageType: 'zfs',
      options: [{ key: 'zfsutil', value: '' }, ...rootfs.options],
    }
  throw new ContainerError(
    'ERR_CONFIG_UNSUPPORTED',
    `Cannot use storage type "${path.type}": it is not supported yet`,
    {
      ...config.where('lxc.rootfs.path'),
      hint: 'mount it on a directory, and name that as lxc.rootfs.path',
    },
  )
}

/** lxc.mount.auto; unset, what every init needs. */
function resolveAutoMounts(
  config: Config,
): Pick<StartSpec, 'proc' | 'procReadOnlySys' | 'procHidden' | 'sysfs' | 'cgroupfs'> {
  const set = config.has('lxc.mount.auto')
  const words = config.value('lxc.mount.auto')
  const proc = words.find(word => word.kind === 'proc')
  const sys = words.find(word => word.kind === 'sys')
  const cgroup = words.find(word => word.kind.startsWith('cgroup')) as { mode?: string } | undefined
  const sysfs = { mixed: 'mixed', ro: 'readOnly', rw: 'readWrite' } as const
  return {
    proc: !set || proc !== undefined,
    procReadOnlySys: proc?.mode !== 'rw',
    procHidden: false,
    sysfs: set ? (sys === undefined ? 'none' : sysfs[sys.mode]) : 'mixed',
    cgroupfs: set ? (cgroup === undefined ? 'none' : cgroup.mode === 'ro' ? 'readOnly' : 'readWrite') : 'readWrite',
  }
}

function resolveMounts(config: Config, { fstab, userNamespaces }: StartRequest): StartSpec['mounts'] {
  const path = config.value('lxc.rootfs.path')
  const roots = [config.value('lxc.rootfs.mount'), path !== undefined && 'path' in path ? path.path : undefined]
  const known = roots.filter(root => root !== undefined)
  const lines = [...fstab, ...config.value('lxc.mount.entry')]
  const mounts = lines.map(line => ({
    ...resolveMount(line, known),
    userNamespace: slotOf(line.idmap, userNamespaces),
  }))
  return [...mounts, ...sharedMounts(config).map(line => resolveMount(line, known))]
}

/** The container's own ids, or none, need no descriptor. */
const slotOf = (idmap: string | undefined, slots: StartRequest['userNamespaces']): number =>
  slots.get(idmap ?? '') ?? -1

/** lxc.mount.auto = shmounts:HOST:GUEST: what is mounted below HOST later on arrives below GUEST. */
export function sharedMounts(config: Config): MountLine[] {
  return config.value('lxc.mount.auto').flatMap(word =>
    word.kind === 'shmounts'
      ? [
          {
            source: word.host,
            target: word.guest,
            type: 'none',
            options: ['rbind', 'rslave'],
            create: 'dir' as const,
          },
        ]
      : [],
  )
}

/** The files of the user namespaces through whose ids something is to be shown: idmap=/proc/PID/ns/user. */
export function foreignMaps(config: Config, fstab: readonly MountLine[]): string[] {
  const lines = [config.value('lxc.rootfs.options'), ...fstab, ...config.value('lxc.mount.entry')]
  return [...new Set(lines.flatMap(line => line?.idmap ?? []))].filter(idmap => idmap !== 'container')
}

const NODES = [
  ['null', 1, 3],
  ['zero', 1, 5],
  ['full', 1, 7],
  ['random', 1, 8],
  ['urandom', 1, 9],
  ['tty', 5, 0],
] as const

function resolveDev(config: Config, namespaces: StartSpec['namespaces']): DevSpec {
  const pts = config.has('lxc.pty.max') ? config.value('lxc.pty.max') : 1024
  return {
    tmpfs: config.value('lxc.autodev'),
    size: config.value('lxc.autodev.tmpfs.size'),
    nodes: NODES.map(([name, major, minor]) => ({ name, type: 'c'.charCodeAt(0), major, minor, mode: 0o666 })),
    // As in LXC, console and ttys come on top; ours are of the same devpts.
    pts: pts === 0 ? 0 : pts + config.value('lxc.tty.max') + 1,
    ttys: config.value('lxc.tty.max'),
    ttyDir: config.value('lxc.tty.dir') ?? '',
    shm: true,
    // It is mounted by rights over the IPC namespace; of a shared one they are somebody else's.
    mqueue: namespaces.includes('ipc'),
  }
}

/** Kept of the console's output when the config says nothing: enough for the last words of an init that failed. */
const CONSOLE_BUFFER = 64 * 1024

function resolveConsole(config: Config, request: StartRequest): ConsoleSpec {
  const path = config.value('lxc.console.path')
  const [input, output, error] = request.stdio ?? [-1, -1, -1]
  return {
    pty: path === undefined && (request.stdio === undefined || request.terminal !== undefined),
    path: path === undefined || path === 'none' ? '' : path,
    buffer: config.has('lxc.console.buffer.size') ? config.value('lxc.console.buffer.size') : CONSOLE_BUFFER,
    log: config.value('lxc.console.logfile') ?? '',
    logSize: config.value('lxc.console.size'),
    logRotate: config.value('lxc.console.rotate'),
    input,
    output,
    error,
  }
}

/** `lxc.sysctl.net.ipv4.ip_forward` is a file below /proc/sys; `lxc.proc.oom_score_adj` one below /proc/PID. */
function resolveSettings(config: Config, family: 'lxc.sysctl' | 'lxc.proc'): Setting[] {
  return config.entries(family).map(({ name, value }) => ({
    path: name.slice(family.length + 1).replaceAll('.', '/'),
    value: String(value),
  }))
}

function resolveSignals(config: Config): SignalSpec {
  return {
    halt: config.value('lxc.signal.halt'),
    reboot: config.value('lxc.signal.reboot'),
    stop: config.value('lxc.signal.stop'),
    parentDeath: config.value('lxc.monitor.signal.pdeath'),
  }
}
