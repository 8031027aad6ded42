/**
 * THE table: one row for each key of LXC's config language. Parser, printer, types, completion, "did you mean" and
 * docs/config.md come from it; a new key is a new row here and nothing else.
 *
 * In a name `[i]` stands for a number and a final `*` for the rest of the name. The 112 keys of LXC 7 are here, and
 * `lxc.cgroup.*`, which LXC had up to version 6.
 */
import { architecture } from './arch.ts'
import { capability, keptCapability } from './capability.ts'
import { variable } from './environment.ts'
import { idMapLine } from './idmap.ts'
import { type Key, list, one, withDefault } from './key.ts'
import { bool, directoryName, hostname, nothing, path, relativePath, text, whole, word } from './kinds.ts'
import { logLevel, SYSLOG_FACILITIES } from './log.ts'
import { autoMount, autoMountSlot } from './mount_auto.ts'
import { mountLine } from './mount_entry.ts'
import { NAMESPACES, namespaceName } from './namespace.ts'
import {
  bitRate,
  bridgeVlan,
  gateway,
  hardwareAddress,
  interfaceName,
  ipv4Address,
  ipv6Address,
  linkName,
  route,
  upFlag,
  vlan,
} from './net_values.ts'
import { RESOURCES, type ResourceName, resourceLimit } from './prlimit.ts'
import { fileSystem, rootfsOptions, rootfsPath } from './rootfs.ts'
import { signal } from './signal.ts'
import { logSize, size } from './size.ts'
import { socketAddress } from './socket_address.ts'
import { timeOffset } from './time_offset.ts'

const command = text('a command line', 65536)
const line = text('text', 65536)
const HOOK_NAMES = [
  'lxc.hook.pre-start',
  'lxc.hook.pre-mount',
  'lxc.hook.mount',
  'lxc.hook.autodev',
  'lxc.hook.start-host',
  'lxc.hook.start',
  'lxc.hook.stop',
  'lxc.hook.post-stop',
  'lxc.hook.clone',
  'lxc.hook.destroy',
] as const
const RESOURCE_WORDS = Object.keys(RESOURCES) as readonly ResourceName[]

/** Rows with a list of names that end them: `family('lxc.prlimit.', names, row)` types each. */
function family<const P extends string, const M extends string, R>(
  pattern: P,
  members: readonly M[],
  row: R,
): { [K in P]: R & { members: readonly M[] } } {
  return { [pattern]: { ...row, members } } as { [K in P]: R & { members: readonly M[] } }
}

