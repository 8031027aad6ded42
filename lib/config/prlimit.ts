/** Resource limits: `SOFT[:HARD]`, numbers or `unlimited`. prlimit(2) */
import { type Kind, quote } from './kinds.ts'
import { mistake } from './mistake.ts'

/** The kernel's names and numbers, asm-generic/resource.h. */
export const RESOURCES = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
} as const

export type ResourceName = keyof typeof RESOURCES
export interface ResourceLimit {
  readonly soft: bigint | 'unlimited'
  readonly hard: bigint | 'unlimited'
}

const INFINITY = 2n ** 64n - 1n
export type ResourceInput = number | `${number}` | 'unlimited' | `${number | 'unlimited'}:${number | 'unlimited'}`

/** One value is both limits. */
export const resourceLimit: Kind<ResourceLimit, ResourceInput> = {
  describe: 'SOFT or SOFT:HARD, each a number or unlimited',
  words: ['unlimited'],
  parse(text) {
    const match = /^([0-9]+|unlimited|-1)(?:\s*:\s*([0-9]+|unlimited|-1)?)?$/.exec(text)
    if (match === null)
      throw mistake(`${quote(text)} is not a limit`, 'write SOFT:HARD, for example 1024:4096 or unlimited')
    const soft = amount(match[1] as string)
    const hard = match[2] === undefined ? soft : amount(match[2])
    if (compare(soft, hard) > 0) throw mistake(`${quote(text)} has a soft limit above the hard one`)
    return { soft, hard }
  },
  print: ({ soft, hard }) => (soft === hard ? String(soft) : `${soft}:${hard}`),
}

/** LXC reads with strtoull, so that people write -1 for RLIM_INFINITY. */
function amount(text: string): bigint | 'unlimited' {
  if (text === 'unlimited' || text === '-1') return 'unlimited'
  const number = BigInt(text)
  if (number > INFINITY) throw mistake(`${quote(text)} is more than 64 bits hold`)
  return number === INFINITY ? 'unlimited' : number
}

function compare(soft: bigint | 'unlimited', hard: bigint | 'unlimited'): number {
  const [a, b] = [soft, hard].map(limit => (limit === 'unlimited' ? INFINITY : limit)) as [bigint, bigint]
  return a < b ? -1 : Number(a > b)
}
