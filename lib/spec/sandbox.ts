/**
 * SandboxOptions → StartSpec: the app profile (docs/sandbox.md). No config file, no lxcpath, nothing on disk. Pure, but for the kinds of
 * the files that are bound, which come in as a function.
 */
import path from 'node:path'
import { CAPABILITIES, type CapabilityName } from '../config/capability.ts'
import { compileLimits, type LimitHost, type Limits } from '../config/limits.ts'
import { ContainerError } from '../errors.ts'
import type { Host } from '../host/host.ts'
import { resolveDomain } from '../lsm/landlock.ts'
import type {
  CapabilitySpec,
  CgroupSpec,
  ConsoleSpec,
  DevSpec,
  IdMap,
  MountSpec,
  Option,
  ProcessSpec,
  Rlimit,
  RootfsSpec,
  SecuritySpec,
  StartSpec,
} from '../native/spec.ts'
import { defaultFile, placeFiles } from './controls.ts'
import { ATTRIBUTE } from './mount.ts'
import { DEFAULT_PATH, NO_CORE } from './process.ts'
import { type DirectoryOptions, invalid, type SandboxOptions, sizeOf, targetOf } from './sandbox_options.ts'
import { MASKED, maskOf, READ_ONLY } from './security.ts'

/** The part of the root that shows the host. */
export interface View {
  readonly links: readonly Option[]
  readonly files: readonly Option[]
  readonly mounts: readonly MountSpec[]
}

/** What a sandbox needs to know beyond its options. */
export interface SandboxRequest {
  readonly name: string
  /** Names its cgroups. */
  readonly tag: string
  /** The first of 65,536 host ids of its own; absent: the caller's own id is its only one. */
  readonly ids?: number | undefined
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
  readonly filter: Uint8Array
  readonly view: View
  /** Processes are added to it later, each in a cgroup of its own. */
  readonly keeps: boolean
  readonly hardware: LimitHost
  /** Whether RLIMIT_NPROC counts by user namespace, Linux 5.14. */
  readonly countsInUserNamespace: boolean
  /** Whether a host path is a directory; undefined when it does not exist. */
  isDirectory(path: string): boolean | undefined
}

/** What runs as its first program; absent for a sandbox that programs are added to. */
export interface SandboxProgram {
  readonly command: readonly string[]
  readonly environment: readonly string[]
  readonly cwd: string
  readonly terminal?: { readonly columns: number; readonly rows: number } | undefined
  readonly stdio: readonly [number, number, number]
}

/** Resolves a sandbox. Throws ERR_INVALID_OPTION, ERR_NO_CGROUP. */
export function resolveSandbox(
  options: DirectoryOptions,
  host: Host,
  request: SandboxRequest,
  program: SandboxProgram | undefined,
): StartSpec {
  const ownNetwork = resolveNetwork(options.network)
  const full = options.proc === 'full'
  const mounts = resolveMounts(options, request)
  const cgroup = resolveSandboxCgroup(options.limits ?? {}, host, request)
  return {
    name: request.name,
    lxcpath: '',
    runDir: '',
    foreground: true,
    minimalInit: true,
    ahead: false,
    trace: false,
    unshare: false,
    ephemeral: false,
    namespaces: ['user', 'mnt', 'pid', ...(ownNetwork ? (['net'] as const) : []), 'ipc', 'uts', 'cgroup'],
    joined: [],
    idmap: resolveIds(host, request),
    timeOffsets: [],
    cgroup,
    rootfs: resolveRootfs(options.rootfs ?? 'host', request),
    proc: true,
    procReadOnlySys: true,
    procHidden: !full,
    sysfs: 'none',
    cgroupfs: 'none',
    mounts,
    dev: resolveDev(program?.terminal !== undefined || program === undefined),
    console: resolveConsole(program),
    masked: full ? MASKED.filter(one => one.startsWith('/proc/')) : [],
    readOnly: full ? [...READ_ONLY] : [],
    hostname: options.hostname ?? 'sandbox',
    links: [],
    sysctls: [],
    procSettings: [],
    security: resolveSecurity(options, request, mounts),
    process: resolveProcess(request, program, guardOf(cgroup, request)),
    signals: { halt: 15, reboot: 15, stop: 9, parentDeath: 9 },
    hooks: [],
    callbacks: [],
    hookTimeoutMs: 0,
  }
}

/** Without a terminal there is no console: what writes to /dev/console finds none. */
function resolveConsole(program: SandboxProgram | undefined): ConsoleSpec {
  const [input, output, error] = program?.stdio ?? [-1, -1, -1]
  const pty = program?.terminal !== undefined
  return { pty, path: '', buffer: 0, log: '', logSize: 0, logRotate: false, input, output, error }
}