/** The keys of a container's config. */
export const CONTAINER_KEYS = {
  // Identity, includes, boot
  'lxc.include': list(path, {
    doc: 'Reads another file at this place, or every *.conf of a directory in the order of their names; a missing directory is no error.',
    since: '0.9',
    spec: 'config/file.ts',
  }),
  'lxc.uts.name': one(hostname, { doc: 'The host name inside.', since: '2.1', spec: 'hostname' }),
  'lxc.arch': one(architecture, {
    doc: 'The architecture that uname(2) shows inside: it chooses between the 32-bit and the 64-bit personality(2).',
    since: '0.9',
    spec: 'process.personality',
    empty: 'refuse',
  }),
  'lxc.init.cmd': withDefault(command, '/sbin/init', {
    doc: 'The command line of the first process, split at blanks.',
    since: '2.1',
    spec: 'process.argv',
  }),
  'lxc.execute.cmd': one(command, {
    doc: 'The command line that execute() runs when it is given none.',
    since: '3.0',
    spec: 'process.argv',
  }),
  'lxc.init.uid': withDefault(whole(), 0, {
    doc: 'The user id of the first process, inside.',
    since: '2.1',
    spec: 'process.uid',
  }),
  'lxc.init.gid': withDefault(whole(), 0, {
    doc: 'The group id of the first process, inside.',
    since: '2.1',
    spec: 'process.gid',
  }),
  'lxc.init.groups': list(whole(), {
    doc: 'Supplementary group ids of the first process, inside, separated by commas; without any the groups are dropped.',
    since: '4.0.10',
    spec: 'process.groups',
    split: 'comma',
  }),
  'lxc.init.cwd': one(path, {
    doc: 'The working directory of the first process, inside; / when unset.',
    since: '3.0',
    spec: 'process.cwd',
  }),
  'lxc.ephemeral': withDefault(bool, false, {
    doc: 'Whether the container is destroyed when it stops.',
    since: '2.0',
    spec: 'ephemeral',
  }),
  'lxc.signal.halt': withDefault(signal, 0, {
    doc: 'The signal that asks init to shut down; 0 chooses SIGPWR, or SIGRTMIN+3 for an init that listens to that.',
    since: '2.1',
    spec: 'signals.halt',
  }),
  'lxc.signal.reboot': withDefault(signal, 2, {
    doc: 'The signal that asks init to reboot; SIGINT when unset.',
    since: '2.1',
    spec: 'signals.reboot',
  }),
  'lxc.signal.stop': withDefault(signal, 9, {
    doc: 'The signal that ends the container at once; SIGKILL when unset.',
    since: '2.1',
    spec: 'signals.stop',
  }),
  'lxc.start.auto': withDefault(bool, false, {
    doc: 'Whether the container is started when the host boots.',
    since: '1.0',
    spec: 'container.ts',
  }),
  'lxc.start.delay': withDefault(whole(), 0, {
    doc: 'Seconds to wait after starting it before the next container is started.',
    since: '1.0',
    spec: 'container.ts',
  }),
  'lxc.start.order': withDefault(whole(-2147483648, 2147483647), 0, {
    doc: 'Its place in the order of starting: lower numbers start earlier; may be negative.',
    since: '1.0',
    spec: 'container.ts',
  }),
  'lxc.group': list(text('a name of a group'), {
    doc: 'Groups of containers it belongs to, separated by blanks; "onboot" is started first at boot.',
    since: '1.0',
    spec: 'container.ts',
    split: 'blank',
  }),
  'lxc.monitor.unshare': withDefault(whole(), 0, {
    doc: 'Not 0: the monitor gets a mount namespace of its own before the pre-start hooks run.',
    since: '2.0',
    spec: 'monitor',
  }),
  'lxc.monitor.signal.pdeath': withDefault(signal, 9, {
    doc: 'The signal that init gets when its monitor dies; 0 lets the container live on. Written empty it is 0.',
    since: '3.1',
    spec: 'signals.parent_death',
    empty: { value: 0 },
  }),
  'lxc.sched.core': withDefault(bool, false, {
    doc: 'Whether the container has a core-scheduling domain of its own, so that no other program shares a core with it.',
    since: '4.0.11',
    spec: 'security.core_scheduling',
  }),
  'lxc.log.level': withDefault(logLevel, 'ERROR', {
    doc: 'How much is logged, from TRACE (0) to FATAL (8).',
    since: '2.1',
    spec: 'container.ts',
  }),
  'lxc.log.file': one(path, { doc: 'The file that the log goes to.', since: '2.1', spec: 'container.ts' }),
  'lxc.log.syslog': one(word(...SYSLOG_FACILITIES), {
    doc: 'The syslog(3) facility that the log goes to.',
    since: '2.1',
    spec: 'container.ts',
  }),

  // Environment and hooks
  'lxc.environment': list(variable, {
    doc: 'An environment variable of init and of hooks; a name alone takes over the value of the caller when the container starts.',
    since: '1.1',
    spec: 'process.environment',
  }),
  'lxc.environment.runtime': list(variable, {
    doc: 'An environment variable of init alone.',
    since: '7.0',
    spec: 'process.environment',
  }),
  'lxc.environment.hooks': list(variable, {
    doc: 'An environment variable of hooks alone.',
    since: '7.0',
    spec: 'hooks',
  }),
  'lxc.hook.version': withDefault(whole(0, 1), 0, {
    doc: 'How hooks learn about the container: 0 by arguments, 1 by environment variables.',
    since: '3.0',
    spec: 'hooks',
  }),
  'lxc.hook': one(nothing, {
    doc: 'Takes no value; written empty it clears all hooks.',
    since: '1.1',
    spec: 'hooks',
    clears: HOOK_NAMES,
  }),
  'lxc.hook.pre-start': list(command, {
    doc: 'Runs on the host before anything of the container exists.',
    since: '0.9',
    spec: 'hooks',
  }),
  'lxc.hook.pre-mount': list(command, {
    doc: "Runs in the container's mount namespace before its root is mounted.",
    since: '0.9',
    spec: 'hooks',
  }),
  'lxc.hook.mount': list(command, {
    doc: 'Runs after all mounts, before the root is changed.',
    since: '0.9',
    spec: 'hooks',
  }),
  'lxc.hook.autodev': list(command, {
    doc: 'Runs after /dev is mounted, before its nodes are made.',
    since: '0.9',
    spec: 'hooks',
  }),
  'lxc.hook.start-host': list(command, {
    doc: 'Runs on the host when the container is set up, right before init.',
    since: '3.0',
    spec: 'hooks',
  }),
  'lxc.hook.start': list(command, {
    doc: 'Runs inside the container right before init; the program must exist there.',
    since: '0.9',
    spec: 'hooks',
  }),
  'lxc.hook.stop': list(command, {
    doc: "Runs on the host after init has ended, while the container's namespaces still exist.",
    since: '2.0',
    spec: 'hooks',
  }),
  'lxc.hook.post-stop': list(command, {
    doc: 'Runs on the host at the very end.',
    since: '0.9',
    spec: 'hooks',
  }),
  'lxc.hook.clone': list(command, {
    doc: 'Runs when the container is cloned, with the root of the copy mounted.',
    since: '1.0',
    spec: 'clone.ts',
  }),
  'lxc.hook.destroy': list(command, {
    doc: 'Runs before the container is deleted.',
    since: '2.0',
    spec: 'container.ts',
  }),

  // Root file system, /dev, mounts
  'lxc.rootfs.path': one(rootfsPath, {
    doc: 'The root file system, with its storage type and a colon before it if need be; without one the root of the host is shared.',
    since: '2.1',
    spec: 'rootfs.path',
  }),
  'lxc.rootfs.mount': one(path, {
    doc: 'The directory on which the root is mounted while the container is set up.',
    since: '0.9',
    spec: 'rootfs',
  }),
  'lxc.rootfs.options': one(rootfsOptions, {
    doc: 'Mount options of the root, among them idmap=container and idmap=/path/of/a/user/namespace.',
    since: '1.0',
    spec: 'rootfs.attributes',
  }),
  'lxc.rootfs.managed': withDefault(bool, true, {
    doc: 'Whether the storage is ours to change and to delete.',
    since: '3.1',
    spec: 'container.ts',
  }),
  'lxc.autodev': withDefault(bool, true, {
    doc: 'Whether /dev is a fresh tmpfs with a few nodes; written empty it is not.',
    since: '0.9',
    spec: 'dev.tmpfs',
    empty: { value: false },
  }),
  'lxc.autodev.tmpfs.size': withDefault(whole(0, 2147483647), 500000, {
    doc: 'Bytes that the tmpfs on /dev may hold.',
    since: '4.0',
    spec: 'dev.size',
  }),
  'lxc.mount.fstab': one(path, {
    doc: 'A file of mounts in the form of fstab(5).',
    since: '2.1',
    spec: 'mounts',
    empty: 'refuse',
  }),
  'lxc.mount.entry': list(mountLine, {
    doc: 'One mount, as a line of fstab(5), with the options create=dir, create=file, optional, relative and idmap= beside those of mount(8).',
    since: '1.0.8',
    spec: 'mounts',
  }),
  'lxc.mount.auto': list(autoMount, {
    doc: 'File systems mounted without an entry, separated by blanks; a later word about the same one replaces an earlier.',
    since: '1.0.8',
    spec: 'proc',
    split: 'blank',
    slot: autoMountSlot,
  }),

  // Console and terminals
  'lxc.console.path': one(path, {
    doc: 'A device used as the console, or none for no console; unset, the console is a pty.',
    since: '2.1',
    spec: 'console.path',
  }),
  'lxc.console.logfile': one(path, {
    doc: 'A file to which all output of the console is appended.',
    since: '1.0.6',
    spec: 'console.log',
  }),
  'lxc.console.rotate': withDefault(bool, false, {
    doc: 'Whether the full log file is moved to .1.',
    since: '3.0',
    spec: 'console.log_rotate',
  }),
  'lxc.console.size': withDefault(logSize, 0, {
    doc: 'The most bytes of the log file; 0 is unlimited.',
    since: '3.0',
    spec: 'console.log_size',
  }),
  'lxc.console.buffer.size': withDefault(logSize, 0, {
    doc: 'Bytes of console output that are kept in memory; 0 keeps none.',
    since: '3.0',
    spec: 'console.buffer',
  }),
  'lxc.tty.max': withDefault(whole(), 0, {
    doc: 'How many terminals /dev/tty1, /dev/tty2, … the container has.',
    since: '2.1',
    spec: 'dev.ttys',
  }),
  'lxc.tty.dir': one(text('a directory below /dev', 255), {
    doc: 'A directory below /dev for the real nodes of console and terminals, with links to them.',
    since: '2.1',
    spec: 'dev.tty_dir',
  }),
  'lxc.pty.max': withDefault(whole(), 0, {
    doc: 'The most ptys of a devpts of its own, beside those of console and ttys; 0: no devpts of its own.',
    since: '2.1',
    spec: 'dev.pts',
  }),

  // Namespaces, ids, limits, kernel settings
  'lxc.idmap': list(idMapLine, {
    doc: 'A range of ids inside and what they are on the host; without any the container is privileged.',
    since: '2.1',
    spec: 'idmap',
  }),
  'lxc.namespace.clone': list(namespaceName, {
    doc: 'The namespaces that are made, separated by blanks; unset, all that the kernel has. Excludes lxc.namespace.keep.',
    since: '3.0',
    spec: 'namespaces',
    split: 'blank',
  }),
  'lxc.namespace.keep': list(namespaceName, {
    doc: 'Namespaces that are not made but shared with the caller, separated by blanks.',
    since: '3.0',
    spec: 'namespaces',
    split: 'blank',
  }),
  ...family(
    'lxc.namespace.share.*',
    NAMESPACES,
    one(text('a process id, the name of a container, or the path of one'), {
      doc: 'A namespace taken over from a process or another container.',
      since: '3.0',
      spec: 'joined',
    }),
  ),
  'lxc.time.offset.boot': list(timeOffset, {
    doc: 'How far the boot clock inside is ahead: seconds (h, m, s) and nanoseconds (ms, us, ns) are set one by one.',
    since: '5.0',
    spec: 'time_offsets',
    slot: offset => offset.field,
  }),
  'lxc.time.offset.monotonic': list(timeOffset, {
    doc: 'How far the monotonic clock inside is ahead.',
    since: '5.0',
    spec: 'time_offsets',
    slot: offset => offset.field,
  }),
  ...family(
    'lxc.prlimit.*',
    RESOURCE_WORDS,
    one(resourceLimit, {
      doc: 'A resource limit of init, soft:hard; one value is both. The name may be a number.',
      since: '2.1',
      spec: 'process.rlimits',
      member: /^(1[0-5]|[0-9])$/,
    }),
  ),
  'lxc.sysctl.*': one(line, {
    doc: 'A value for a file below /proc/sys inside; dots of the name are slashes.',
    since: '3.0',
    spec: 'sysctls',
  }),
  'lxc.proc.*': list(line, {
    doc: 'A value for a file of init below /proc/PID; dots of the name are slashes.',
    since: '3.0',
    spec: 'proc_settings',
  }),
  'lxc.keyring.session': withDefault(bool, true, {
    doc: "Whether init gets a session keyring of its own (1); 0 shares the caller's. LXC documents this and does the reverse.",
    since: '4.0',
    spec: 'security.keyring',
  }),
  'lxc.no_new_privs': withDefault(bool, false, {
    doc: 'Whether set-user-id bits and file capabilities have no effect inside, prctl(2) PR_SET_NO_NEW_PRIVS.',
    since: '2.1',
    spec: 'security.no_new_privs',
  }),

  // Capabilities, security modules, seccomp
  'lxc.cap.drop': list(capability, {
    doc: 'Capabilities that are taken away, separated by blanks. Excludes lxc.cap.keep; written empty it clears both.',
    since: '0.9',
    spec: 'security.capabilities',
    split: 'blank',
    clears: ['lxc.cap.drop', 'lxc.cap.keep'],
  }),
  'lxc.cap.keep': list(keptCapability, {
    doc: 'The only capabilities that stay, separated by blanks; "none" forgets those before it, and alone keeps none.',
    since: '1.0',
    spec: 'security.capabilities',
    split: 'blank',
    reset: 'none',
    clears: ['lxc.cap.drop', 'lxc.cap.keep'],
  }),
  'lxc.apparmor.profile': one(text('the name of a profile, unconfined, unchanged or generated', 255), {
    doc: 'The AppArmor profile: a name, unconfined, unchanged, or generated for this container.',
    since: '2.1',
    spec: 'security.apparmor',
  }),
  'lxc.apparmor.allow_incomplete': withDefault(bool, false, {
    doc: 'Whether the container may start on a kernel whose AppArmor cannot mediate mounts.',
    since: '2.1',
    spec: 'lsm/apparmor.ts',
  }),
  'lxc.apparmor.allow_nesting': withDefault(bool, false, {
    doc: 'Whether the generated profile lets containers run inside the container.',
    since: '3.1',
    spec: 'lsm/apparmor.ts',
  }),
  'lxc.apparmor.raw': list(line, {
    doc: 'A line added to the generated profile.',
    since: '3.1',
    spec: 'lsm/apparmor.ts',
  }),
  'lxc.selinux.context': one(text('an SELinux context'), {
    doc: 'The SELinux context of init.',
    since: '2.1',
    spec: 'security.selinux',
  }),
  'lxc.selinux.context.keyring': one(text('an SELinux context'), {
    doc: "The SELinux context of init's keyring; unset, that of init.",
    since: '4.0',
    spec: 'security.selinux_keyring',
  }),
  'lxc.seccomp.profile': one(path, {
    doc: 'The file with the seccomp policy.',
    since: '2.1',
    spec: 'security.seccomp',
  }),
  'lxc.seccomp.allow_nesting': withDefault(bool, false, {
    doc: 'Whether the policy is loaded even where a filter is in force already.',
    since: '3.2',
    spec: 'security.seccomp',
  }),
  'lxc.seccomp.notify.proxy': one(socketAddress, {
    doc: 'The socket of a program that answers the system calls whose rule says notify.',
    since: '3.2',
    spec: 'seccomp/notify.ts',
  }),
  'lxc.seccomp.notify.cookie': one(line, {
    doc: 'Text handed to that program with every call.',
    since: '3.2',
    spec: 'seccomp/notify.ts',
  }),

  // Control groups
  'lxc.cgroup2.*': list(line, {
    doc: 'A value for a file of the container in the cgroup v2 hierarchy, written in the order of the lines; devices.allow and devices.deny make a device program.',
    since: '3.0',
    spec: 'cgroup.files',
    member: /^(?!(dir|relative)(\.|$))[A-Za-z0-9_][\w.-]*$/,
  }),
  'lxc.cgroup.*': list(line, {
    doc: 'A value for a file of the container in a cgroup v1 hierarchy; on a v2 host it is translated where there is an exact meaning.',
    since: '0.6',
    spec: 'cgroup.files',
    member: /^(?!(dir|relative|pattern|use)(\.|$))[A-Za-z0-9_][\w.-]*$/,
  }),
  'lxc.cgroup.dir': one(relativePath, {
    doc: "The cgroup below which the container's and the monitor's are made, relative to the hierarchy's base.",
    since: '2.1',
    spec: 'cgroup.hierarchies.path',
  }),
  'lxc.cgroup.dir.monitor': one(relativePath, {
    doc: 'The cgroup of the monitor; only together with lxc.cgroup.dir.container, and not with lxc.cgroup.dir.',
    since: '5.0',
    spec: 'cgroup.hierarchies.monitor',
  }),
  'lxc.cgroup.dir.monitor.pivot': one(relativePath, {
    doc: 'The cgroup to which the monitor moves when the container ends.',
    since: '5.0',
    spec: 'cgroup.hierarchies.monitor',
  }),
  'lxc.cgroup.dir.container': one(relativePath, {
    doc: 'The cgroup of the container; only together with lxc.cgroup.dir.monitor.',
    since: '5.0',
    spec: 'cgroup.hierarchies.path',
  }),
  'lxc.cgroup.dir.container.inner': one(directoryName, {
    doc: 'A directory below it that is the root of the cgroup namespace.',
    since: '5.0',
    spec: 'cgroup.hierarchies.inner',
  }),
  'lxc.cgroup.relative': withDefault(bool, false, {
    doc: "Whether the container's cgroup is made below the caller's own.",
    since: '3.1',
    spec: 'cgroup.hierarchies.base',
  }),

  // Network
  'lxc.net': one(nothing, {
    doc: 'Takes no value; written empty it removes all interfaces.',
    since: '2.1',
    spec: 'network',
    clears: ['caisson.net'],
  }),
  'lxc.net.[i]': one(nothing, {
    doc: 'Takes no value; written empty it removes this interface.',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].type': one(word('veth', 'macvlan', 'ipvlan', 'vlan', 'phys', 'empty', 'none'), {
    doc: 'The type of the interface; none shares the network of the host, empty has only the loopback. Stands first: it forgets what was said of the interface before.',
    since: '2.1',
    spec: 'network',
    begins: true,
  }),
  'lxc.net.[i].flags': one(upFlag, { doc: 'Any value sets the interface up.', since: '2.1', spec: 'network' }),
  'lxc.net.[i].link': one(linkName, {
    doc: 'The interface or bridge of the host it hangs on.',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].l2proxy': withDefault(bool, false, {
    doc: 'Whether the host answers ARP and NDP for its addresses on the link.',
    since: '3.2',
    spec: 'network',
  }),
  'lxc.net.[i].name': one(interfaceName, {
    doc: 'The name of the interface inside; eth0, eth1, … when unset.',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].hwaddr': one(hardwareAddress, {
    doc: 'The MAC address; each x is a random digit, drawn once and saved.',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].mtu': one(whole(0, 4294967295, 'a number of bytes'), {
    doc: 'The largest packet; that of the link when unset.',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].ipv4.address': list(ipv4Address, {
    doc: 'An IPv4 address with its prefix length (without one, by its class) and broadcast address.',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].ipv4.gateway': one(gateway(4), {
    doc: 'The IPv4 default gateway: an address, auto for that of the link, dev for a device route.',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].ipv6.address': list(ipv6Address, {
    doc: 'An IPv6 address with its prefix length (64 without one).',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].ipv6.gateway': one(gateway(6), {
    doc: 'The IPv6 default gateway: an address, auto or dev.',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].script.up': one(command, {
    doc: 'Runs on the host when the interface has been made.',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].script.down': one(command, {
    doc: 'Runs on the host before the interface is removed.',
    since: '2.1',
    spec: 'network',
  }),
  'lxc.net.[i].macvlan.mode': withDefault(word('private', 'vepa', 'bridge', 'passthru'), 'private', {
    doc: 'How interfaces on the same link see each other.',
    since: '2.1',
    spec: 'network',
    types: ['macvlan'],
  }),
  'lxc.net.[i].ipvlan.mode': withDefault(word('l3', 'l3s', 'l2'), 'l3', {
    doc: 'The layer at which packets are handed on.',
    since: '3.2',
    spec: 'network',
    types: ['ipvlan'],
  }),
  'lxc.net.[i].ipvlan.isolation': withDefault(word('bridge', 'private', 'vepa'), 'bridge', {
    doc: 'How interfaces on the same link see each other.',
    since: '3.2',
    spec: 'network',
    types: ['ipvlan'],
  }),
  'lxc.net.[i].vlan.id': one(vlan, {
    doc: 'The VLAN of the interface.',
    since: '2.1',
    spec: 'network',
    types: ['vlan'],
  }),
  'lxc.net.[i].veth.mode': withDefault(word('bridge', 'router'), 'bridge', {
    doc: 'Whether the host end hangs on a bridge, or the host routes to it.',
    since: '3.2',
    spec: 'network',
    types: ['veth'],
  }),
  'lxc.net.[i].veth.pair': one(interfaceName, {
    doc: 'The name of the host end; random when unset, and always for ordinary users.',
    since: '2.1',
    spec: 'network',
    types: ['veth'],
  }),
  'lxc.net.[i].veth.ipv4.route': list(route(4), {
    doc: 'An IPv4 network that the host routes to the container.',
    since: '3.2',
    spec: 'network',
    types: ['veth'],
  }),
  'lxc.net.[i].veth.ipv6.route': list(route(6), {
    doc: 'An IPv6 network that the host routes to the container.',
    since: '3.2',
    spec: 'network',
    types: ['veth'],
  }),
  'lxc.net.[i].veth.vlan.id': one(bridgeVlan, {
    doc: 'The untagged VLAN of the bridge port, or none; needs a bridge with vlan_filtering.',
    since: '5.0',
    spec: 'network',
    types: ['veth'],
  }),
  'lxc.net.[i].veth.vlan.tagged.id': list(vlan, {
    doc: 'A tagged VLAN of the bridge port.',
    since: '5.0',
    spec: 'network',
    types: ['veth'],
  }),
  'lxc.net.[i].veth.n_rxqueues': one(whole(1, 2147483647), {
    doc: 'How many receive queues the interface has.',
    since: '5.0',
    spec: 'network',
    types: ['veth'],
  }),
  'lxc.net.[i].veth.n_txqueues': one(whole(1, 2147483647), {
    doc: 'How many transmit queues the interface has.',
    since: '5.0',
    spec: 'network',
    types: ['veth'],
  }),
} as const satisfies Readonly<Record<string, Key>>

