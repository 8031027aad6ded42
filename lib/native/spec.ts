// Generated from include/spec.h and include/protocol.h by `npm run spec`; the headers say what each field means.

export interface NamespaceJoin {
  kind: 'user' | 'mnt' | 'pid' | 'net' | 'ipc' | 'uts' | 'cgroup' | 'time'
  descriptor: number
}

export interface IdMapExtent {
  container: number
  host: number
  range: number
}

export interface IdMap {
  uids: IdMapExtent[]
  gids: IdMapExtent[]
  newuidmap: string
  newgidmap: string
  denySetgroups: boolean
  ownerUid?: number | undefined
  ownerGid?: number | undefined
}

export interface TimeOffset {
  monotonic: boolean
  seconds: number
  nanoseconds: number
}

export interface CgroupHierarchy {
  version: number
  mount: string
  base: string
  path: string
  monitorBase: string
  monitor: string
  inner: string
  pivot: string
  controllers: string[]
  delegated: boolean
}

export interface CgroupFile {
  hierarchy: number
  name: string
  value: string
  optional: boolean
  fallbackName: string
  fallbackValue: string
}

export interface DeviceRule {
  allow: boolean
  type: number
  major: number
  minor: number
  access: string
}

export interface CgroupSpec {
  hierarchies: CgroupHierarchy[]
  files: CgroupFile[]
  devices: DeviceRule[]
  ownerUid?: number | undefined
  ownerGid?: number | undefined
  scope?: string | undefined
}

export interface Option {
  key: string
  value: string
}

export interface RootfsSpec {
  path: string
  lower: string[]
  work: string
  inMemory: boolean
  memory: number | bigint
  idmapped: boolean
  idmapPreferred: boolean
  userNamespace: number
  attributes: number | bigint
  options: Option[]
  image: string
  imageType: string
  empty: boolean
  links: Option[]
  files: Option[]
  attachedAt: string
}

export interface MountSpec {
  source: string
  target: string
  type: string
  recursive: boolean
  relative: boolean
  attributes: number | bigint
  cleared: number | bigint
  options: Option[]
  propagation: 'unchanged' | 'shared' | 'slave' | 'private' | 'unbindable'
  create: 'none' | 'dir' | 'file' | 'cover'
  optional: boolean
  idmap: 'none' | 'container' | 'descriptor' | 'preferred'
  userNamespace: number
}

export interface DeviceNode {
  name: string
  type: number
  major: number
  minor: number
  mode: number
}

export interface DevSpec {
  tmpfs: boolean
  size: number | bigint
  nodes: DeviceNode[]
  pts: number
  ttys: number
  ttyDir: string
  shm: boolean
  mqueue: boolean
}

export interface ConsoleSpec {
  pty: boolean
  path: string
  buffer: number | bigint
  log: string
  logSize: number | bigint
  logRotate: boolean
  input: number
  output: number
  error: number
}

export interface AddressSpec {
  address: Uint8Array
  prefix: number
  broadcast: Uint8Array
}

export interface RouteSpec {
  destination: Uint8Array
  prefix: number
  gateway: Uint8Array
  onLink: boolean
}

export interface ProxySpec {
  link: string
  address: Uint8Array
}

export interface Setting {
  path: string
  value: string
}

export interface PortSpec {
  isolated: boolean
  vlan?: number | undefined
  tagged: number[]
}

export interface SourceFilter {
  mac: Uint8Array
  addresses: Uint8Array[]
}

export interface RateSpec {
  ingress: number | bigint
  egress: number | bigint
  shaper: string
}

export interface HostProgram {
  argv: string[]
  environment: string[]
  pidAt: number
}