function resolveSecurity(
  options: DirectoryOptions,
  { filter }: SandboxRequest,
  mounts: readonly MountSpec[],
): SecuritySpec {
  return {
    capabilities: resolveCapabilities(options.capabilities),
    noNewPrivs: true,
    seccomp: filter,
    seccompNotify: false,
    apparmor: '',
    apparmorProfile: '',
    apparmorNamespace: '',
    selinux: '',
    selinuxKeyring: '',
    keyring: true,
    coreScheduling: false,
    landlock: resolveDomain({ writableRoot: false, mounts, network: true }),
  }
}

/** RLIMIT_NPROC: where no cgroup holds a fork bomb, its user namespace does; before Linux 5.14 it counted all of the user's processes. */
function guardOf({ files }: CgroupSpec, request: SandboxRequest): Rlimit[] {
  if (files.some(({ name }) => name === 'pids.max') || !request.countsInUserNamespace) return []
  return [{ resource: 6, soft: Number(DEFAULT_PIDS), hard: Number(DEFAULT_PIDS), bestEffort: false }]
}

function resolveProcess(request: SandboxRequest, program: SandboxProgram | undefined, guard: Rlimit[]): ProcessSpec {
  return {
    argv: [...(program?.command ?? [])],
    environment: [...(program?.environment ?? [])],
    cwd: program?.cwd ?? '/',
    uid: request.uid,
    gid: request.gid,
    groups: [...request.groups],
    rlimits: [NO_CORE, ...guard],
    terminal: program?.terminal !== undefined,
    columns: program?.terminal?.columns ?? 0,
    rows: program?.terminal?.rows ?? 0,
  }
}

/** PATH and HOME, what the sandbox adds, what the run adds. */
export function sandboxEnvironment(...added: readonly (Record<string, string> | undefined)[]): string[] {
  const all: Record<string, string> = Object.assign({ PATH: DEFAULT_PATH, HOME: '/tmp' }, ...added)
  return Object.entries(all).map(([name, value]) => `${name}=${value}`)
}

function resolveIds(host: Host, { ids, uid, gid }: SandboxRequest): IdMap {
  const map = { newuidmap: '', newgidmap: '' }
  if (ids !== undefined) {
    const extent = { container: 0, host: ids, range: 65_536 }
    return { ...map, uids: [extent], gids: [extent], denySetgroups: false, ownerUid: ids, ownerGid: ids }
  }
  return {
    ...map,
    uids: [{ container: uid, host: host.uid, range: 1 }],
    gids: [{ container: gid, host: host.gid, range: 1 }],
    denySetgroups: true,
  }
}

// ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const SAFE = ATTRIBUTE.nosuid | ATTRIBUTE.nodev

function resolveRootfs(rootfs: string, { view, ids }: SandboxRequest): RootfsSpec {
  const empty = rootfs === 'host' || rootfs === 'empty'
  if (!empty && !path.isAbsolute(rootfs)) {
    throw invalid(`rootfs ${JSON.stringify(rootfs)} is not an absolute path`, "give 'host', 'empty' or a directory")
  }
  return {
    path: empty ? '' : rootfs,
    lower: [],
    work: '',
    inMemory: false,
    memory: 0,
    idmapped: !empty && ids !== undefined,
    idmapPreferred: true,
    userNamespace: -1,
    attributes: ATTRIBUTE.rdonly | SAFE,
    options: [],
    image: '',
    imageType: '',
    empty,
    attachedAt: '',
    links: rootfs === 'host' ? [...view.links] : [],
    files: rootfs === 'host' ? [...view.files] : [],
  }
}

const MOUNT: Omit<MountSpec, 'source' | 'target'> = {
  type: '',
  recursive: true,
  relative: false,
  attributes: SAFE,
  cleared: 0,
  options: [],
  propagation: 'unchanged',
  create: 'dir',
  optional: false,
  idmap: 'none',
  userNamespace: -1,
}

/** A read-only bind of the host, for a view. */
export function bindOf(source: string, target: string, create: 'dir' | 'file'): MountSpec {
  return { ...MOUNT, source, target, create, attributes: SAFE | ATTRIBUTE.rdonly }
}

function resolveMounts(options: DirectoryOptions, request: SandboxRequest): MountSpec[] {
  const asked = [
    ...(options.tmpfs ?? []).map(one => resolveTmpfs(one)),
    ...(options.bind ?? []).map(one => resolveBind(one, request)),
  ]
  if (!asked.some(({ target }) => target === 'tmp')) asked.push(resolveTmpfs('/tmp'))
  // What lies above is mounted first; of two at one place the later one covers the earlier.
  const depth = ({ target }: MountSpec) => target.split('/').length
  const ordered = asked.toSorted((a, b) => depth(a) - depth(b))
  return [...(options.rootfs === undefined || options.rootfs === 'host' ? request.view.mounts : []), ...ordered]
}

