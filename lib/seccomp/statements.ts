/**
 * What every source of a filter (an LXC policy, typed rules, our own profiles) becomes, and what the addon compiles.
 *
 * Rules are read in order: the first one whose architecture, call and conditions match decides, otherwise the default action.
 */
import type { SeccompCondition, SeccompVerdict } from '../native/spec.ts'

export type {
  SeccompCondition,
  SeccompPolicy,
  SeccompProgram,
  SeccompStatement,
  SeccompVerdict,
} from '../native/spec.ts'

export const MASK_64 = 0xffff_ffff_ffff_ffffn

export const ALLOW: SeccompVerdict = { kind: 'allow', number: 0 }
export const KILL_PROCESS: SeccompVerdict = { kind: 'kill-process', number: 0 }

/** Fails the call with an errno. */
export function fail(number: number): SeccompVerdict {
  return { kind: 'errno', number }
}

/** A condition on an `int` argument, of which the kernel reads the low 32 bits only (CVE-2019-10063). */
export function int(index: number, value: number, mask = 0xffff_ffff): SeccompCondition {
  return { index, comparison: '==', value: BigInt(value), mask: BigInt(mask) }
}