/** The keys of the global config, lxc.conf. */
export const GLOBAL_KEYS = {
  'lxc.lxcpath': one(path, {
    doc: 'The directory that containers live in; /var/lib/lxc, for ordinary users ~/.local/share/lxc.',
    since: '0.9',
    spec: 'store.ts',
  }),
  'lxc.default_config': one(path, {
    doc: 'The config that new containers begin with; /etc/lxc/default.conf, for ordinary users ~/.config/lxc/default.conf.',
    since: '0.9',
    spec: 'store.ts',
  }),
  'lxc.bdev.lvm.vg': withDefault(text('the name of a volume group', 127), 'lxc', {
    doc: 'The LVM volume group for containers.',
    since: '1.0',
    spec: 'storage/lvm.ts',
  }),
  'lxc.bdev.lvm.thin_pool': withDefault(text('the name of a thin pool', 127), 'lxc', {
    doc: 'The LVM thin pool for containers.',
    since: '1.0',
    spec: 'storage/lvm.ts',
  }),
  'lxc.bdev.zfs.root': withDefault(text('the name of a data set', 255), 'lxc', {
    doc: 'The ZFS data set below which containers live.',
    since: '1.0',
    spec: 'storage/zfs.ts',
  }),
  'lxc.bdev.rbd.rbdpool': withDefault(text('the name of a pool', 255), 'lxc', {
    doc: 'The Ceph pool for containers.',
    since: '2.0',
    spec: 'storage/rbd.ts',
  }),
  'lxc.bdev.rbd.rbduser': one(text('a user of Ceph', 255), {
    doc: 'The Ceph user that maps images.',
    since: '7.0',
    spec: 'storage/rbd.ts',
  }),
  'lxc.cgroup.pattern': one(relativePath, {
    doc: "The cgroup of a container that has no lxc.cgroup.dir; %n is the container's name.",
    since: '0.9',
    spec: 'cgroup.hierarchies.path',
  }),
  'lxc.cgroup.use': list(text('the name of a controller'), {
    doc: 'The v1 controllers that are used, separated by commas; all when unset. Means nothing on v2.',
    since: '1.0',
    spec: 'cgroup.hierarchies',
    split: 'comma',
  }),
} as const satisfies Readonly<Record<string, Key>>

