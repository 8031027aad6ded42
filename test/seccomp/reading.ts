/**
 * A policy read plainly, with nothing of the compiler: numbers come from the kernel's own headers, rules are tried one by one. What the
 * compiler makes of the policy must agree on every call.
 */
import { existsSync, readFileSync } from 'node:fs'
import type { SeccompCondition, SeccompPolicy, SeccompVerdict } from '../../lib/seccomp/statements.ts'
import type { Call } from './evaluator.ts'

/** AUDIT_ARCH_*, linux/audit.h. */
export const ARCH = { x86_64: 0xc000_003e, x86: 0x4000_0003, aarch64: 0xc000_00b7 }
export const X32_BIT = 0x4000_0000

/** SECCOMP_RET_*, linux/seccomp.h. */
const RETURNS: Readonly<Record<SeccompVerdict['kind'], number>> = {
  allow: 0x7fff_0000,
  log: 0x7ffc_0000,
  notify: 0x7fc0_0000,
  errno: 0x0005_0000,
  trap: 0x0003_0000,
  kill: 0,
  'kill-process': 0x8000_0000,
}

/** Newer than the headers of the oldest distribution we build on. */
const NEWER = [
  'cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount lsm_get_self_attr',
  'lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr',
  'file_setattr',
].flatMap(line => line.split(' '))
const FIRST_NEWER = 451

/** The calls that i386 makes through socketcall(2), by linux/net.h, and ipc(2), by linux/ipc.h. */
const SOCKETCALLS = [
  '- socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown setsockopt',
  'getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg',
].flatMap(line => line.split(' '))
const IPCS = Object.entries({
  semop: 1,
  semget: 2,
  semctl: 3,
  semtimedop: 4,
  msgsnd: 11,
  msgrcv: 12,
  msgget: 13,
  msgctl: 14,
}).concat(Object.entries({ shmat: 21, shmdt: 22, shmget: 23, shmctl: 24 }))
const MULTIPLEXED: Readonly<Record<string, ReadonlyMap<bigint, string>>> = {
  socketcall: new Map(SOCKETCALLS.map((name, i) => [BigInt(i), name])),
  ipc: new Map(IPCS.map(([name, number]) => [BigInt(number), name])),
}

function readHeader(file: string): Map<string, number> {
  const path = [`/usr/include/x86_64-linux-gnu/asm/${file}`, `/usr/include/asm/${file}`].find(existsSync)
  if (path === undefined) throw new Error(`no kernel header ${file}; install linux-libc-dev`)
  const table = new Map(NEWER.map((name, i) => [name, FIRST_NEWER + i]))
  for (const [, name, number] of readFileSync(path, 'utf8').matchAll(/^#define __NR_(\w+) (\d+)$/gm)) {
    table.set(name as string, Number(number))
  }
  return table
}

/** Name → number, of the two tables that an x86-64 kernel has. */
export const NUMBERS: Readonly<Record<'x86_64' | 'x86', ReadonlyMap<string, number>>> = {
  x86_64: readHeader('unistd_64.h').set('uretprobe', 335).set('uprobe', 336),
  x86: readHeader('unistd_32.h'),
}
const NAMES = {
  x86_64: new Map([...NUMBERS.x86_64].map(([name, number]) => [number, name])),
  x86: new Map([...NUMBERS.x86].map(([name, number]) => [number, name])),
}

export function nameOf(architecture: 'x86_64' | 'x86', nr: number): string | undefined {
  return NAMES[architecture].get(nr)
}

/** What the policy says of a call, as the kernel's return value. */
export function read(policy: SeccompPolicy, call: Call): number {
  const architecture = call.arch === ARCH.x86_64 ? 'x86_64' : call.arch === ARCH.x86 ? 'x86' : undefined
  // -1 is no call: a tracer sets it to skip one.
  const x32 = architecture === 'x86_64' && call.nr >= X32_BIT && call.nr !== 0xffff_ffff
  if (architecture === undefined || x32 || !policy.architectures.includes(architecture)) {
    return value(policy.badArchitectureAction)
  }
  const name = nameOf(architecture, call.nr)
  const within = architecture === 'x86' ? multiplexed(name, call) : undefined
  for (const rule of policy.rules) {
    if (rule.architectures.length > 0 && !rule.architectures.includes(architecture)) continue
    const direct = name !== undefined && rule.syscalls.includes(name) && rule.conditions.every(one => holds(one, call))
    const covered = within !== undefined && rule.syscalls.includes(within) && rule.conditions.length === 0
    if (direct || covered) return value(rule.action)
  }
  return value(policy.defaultAction)
}

function multiplexed(name: string | undefined, call: Call): string | undefined {
  const first = call.args[0] as bigint
  if (name === 'socketcall') return MULTIPLEXED.socketcall?.get(first & 0xffff_ffffn)
  if (name === 'ipc') return MULTIPLEXED.ipc?.get(first & 0xffffn)
  return undefined
}

function holds(condition: SeccompCondition, call: Call): boolean {
  const left = (call.args[condition.index] as bigint) & BigInt(condition.mask)
  const right = BigInt(condition.value)
  const results = {
    '==': left === right,
    '!=': left !== right,
    '<': left < right,
    '<=': left <= right,
    '>': left > right,
  }
  return condition.comparison === '>=' ? left >= right : results[condition.comparison]
}

export function value(action: SeccompVerdict): number {
  return RETURNS[action.kind] + action.number
}
