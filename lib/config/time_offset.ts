/** Offsets of the clocks of a time namespace. time_namespaces(7), kernel 5.6 */
import { type Kind, quote } from './kinds.ts'
import { mistake } from './mistake.ts'

/** LXC keeps two fields for each clock: h, m, s go to seconds; ms, us, ns to nanoseconds; the last of each wins. */
export interface TimeOffset {
  readonly field: 'seconds' | 'nanoseconds'
  readonly amount: number
}

const UNITS: Readonly<Record<string, readonly [TimeOffset['field'], number]>> = {
  h: ['seconds', 3600],
  m: ['seconds', 60],
  s: ['seconds', 1],
  ms: ['nanoseconds', 1e6],
  us: ['nanoseconds', 1e3],
  ns: ['nanoseconds', 1],
}

/** A signed number with a unit. */
export const timeOffset: Kind<TimeOffset, `${number}${'h' | 'm' | 's' | 'ms' | 'us' | 'ns'}`> = {
  describe: 'a whole number, possibly negative, with one of the units h, m, s, ms, us, ns',
  parse(value) {
    const match = /^([+-]?[0-9]+)\s*(h|m|s|ms|us|ns)$/.exec(value)
    if (match === null) throw mistake(`${quote(value)} is not a time offset`, 'write for example 7d as 168h, or -30s')
    const [field, factor] = UNITS[match[2] as string] as readonly [TimeOffset['field'], number]
    const amount = Number(match[1]) * factor
    if (!Number.isSafeInteger(amount)) throw mistake(`${quote(value)} is too far away`)
    return { field, amount: amount + 0 }
  },
  print: ({ field, amount }) => `${amount}${field === 'seconds' ? 's' : 'ns'}`,
}

/** Both fields together as the kernel wants them: nanoseconds from 0 to 999,999,999. */
export function sumTimeOffsets(offsets: readonly TimeOffset[]): { seconds: number; nanoseconds: number } {
  const amount = (field: TimeOffset['field']) => offsets.findLast(offset => offset.field === field)?.amount ?? 0
  const nanoseconds = amount('nanoseconds')
  const carry = Math.floor(nanoseconds / 1e9)
  return { seconds: amount('seconds') + carry, nanoseconds: nanoseconds - carry * 1e9 }
}
