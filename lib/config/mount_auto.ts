/** `lxc.mount.auto`: file systems that a container gets without an entry of its own. */
import { didYouMean, type Kind, quote } from './kinds.ts'
import { mistake } from './mistake.ts'

const MODES = {
  proc: ['mixed', 'rw'],
  sys: ['mixed', 'ro', 'rw'],
  cgroup: ['mixed', 'ro', 'rw'],
  'cgroup-full': ['mixed', 'ro', 'rw'],
  cgroup2: ['ro'],
} as const

/** One kind after the other: not every mode is one of every kind. */
type Words<C extends keyof typeof MODES> = C extends unknown ? C | `${C}:${(typeof MODES)[C][number]}` : never
type Cgroups = Words<'cgroup' | 'cgroup-full' | 'cgroup2'>
export type AutoMountInput = Words<'proc' | 'sys'> | Cgroups | `${Cgroups}:force` | `shmounts:${string}`

/** `mode` is absent where LXC chooses by the capabilities that stay (`cgroup`), and for cgroup2 means rw. */
export type AutoMount =
  | { readonly kind: 'proc'; readonly mode: 'mixed' | 'rw' }
  | { readonly kind: 'sys'; readonly mode: 'mixed' | 'ro' | 'rw' }
  | {
      readonly kind: 'cgroup' | 'cgroup-full' | 'cgroup2'
      readonly mode?: 'mixed' | 'ro' | 'rw'
      /** Mount although the container has a cgroup namespace and could do so itself. */
      readonly force: boolean
    }
  | { readonly kind: 'shmounts'; readonly host: string; readonly guest: string }

const FORCIBLE: readonly string[] = ['cgroup', 'cgroup-full', 'cgroup2']

/** All words, without shmounts, which carries paths. */
const WORDS: readonly string[] = Object.entries(MODES).flatMap(([kind, modes]) => {
  const words = [kind, ...modes.map(mode => `${kind}:${mode}`)]
  return FORCIBLE.includes(kind) ? [...words, ...words.map(item => `${item}:force`)] : words
})

const GUEST = '/dev/.lxc-mounts'

export const autoMount: Kind<AutoMount, AutoMountInput> = {
  describe: 'proc, sys, cgroup, cgroup-full or cgroup2 with :mixed, :ro, :rw and :force, or shmounts:HOST[:GUEST]',
  words: [...WORDS, 'shmounts:'],
  parse(text) {
    if (text.startsWith('shmounts:')) return sharedMounts(text)
    if (!WORDS.includes(text)) throw mistake(`${quote(text)} is not an automatic mount`, didYouMean(text, WORDS))
    const [kind, ...rest] = text.split(':') as [keyof typeof MODES, ...string[]]
    const mode = rest.find(item => item !== 'force')
    if (kind === 'proc' || kind === 'sys') return { kind, mode: mode ?? 'mixed' } as AutoMount
    return { kind, ...(mode === undefined ? {} : { mode }), force: rest.includes('force') } as AutoMount
  },
  print(value) {
    if (value.kind === 'shmounts') return `shmounts:${value.host}${value.guest === GUEST ? '' : `:${value.guest}`}`
    const force = 'force' in value && value.force ? ':force' : ''
    return `${value.kind}${value.mode === undefined ? '' : `:${value.mode}`}${force}`
  },
}

function sharedMounts(text: string): AutoMount {
  const [, host = '', guest = ''] = text.split(':')
  if (host === '') throw mistake(`${quote(text)} names no directory of the host`)
  return { kind: 'shmounts', host, guest: guest === '' ? GUEST : guest }
}

/** A later word of the same slot replaces an earlier one; the other slots stay. */
export function autoMountSlot(value: AutoMount): string {
  return FORCIBLE.includes(value.kind) ? 'cgroup' : value.kind
}
