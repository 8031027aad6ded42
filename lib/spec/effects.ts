/**
 * What becomes of each key of a config: every one has a row, so that none is ignored in silence. A value whose effect this library does
 * not have is refused, with the reason.
 */
import type { Config, Entry } from '../config/config.ts'
import type { CONTAINER_KEYS, EXTENSION_KEYS } from '../config/keys.ts'
import type { AutoMount } from '../config/mount_auto.ts'
import { ContainerError, type ErrorCode } from '../errors.ts'

export type EffectKey = keyof typeof CONTAINER_KEYS | keyof typeof EXTENSION_KEYS

/** Values that are refused. */
export interface Refusal {
  readonly reason: string
  asks(entry: Entry, config: Config): boolean
}

export type Effect =
  /** It changes the Spec, except for values that are refused. */
  | { readonly in: 'spec'; readonly refusal?: Refusal }
  /** The module that acts on it, outside the Spec or before it is made. */
  | { readonly in: 'module'; readonly module: string }
  /** What it asks for is so in any case. */
  | { readonly in: 'always'; readonly always: string }

const spec: Effect = { in: 'spec' }
const except = (reason: string, asks: Refusal['asks']): Effect => ({ in: 'spec', refusal: { reason, asks } })
const module = (name: string): Effect => ({ in: 'module', module: name })

/** In a cgroup namespace of its own the container's cgroup is the root of the tree: then cgroup-full shows what cgroup does. */
const keepsCgroups = (config: Config): boolean => {
  const cloned = config.value('lxc.namespace.clone')
  return config.value('lxc.namespace.keep').includes('cgroup') || (cloned.length > 0 && !cloned.includes('cgroup'))
}
/** It changes the links of the Spec, which are resolved apart. */
const network = module('spec/network.ts')
const apparmor = module('lsm/apparmor.ts')
const selinux = module('lsm/selinux.ts')