function resolveTmpfs(tmpfs: string | { target: string; size?: number | string }): MountSpec {
  const { target, size = '64M' } = typeof tmpfs === 'string' ? { target: tmpfs } : tmpfs
  return {
    ...MOUNT,
    source: 'tmpfs',
    target: targetOf(target, 'a tmpfs'),
    type: 'tmpfs',
    recursive: false,
    // Each inode is a kilobyte of the kernel's memory, which `size` does not count.
    options: [
      { key: 'size', value: sizeOf(size) },
      { key: 'mode', value: '1777' },
      { key: 'nr_inodes', value: '262144' },
    ],
  }
}

function resolveBind(
  bind: string | { source: string; target?: string; write?: boolean },
  request: SandboxRequest,
): MountSpec {
  const given = typeof bind === 'string' ? { source: bind } : bind
  const { source, target = source, write = false } = given
  const directory = request.isDirectory(source)
  if (directory === undefined) {
    throw new ContainerError('ENOENT', `Cannot make a sandbox: ${source}, which is to be bound, does not exist`, {
      path: source,
    })
  }
  return {
    ...MOUNT,
    source,
    target: targetOf(target, `the bind of ${source}`),
    attributes: write ? SAFE : SAFE | ATTRIBUTE.rdonly,
    create: directory ? 'dir' : 'file',
    // What may be written must have the ids that are asked for; what is read is for those who may read it.
    idmap: request.ids === undefined ? 'none' : write ? 'container' : 'preferred',
  }
}

const NODES = [
  ['null', 3],
  ['zero', 5],
  ['full', 7],
  ['random', 8],
  ['urandom', 9],
] as const

function resolveDev(terminals: boolean): DevSpec {
  const character = 'c'.charCodeAt(0)
  const nodes = NODES.map(([name, minor]) => ({ name, type: character, major: 1, minor, mode: 0o666 }))
  return {
    tmpfs: true,
    size: 65_536,
    nodes: [...nodes, { name: 'tty', type: character, major: 5, minor: 0, mode: 0o666 }],
    pts: terminals ? 64 : 0,
    ttys: 0,
    ttyDir: '',
    shm: true,
    mqueue: false,
  }
}

// ── rights ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** NOROOT, NO_SETUID_FIXUP, KEEP_CAPS off, NO_CAP_AMBIENT_RAISE, each locked, capabilities(7). */
const SECUREBITS = 0xef

function resolveCapabilities(capabilities: SandboxOptions['capabilities']): CapabilitySpec {
  if (capabilities === undefined) return { bounding: 0, permitted: 0, effective: 0, ambient: 0, securebits: SECUREBITS }
  const names = capabilities.keep.map(name => name.toLowerCase().replace(/^cap_/, '') as CapabilityName)
  const unknown = names.find(name => !CAPABILITIES.includes(name))
  if (unknown !== undefined) throw invalid(`"${unknown}" is not a capability`, 'see capabilities(7)')
  const kept = maskOf(names)
  return { bounding: kept, permitted: kept, effective: kept, ambient: kept, securebits: 0 }
}

/** Whether it has one of its own. */
function resolveNetwork(network: SandboxOptions['network']): boolean {
  return network?.[0]?.type !== 'none'
}

// ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Counted in every sandbox, for its result; the v2 hierarchy kills, freezes and counts processor time. */
const COUNTED = ['pids', 'memory']
const DEFAULT_PIDS = '256'

/** The hierarchies that hold what is counted or limited, and no others: each costs a directory made, joined and removed. */
function resolveSandboxCgroup(limits: Limits, host: Host, { tag, keeps, hardware }: SandboxRequest): CgroupSpec {
  const settings = compileLimits(limits, hardware)
  const wanted = new Set([...COUNTED, ...settings.map(({ file }) => file.split('.')[0] as string)])
  if (wanted.has('io')) wanted.add('blkio')
  const hierarchies = host.cgroups.hierarchies.flatMap(({ version, mount, base }) => {
    const controllers = base?.controllers.filter(name => wanted.has(name)) ?? []
    if (base === undefined || (version === 1 && controllers.length === 0)) return []
    // Processes may not live beside cgroups that have controllers: what keeps the sandbox alive has one of its own.
    const inner = keeps && version === 2 && controllers.length > 0 ? 'init' : ''
    const own = { path: tag, monitorBase: '', monitor: '', inner, pivot: '', controllers, delegated: false }
    return [{ version, mount, base: base.path, ...own }]
  })
  const asked = settings.map(setting => ({ ...setting, version: 2 as const, key: setting.file, place: {} }))
  const files = placeFiles(asked, host.cgroups, hierarchies, host.root)
  const pids =
    limits.pids === undefined ? defaultFile({ file: 'pids.max', value: DEFAULT_PIDS }, hierarchies) : undefined
  return { hierarchies, files: pids === undefined ? files : [...files, pids], devices: [] }
}