export interface LinkSpec {
  kind: 'veth' | 'macvlan' | 'ipvlan' | 'vlan' | 'phys' | 'bridge' | 'user'
  name: string
  hostName: string
  parent: string
  tag: string
  mac: Uint8Array
  hostMac: Uint8Array
  mtu: number
  hostMtu: number
  up: boolean
  mode: number
  flags: number
  vlan: number
  vlanFiltering: boolean
  rxQueues: number
  txQueues: number
  addresses: AddressSpec[]
  routes: RouteSpec[]
  hostRoutes: RouteSpec[]
  proxies: ProxySpec[]
  hostSettings: Setting[]
  port: PortSpec
  filter?: SourceFilter | undefined
  rate: RateSpec
  upPrograms: HostProgram[]
  downPrograms: HostProgram[]
}

export interface CapabilitySpec {
  bounding: number | bigint
  permitted: number | bigint
  effective: number | bigint
  ambient: number | bigint
  securebits: number
}

export interface LandlockPath {
  path: string
  access: number | bigint
}

export interface LandlockPort {
  port: number | bigint
  access: number | bigint
}

export interface LandlockSpec {
  handledAccess: number | bigint
  handledNetwork: number | bigint
  scoped: number | bigint
  paths: LandlockPath[]
  ports: LandlockPort[]
  required: boolean
}

export interface SecuritySpec {
  capabilities: CapabilitySpec
  noNewPrivs: boolean
  seccomp: Uint8Array
  seccompNotify: boolean
  apparmor: string
  apparmorProfile: string
  apparmorNamespace: string
  selinux: string
  selinuxKeyring: string
  keyring: boolean
  landlock?: LandlockSpec | undefined
  coreScheduling: boolean
}

export interface Rlimit {
  resource: number
  soft: number | bigint
  hard: number | bigint
  bestEffort: boolean
}

export interface ProcessSpec {
  argv: string[]
  environment: string[]
  cwd: string
  uid: number
  gid: number
  groups: number[]
  umask?: number | undefined
  oomScoreAdj?: number | undefined
  personality?: number | undefined
  rlimits: Rlimit[]
  terminal: boolean
  columns: number
  rows: number
}

export interface SignalSpec {
  halt: number
  reboot: number
  stop: number
  parentDeath: number
}

export interface HookSpec {
  point: 'pre-start' | 'start-host' | 'pre-mount' | 'mount' | 'autodev' | 'start' | 'stop' | 'post-stop' | 'destroy'
  argv: string[]
  environment: string[]
  byEnvironment: boolean
}

export interface LogSpec {
  file: string
  level: number
  facility?: number | undefined
}

export interface SyscallProxySpec {
  address: string
  abstract: boolean
  cookie: string
}

export interface StartSpec {
  name: string
  lxcpath: string
  runDir: string
  foreground: boolean
  minimalInit: boolean
  ahead: boolean
  trace: boolean
  unshare: boolean
  namespaces: ('user' | 'mnt' | 'pid' | 'net' | 'ipc' | 'uts' | 'cgroup' | 'time')[]
  joined: NamespaceJoin[]
  ephemeral: boolean
  idmap: IdMap
  timeOffsets: TimeOffset[]
  cgroup: CgroupSpec
  rootfs: RootfsSpec
  proc: boolean
  procReadOnlySys: boolean
  procHidden: boolean
  sysfs: 'none' | 'readOnly' | 'mixed' | 'readWrite'
  cgroupfs: 'none' | 'readOnly' | 'readWrite'
  mounts: MountSpec[]
  dev: DevSpec
  console: ConsoleSpec
  masked: string[]
  readOnly: string[]
  hostname: string
  links: LinkSpec[]
  sysctls: Setting[]
  procSettings: Setting[]
  security: SecuritySpec
  process: ProcessSpec
  signals: SignalSpec
  hooks: HookSpec[]
  callbacks: ('pre-start' | 'start-host' | 'pre-mount' | 'mount' | 'autodev' | 'start' | 'stop' | 'post-stop' | 'destroy')[]
  hookTimeoutMs: number
  log?: LogSpec | undefined
  syscallProxy?: SyscallProxySpec | undefined
}

