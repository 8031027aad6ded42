/** Typed rules, the `seccomp: { rules, defaultAction }` of a container's options, to statements. Everything unknown is refused. */
import { constants } from 'node:os'
import { ContainerError, nearest, refuseUnknown } from '../errors.ts'
import { architectureOf, covered, nearestArchitecture, runnable } from './architectures.ts'
import { SYSCALL_NAMES } from './names.ts'
import {
  KILL_PROCESS,
  MASK_64,
  type SeccompCondition,
  type SeccompPolicy,
  type SeccompStatement,
  type SeccompVerdict,
} from './statements.ts'

/**
 * What a filter answers, seccomp(2): let the call through, kill the thread or the process, send SIGSYS, log and let through (Linux
 * 4.14), ask `Container.onSyscall` (Linux 5.0), or fail with an errno, by name or number.
 */
export type SeccompAction = 'allow' | 'kill' | 'kill-process' | 'trap' | 'log' | 'notify' | { errno: number | string }

/** One condition on an argument: `(argument & mask) <op> value`, unsigned, on 64 bits. */
export interface SeccompArgument {
  index: 0 | 1 | 2 | 3 | 4 | 5
  /** `&` is `(argument & mask) == value`, where the mask is `value` unless given: all of its bits are set. */
  op: '==' | '!=' | '<' | '<=' | '>' | '>=' | '&'
  value: number | bigint
  /** Default: all 64 bits; for an `int` argument, of which the kernel reads 32 bits only, give 0xffffffff. */
  mask?: number | bigint
}

/** One rule. Rules are read in order, and the first whose architecture, call and arguments all match decides. */
export interface SeccompRule {
  /** A system call's name, or several. On i386 a rule without `args` covers the call's form in socketcall(2) and ipc(2) too. */
  syscall: string | readonly string[]
  action: SeccompAction
  /** All must hold; at most 24. */
  args?: readonly SeccompArgument[]
  /** Only these architectures, by LXC's, the kernel's or Node's name; default: the host's own and its 32-bit one. */
  arch?: readonly string[]
}

export interface SeccompRules {
  rules: readonly SeccompRule[]
  /** For calls that no rule matches. */
  defaultAction: SeccompAction
}

const COMPARISONS = ['==', '!=', '<', '<=', '>', '>='] as const
const SIMPLE: readonly string[] = ['allow', 'kill', 'kill-process', 'trap', 'log', 'notify']
const ERRNOS: Readonly<Record<string, number>> = constants.errno
const MAX_ERRNO = 4095
const MAX_CONDITIONS = 24

/** Resolves typed rules for a host. Throws ERR_INVALID_OPTION, naming the nearest known name. */
export function resolveRules(options: SeccompRules, host: string = process.arch): SeccompPolicy {
  refuseUnknown(options, ['rules', 'defaultAction'], 'seccomp')
  const known = runnable(host)
  const rules = options.rules.flatMap((rule, i) => {
    const statement = resolveRule(rule, `seccomp.rules[${i}]`)
    const architectures = statement.architectures.filter(name => known.includes(name))
    // A rule for architectures that this host does not run has nothing to match.
    return rule.arch !== undefined && architectures.length === 0 ? [] : [{ ...statement, architectures }]
  })
  const architectures = [...new Set([...covered(host), ...rules.flatMap(rule => rule.architectures)])]
  const defaultAction = resolveAction(options.defaultAction, 'seccomp.defaultAction')
  return { defaultAction, badArchitectureAction: KILL_PROCESS, architectures, rules }
}

function resolveRule(rule: SeccompRule, where: string): SeccompStatement {
  refuseUnknown(rule, ['syscall', 'action', 'args', 'arch'], where)
  const syscalls = typeof rule.syscall === 'string' ? [rule.syscall] : [...rule.syscall]
  for (const name of syscalls) {
    if (!SYSCALL_NAMES.has(name)) throw unknown('system call', name, where, nearest(name, SYSCALL_NAMES))
  }
  const architectures = (rule.arch ?? []).map(name => {
    const known = architectureOf(name)
    if (known === undefined) throw unknown('architecture', name, where, nearestArchitecture(name))
    return known
  })
  if ((rule.args?.length ?? 0) > MAX_CONDITIONS) throw invalid(where, `more than ${MAX_CONDITIONS} args`)
  const conditions = (rule.args ?? []).map((argument, i) => resolveArgument(argument, `${where}.args[${i}]`))
  return { syscalls, action: resolveAction(rule.action, `${where}.action`), conditions, architectures }
}

function resolveAction(action: SeccompAction, where: string): SeccompVerdict {
  if (typeof action === 'string') {
    if (SIMPLE.includes(action)) return { kind: action, number: 0 }
    throw unknown('action', action, where, nearest(action, SIMPLE))
  }
  refuseUnknown(action, ['errno'], where)
  const number = typeof action.errno === 'string' ? ERRNOS[action.errno] : action.errno
  if (number === undefined)
    throw unknown('errno', String(action.errno), where, nearest(String(action.errno), Object.keys(ERRNOS)))
  if (!Number.isInteger(number) || number < 1 || number > MAX_ERRNO)
    throw invalid(where, `errno ${number} is not from 1 to ${MAX_ERRNO}`)
  return { kind: 'errno', number }
}

function resolveArgument(argument: SeccompArgument, where: string): SeccompCondition {
  refuseUnknown(argument, ['index', 'op', 'value', 'mask'], where)
  const { index, op } = argument
  if (!Number.isInteger(index) || index < 0 || index > 5) throw invalid(where, `index ${index} is not from 0 to 5`)
  const value = word(argument.value, `${where}.value`)
  const mask = argument.mask === undefined ? undefined : word(argument.mask, `${where}.mask`)
  if (op === '&') return { index, comparison: '==', value, mask: mask ?? value }
  const comparison = COMPARISONS.find(known => known === op)
  if (comparison === undefined) throw unknown('operator', op, where, nearest(op, COMPARISONS))
  return { index, comparison, value, mask: mask ?? MASK_64 }
}

/** An unsigned 64-bit word. */
function word(value: number | bigint, where: string): bigint {
  const whole = typeof value === 'bigint' || Number.isSafeInteger(value) ? BigInt(value) : undefined
  if (whole !== undefined && whole >= 0n && whole <= MASK_64) return whole
  throw invalid(
    where,
    `${value} is not an unsigned 64-bit integer`,
    'give a negative int as `value >>> 0` with the mask 0xffffffff',
  )
}

function unknown(what: string, name: string, where: string, near: string | undefined): ContainerError {
  return invalid(where, `unknown ${what} "${name}"`, near === undefined ? undefined : `did you mean "${near}"?`)
}

function invalid(where: string, what: string, hint?: string): ContainerError {
  return new ContainerError('ERR_INVALID_OPTION', `Cannot use ${where}: ${what}`, { hint })
}