/**
 * What the typed options can say and LXC has no word for. LXC passes over lines that do not begin with "lxc.", so that a
 * config with them still loads there.
 */
export const EXTENSION_KEYS = {
  'caisson.rootfs.fstype': one(fileSystem, {
    doc: 'The file system of a root of type loop or lvm; ext4 when unset. It is never found out by looking at what the image holds.',
    since: 'caisson 0.1',
    spec: 'rootfs.imageType',
  }),
  'caisson.overlay.tmpfs': one(size, {
    doc: 'Changes to an overlay are kept in memory, and are lost when the container stops or reboots: at most so much; 0 for half of the memory.',
    since: 'caisson 0.1',
    spec: 'rootfs.inMemory',
  }),
  'caisson.seccomp': one(text('default, nesting, none or the path of a file of rules', 4095), {
    doc: 'The seccomp filter where lxc.seccomp.profile is unset: default for ours, nesting for ours with the mount API, none, or the path of a JSON file of structured rules.',
    since: 'caisson 0.1',
    spec: 'security.seccomp',
  }),
  'caisson.net.[i].limit.ingress': one(bitRate, {
    doc: 'The most that the interface receives: bits per second with bit, kbit, Mbit or Gbit.',
    since: 'caisson 0.1',
    spec: 'network',
    types: ['veth'],
  }),
  'caisson.net.[i].limit.egress': one(bitRate, {
    doc: 'The most that the interface sends.',
    since: 'caisson 0.1',
    spec: 'network',
    types: ['veth'],
  }),
} as const satisfies Readonly<Record<string, Key>>
