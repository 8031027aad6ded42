/**
 * Our default filters. Both are allow-lists: a call that is forbidden fails with EPERM, one that nobody listed (a newer kernel's) with
 * ENOSYS, so that C libraries fall back; x32 and every foreign architecture are killed, since their numbers mean other calls.
 *
 * `system` boots an init in namespaces of its own; `app` runs one program that administers nothing.
 */
import { constants } from 'node:os'
import { covered } from './architectures.ts'
import { ADMINISTRATION, CLOCK_STATE, EVERYDAY, FORBIDDEN, MOUNT_API, SYSTEM_V_IPC } from './calls.ts'
import {
  ALLOW,
  fail,
  int,
  KILL_PROCESS,
  type SeccompCondition,
  type SeccompPolicy,
  type SeccompStatement,
  type SeccompVerdict,
} from './statements.ts'

export type ProfileName = 'system' | 'app'

export interface ProfileOptions {
  /** Opens the mount API of Linux 5.2 in the system profile, for containers in the container; default false. */
  nesting?: boolean
  /**
   * Lets 32-bit programs make sockets by socketcall(2), where a filter cannot see the family (an LSM can); default true. C libraries
   * since 2016 call socket(2) itself.
   */
  compat32Sockets?: boolean
  /** System V message queues, semaphores and shared memory; default true. */
  systemVIpc?: boolean
  /** The host's own architecture, by any of its names; default: this one. */
  host?: string
}

const EPERM = fail(constants.errno.EPERM)
const ENOSYS = fail(constants.errno.ENOSYS)
const EAFNOSUPPORT = fail(constants.errno.EAFNOSUPPORT)

// linux/socket.h, linux/netlink.h
const AF = { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16, PACKET: 17 }
const NETLINK = { ROUTE: 0, SOCK_DIAG: 4, NETFILTER: 12, KOBJECT_UEVENT: 15, GENERIC: 16 }

/** Pushing input into a terminal (CVE-2013-6409 and many since), or pasting the console's selection: both reach another session. */
const TIOCSTI = 0x5412
const TIOCLINUX = 0x541c

/** CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; CLONE_NEWTIME's bit is part of clone(2)'s exit signal and means itself in unshare(2). */
const CLONE_NAMESPACES = 0x7e02_0000
const CLONE_NEWTIME = 0x80
const MNT_FORCE = 1

/** PER_LINUX, PER_LINUX32, each also with UNAME26; 0xffffffff asks. Others switch off ASLR or honour READ_IMPLIES_EXEC. */
const PERSONALITIES: Readonly<Record<ProfileName, readonly number[]>> = {
  system: [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff],
  app: [0, 0xffff_ffff],
}

const FAMILIES: Readonly<Record<ProfileName, readonly number[]>> = {
  system: [AF.UNIX, AF.INET, AF.INET6, AF.PACKET],
  app: [AF.UNIX, AF.INET, AF.INET6],
}
const NETLINK_PROTOCOLS: Readonly<Record<ProfileName, readonly number[]>> = {
  system: Object.values(NETLINK),
  app: [NETLINK.ROUTE],
}

/** The default filter of a profile for a host. */
export function defaultProfile(name: ProfileName, options: ProfileOptions = {}): SeccompPolicy {
  const rules = [
    ...sockets(name, options),
    ...terminals(),
    ...personalities(name),
    ...CONDITIONS[name],
    ...lists(name, options),
  ]
  return {
    defaultAction: ENOSYS,
    badArchitectureAction: KILL_PROCESS,
    architectures: covered(options.host),
    rules,
  }
}

function rule(
  syscalls: readonly string[],
  action: SeccompVerdict,
  ...conditions: SeccompCondition[]
): SeccompStatement {
  return { syscalls: [...syscalls], action, conditions, architectures: [] }
}

/** A condition that holds when any of the bits is set. */
function anyOf(index: number, bits: number): SeccompCondition {
  return { index, comparison: '!=', value: 0n, mask: BigInt(bits) }
}

function sockets(name: ProfileName, options: ProfileOptions): SeccompStatement[] {
  return [
    ...(options.compat32Sockets === false ? [] : [rule(['socketcall'], ALLOW)]),
    ...FAMILIES[name].map(family => rule(['socket'], ALLOW, int(0, family))),
    ...NETLINK_PROTOCOLS[name].map(protocol => rule(['socket'], ALLOW, int(0, AF.NETLINK), int(2, protocol))),
    rule(['socketpair'], ALLOW, int(0, AF.UNIX)),
    rule(['socket', 'socketpair'], EAFNOSUPPORT),
  ]
}

function terminals(): SeccompStatement[] {
  return [rule(['ioctl'], EPERM, int(1, TIOCSTI)), rule(['ioctl'], EPERM, int(1, TIOCLINUX)), rule(['ioctl'], ALLOW)]
}

function personalities(name: ProfileName): SeccompStatement[] {
  const allowed = PERSONALITIES[name].map(value => rule(['personality'], ALLOW, int(0, value)))
  return [...allowed, rule(['personality'], EPERM)]
}

/** What else is decided by an argument; the lists follow. */
const CONDITIONS: Readonly<Record<ProfileName, readonly SeccompStatement[]>> = {
  system: [
    rule(['umount2'], EPERM, anyOf(1, MNT_FORCE)),
    // UFFD_USER_MODE_ONLY (Linux 5.11): faults of the kernel's own accesses stay with the kernel.
    rule(['userfaultfd'], ALLOW, { index: 0, comparison: '==', value: 1n, mask: 1n }),
    rule(['userfaultfd'], EPERM),
    rule(['clone'], ALLOW),
  ],
  app: [
    // s390 takes the stack first.
    { ...rule(['clone'], EPERM, anyOf(1, CLONE_NAMESPACES)), architectures: ['s390', 's390x'] },
    { ...rule(['clone'], ALLOW), architectures: ['s390', 's390x'] },
    rule(['clone'], EPERM, anyOf(0, CLONE_NAMESPACES)),
    rule(['clone'], ALLOW),
    rule(['unshare'], EPERM, anyOf(0, CLONE_NAMESPACES | CLONE_NEWTIME)),
    rule(['unshare'], ALLOW),
    // Its flags are behind a pointer; C libraries take clone(2) when it is absent.
    rule(['clone3'], ENOSYS),
    rule(['userfaultfd'], EPERM),
  ],
}

function lists(name: ProfileName, options: ProfileOptions): SeccompStatement[] {
  const system = name === 'system'
  return [
    rule([...EVERYDAY, ...CLOCK_STATE], ALLOW),
    rule(SYSTEM_V_IPC, options.systemVIpc === false ? EPERM : ALLOW),
    rule(ADMINISTRATION, system ? ALLOW : EPERM),
    ...(system && options.nesting === true ? [rule(MOUNT_API, ALLOW)] : []),
    rule(FORBIDDEN, EPERM),
  ]
}
