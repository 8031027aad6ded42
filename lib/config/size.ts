/** Byte counts as LXC writes them: a number and B, kB, MB or GB (any case, multiples of 1024). */
import { type Kind, quote } from './kinds.ts'
import { mistake } from './mistake.ts'

const FACTORS: Readonly<Record<string, number>> = { '': 1, b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 }
export type SizeInput = number | `${number}` | `${number}${'B' | 'kB' | 'KB' | 'MB' | 'GB'}`

/** A number of bytes. */
export const size: Kind<number, SizeInput> = {
  describe: 'a number of bytes, with B, kB, MB or GB (×1024) at the end if need be',
  parse(value) {
    const match = /^([0-9]+)\s*([a-zA-Z]*)$/.exec(value)
    const factor = match === null ? undefined : FACTORS[(match[2] as string).toLowerCase()]
    const bytes = factor === undefined ? Number.NaN : Number(match?.[1]) * factor
    if (Number.isSafeInteger(bytes)) return bytes
    throw mistake(`${quote(value)} is not a size`, 'write a number of bytes, or one with kB, MB or GB')
  },
  print: String,
}

const PAGE = 4096
const AUTOMATIC = 128 * 1024

/** The size of a log: `auto` is 128 KiB; others grow to a page at least, and to a power of two, as LXC does it. */
export const logSize: Kind<number, SizeInput | 'auto'> = {
  describe: '"auto" (128 KiB) or a size, rounded up to a power of two',
  words: ['auto'],
  parse(value) {
    if (value === 'auto') return AUTOMATIC
    const bytes = size.parse(value)
    if (bytes > 2 ** 52) throw mistake(`${quote(value)} is more than any memory`)
    return 2 ** Math.ceil(Math.log2(Math.max(bytes, PAGE)))
  },
  print: String,
}
