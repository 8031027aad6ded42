/** A host and a start that resolve() is tested with: nothing of this machine. */
import type { Hierarchy } from '../../lib/host/cgroups.ts'
import type { Host } from '../../lib/host/host.ts'
import type { StartRequest } from '../../lib/spec/spec.ts'

const controllers = ['cpu', 'cpuset', 'io', 'memory', 'pids']
const base = { path: '', controllers, crowded: false }
const unified: Hierarchy = {
  version: 2,
  mount: '/cg',
  controllers,
  own: '/me',
  base,
  relative: { ...base, path: 'me' },
}
/** A host of cgroup v2 and root. */
export const HOST = {
  uid: 0,
  gid: 0,
  user: 'root',
  root: true,
  subuids: [],
  subgids: [],
  newuidmap: undefined,
  newgidmap: undefined,
  cgroups: { layout: 'v2', hierarchies: [unified], known: new Set(controllers) },
  lastCapability: 40,
  bootId: '0',
  throttles: [],
} as Host

/** A start of a container named web. */
export const REQUEST = {
  name: 'web',
  lxcpath: '/var/lib/lxc',
  runDir: '/run/caisson/x/web',
  tag: 'caisson.web.12345678',
  foreground: false,
  fstab: [],
  userNamespaces: new Map(),
  network: { links: [], mounts: [] },
  filter: { program: new Uint8Array(), notify: false },
  labels: { apparmor: '', apparmorProfile: '', apparmorNamespace: '', selinux: '', selinuxKeyring: '' },
  joined: [],
  configFile: '/var/lib/lxc/web/config',
  exists: () => false,
  environment: { HOME: '/root' },
} as unknown as StartRequest