export interface AttachSpec {
  keepGroups: boolean
  firstUid: number
  firstGid: number
  ownPids: boolean
  remount: boolean
  runDir?: string | undefined
  ownCgroup: boolean
  init: number
  namespaces: ('user' | 'mnt' | 'pid' | 'net' | 'ipc' | 'uts' | 'cgroup' | 'time')[]
  cgroup: CgroupSpec
  security: SecuritySpec
  process: ProcessSpec
  input: number
  output: number
  error: number
}

export interface InsideSpec {
  init: number
  user: boolean
  keepGroups: boolean
  cgroup: CgroupSpec
  mounts: MountSpec[]
  unmounts: string[]
  removals: string[]
}

export interface LinkRequest {
  user: number
  netns: number
  remove: LinkSpec[]
  create: LinkSpec[]
  shape: LinkSpec[]
  unpin: string
  list: boolean
  watch: boolean
}

export interface ConfineSpec {
  through: string
  below: string
  ownRoot: boolean
  programs: string[]
  tree: string
  readOnly: boolean
  at: string
  atDirectory: boolean
  landlock?: LandlockSpec | undefined
  seccomp: Uint8Array
  capabilities: number | bigint
}

export interface ViewSpec {
  rootfs: RootfsSpec
  idmap: IdMap
  at: string
}

export interface Request {
  id: number
  verb: 'state' | 'subscribe' | 'spec' | 'signal' | 'stop' | 'kill' | 'reboot' | 'freeze' | 'thaw' | 'console' | 'log' | 'listener' | 'answered'
  number: number
  timeoutMs: number
}

export interface Failure {
  step: string
  call: string
  number: number
  path: string
  detail: string
  code: string
}

export interface ExitRecord {
  code?: number | undefined
  signal?: number | undefined
  oomKilled: boolean
  pidsLimitHit: boolean
  atMs: number
  cpuUsec?: number | bigint | undefined
  memoryPeak?: number | bigint | undefined
  pidsPeak?: number | bigint | undefined
}

export interface TraceEntry {
  step: string
  guest: boolean
  nanoseconds: number | bigint
}

export interface AddressState {
  address: Uint8Array
  prefix: number
  scope: number
  flags: number
}

export interface LinkState {
  index: number
  name: string
  kind: string
  alias: string
  mac: Uint8Array
  mtu: number
  flags: number
  operational: number
  master: number
  peer: number
  addresses: AddressState[]
  rxBytes: number | bigint
  txBytes: number | bigint
  rxPackets: number | bigint
  txPackets: number | bigint
  rxErrors: number | bigint
  txErrors: number | bigint
  rxDropped: number | bigint
  txDropped: number | bigint
  rate: number | bigint
}

export interface Report {
  kind: 'reply' | 'started' | 'failed' | 'state' | 'exited' | 'links' | 'listener' | 'ask'
  id: number
  state: 'STOPPED' | 'STARTING' | 'RUNNING' | 'STOPPING' | 'ABORTING' | 'FREEZING' | 'FROZEN' | 'THAWED'
  pid: number
  error?: Failure | undefined
  cleanup: Failure[]
  exit?: ExitRecord | undefined
  step: string
  trace: TraceEntry[]
  data: Uint8Array
  links: LinkState[]
}

export interface SeccompVerdict {
  kind: 'allow' | 'log' | 'notify' | 'errno' | 'trap' | 'kill' | 'kill-process'
  number: number
}

export interface SeccompCondition {
  index: number
  comparison: '==' | '!=' | '<' | '<=' | '>' | '>='
  value: number | bigint
  mask: number | bigint
}

export interface SeccompStatement {
  syscalls: string[]
  action: SeccompVerdict
  conditions: SeccompCondition[]
  architectures: string[]
}

export interface SeccompPolicy {
  defaultAction: SeccompVerdict
  badArchitectureAction: SeccompVerdict
  architectures: string[]
  rules: SeccompStatement[]
}

export interface SeccompProgram {
  program: Uint8Array
  unknown: string[]
}

export interface SyscallCall {
  id: number | bigint
  pid: number
  architecture: number
  number: number
  name: string
  arguments: (number | bigint)[]
}