/** A row for each key. */
export const EFFECTS: Readonly<Record<EffectKey, Effect>> = {
  'lxc.include': module('config/file.ts'),
  'lxc.uts.name': spec,
  'lxc.arch': spec,
  'lxc.init.cmd': spec,
  'lxc.execute.cmd': module('execute.ts'),
  'lxc.init.uid': spec,
  'lxc.init.gid': spec,
  'lxc.init.groups': spec,
  'lxc.init.cwd': spec,
  'lxc.ephemeral': spec,
  'lxc.signal.halt': spec,
  'lxc.signal.reboot': spec,
  'lxc.signal.stop': spec,
  'lxc.start.auto': module('examples/lxc-autostart.ts'),
  'lxc.start.delay': module('examples/lxc-autostart.ts'),
  'lxc.start.order': module('examples/lxc-autostart.ts'),
  'lxc.group': module('examples/lxc-autostart.ts'),
  'lxc.monitor.unshare': spec,
  'lxc.monitor.signal.pdeath': spec,
  'lxc.sched.core': spec,
  'lxc.log.level': spec,
  'lxc.log.file': spec,
  'lxc.log.syslog': spec,
  'lxc.environment': spec,
  'lxc.environment.runtime': spec,
  'lxc.environment.hooks': spec,
  'lxc.hook.version': spec,
  'lxc.hook': module('config/state.ts'),
  'lxc.hook.pre-start': spec,
  'lxc.hook.pre-mount': spec,
  'lxc.hook.mount': spec,
  'lxc.hook.autodev': spec,
  'lxc.hook.start-host': spec,
  'lxc.hook.start': spec,
  'lxc.hook.stop': spec,
  'lxc.hook.post-stop': spec,
  'lxc.hook.clone': module('hooks.ts'),
  'lxc.hook.destroy': module('hooks.ts'),
  'lxc.rootfs.path': spec,
  'lxc.rootfs.mount': spec,
  'lxc.rootfs.options': spec,
  'lxc.rootfs.managed': module('rootfs.ts'),
  'lxc.autodev': spec,
  'lxc.autodev.tmpfs.size': spec,
  'lxc.mount.fstab': module('start.ts'),
  'lxc.mount.entry': spec,
  'lxc.mount.auto': except('trees of cgroups above the container’s own are not shown', ({ value }, config) => {
    return (value as AutoMount).kind === 'cgroup-full' && keepsCgroups(config)
  }),
  'lxc.console.path': spec,
  'lxc.console.logfile': spec,
  'lxc.console.rotate': spec,
  'lxc.console.size': spec,
  'lxc.console.buffer.size': spec,
  'lxc.tty.max': spec,
  'lxc.tty.dir': spec,
  'lxc.pty.max': spec,
  'lxc.idmap': spec,
  'lxc.namespace.clone': spec,
  'lxc.namespace.keep': spec,
  'lxc.namespace.share.*': module('namespaces.ts'),
  'lxc.time.offset.boot': spec,
  'lxc.time.offset.monotonic': spec,
  'lxc.prlimit.*': spec,
  'lxc.sysctl.*': spec,
  'lxc.proc.*': spec,
  'lxc.keyring.session': spec,
  'lxc.no_new_privs': spec,
  'lxc.cap.drop': spec,
  'lxc.cap.keep': spec,
  'lxc.apparmor.profile': apparmor,
  'lxc.apparmor.allow_incomplete': apparmor,
  'lxc.apparmor.allow_nesting': apparmor,
  'lxc.apparmor.raw': apparmor,
  'lxc.selinux.context': selinux,
  'lxc.selinux.context.keyring': selinux,
  'lxc.seccomp.profile': module('filter.ts'),
  'lxc.seccomp.allow_nesting': { in: 'always', always: 'a filter is loaded beside those that are in force' },
  'lxc.seccomp.notify.proxy': spec,
  'lxc.seccomp.notify.cookie': spec,
  'lxc.cgroup2.*': spec,
  'lxc.cgroup.*': spec,
  'lxc.cgroup.dir': spec,
  'lxc.cgroup.dir.monitor': spec,
  'lxc.cgroup.dir.monitor.pivot': spec,
  'lxc.cgroup.dir.container': spec,
  'lxc.cgroup.dir.container.inner': spec,
  'lxc.cgroup.relative': spec,
  'lxc.net': module('config/state.ts'),
  'lxc.net.[i]': module('config/state.ts'),
  'lxc.net.[i].type': network,
  'lxc.net.[i].flags': network,
  'lxc.net.[i].link': network,
  'lxc.net.[i].l2proxy': network,
  'lxc.net.[i].name': network,
  'lxc.net.[i].hwaddr': network,
  'lxc.net.[i].mtu': network,
  'lxc.net.[i].ipv4.address': network,
  'lxc.net.[i].ipv4.gateway': network,
  'lxc.net.[i].ipv6.address': network,
  'lxc.net.[i].ipv6.gateway': network,
  'lxc.net.[i].script.up': network,
  'lxc.net.[i].script.down': network,
  'lxc.net.[i].macvlan.mode': network,
  'lxc.net.[i].ipvlan.mode': network,
  'lxc.net.[i].ipvlan.isolation': network,
  'lxc.net.[i].vlan.id': network,
  'lxc.net.[i].veth.mode': network,
  'lxc.net.[i].veth.pair': network,
  'lxc.net.[i].veth.ipv4.route': network,
  'lxc.net.[i].veth.ipv6.route': network,
  'lxc.net.[i].veth.vlan.id': network,
  'lxc.net.[i].veth.vlan.tagged.id': network,
  'lxc.net.[i].veth.n_rxqueues': network,
  'lxc.net.[i].veth.n_txqueues': network,
  'caisson.overlay.tmpfs': spec,
  'caisson.rootfs.fstype': spec,
  'caisson.seccomp': module('filter.ts'),
  'caisson.net.[i].limit.ingress': network,
  'caisson.net.[i].limit.egress': network,
}

/**
 * Throws, with its place, for the first line that would have no effect: ERR_CONFIG_UNSUPPORTED when what it asks for is
 * refused, ERR_CONFIG_CONFLICT when its interface is of another type.
 */
export function checkEffects(config: Config): void {
  for (const entry of config.entries()) {
    const effect = EFFECTS[entry.pattern as EffectKey]
    const refusal = effect.in === 'spec' ? effect.refusal : undefined
    refuseMisplaced(entry, config)
    if (refusal?.asks(entry, config)) {
      throw refused(
        'ERR_CONFIG_UNSUPPORTED',
        entry,
        refusal.reason,
        'remove the line, if the container can do without it',
      )
    }
  }
}

/** LXC refuses the line already when it reads it, and only if the type stands before. */
function refuseMisplaced(entry: Entry, config: Config): void {
  if (entry.index === undefined) return
  const type = config.value(`lxc.net.${entry.index}.type`)
  const { types } = entry.key
  if (type === undefined) {
    const hint = `set lxc.net.${entry.index}.type before it`
    throw refused('ERR_CONFIG_CONFLICT', entry, 'the interface has no type', hint)
  }
  if (types === undefined || types.includes(type)) return
  throw refused(
    'ERR_CONFIG_CONFLICT',
    entry,
    `the interface is of type ${type}`,
    `the key is for type ${types.join(', ')}`,
  )
}

function refused(code: ErrorCode, { name, text, line }: Entry, state: string, hint: string): ContainerError {
  return new ContainerError(code, `Cannot start with "${name} = ${text}": ${state}`, {
    hint,
    file: line.file,
    line: line.number,
    column: line.setting?.keyColumn,
  })
}
