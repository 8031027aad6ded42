/** Names of keys: which row of the table a name belongs to, which are near to a wrong one, and their types. */
import { nearest } from '../errors.ts'
import type { Key } from './key.ts'
import { CONTAINER_KEYS, EXTENSION_KEYS, type GLOBAL_KEYS } from './keys.ts'
import type { InputOfKind, ValueOfKind } from './kinds.ts'

/** The keys that a container's config may have. */
const KEYS = { ...CONTAINER_KEYS, ...EXTENSION_KEYS }
export type KeyTable = typeof KEYS & typeof GLOBAL_KEYS
/** A name as the table writes it: `lxc.net.[i].type`, `lxc.prlimit.*`. */
export type ContainerPattern = keyof typeof KEYS
export type GlobalKey = keyof typeof GLOBAL_KEYS
export type KeyPattern = ContainerPattern | GlobalKey

/** The names a pattern stands for. */
export type NamesOf<P extends KeyPattern> = P extends `${infer Start}[i]${infer End}`
  ? `${Start}${number}${End}`
  : P extends `${infer Start}*`
    ? KeyTable[P] extends { readonly members: readonly (infer M extends string)[] }
      ? `${Start}${M | (P extends 'lxc.prlimit.*' ? `${number}` : never)}`
      : `${Start}${string}`
    : P

/** Every name a container's config may use; a wrong one is a compile error. */
export type ConfigKey = NamesOf<ContainerPattern>
/** A whole family, which can be cleared. */
export type FamilyKey =
  | 'lxc.prlimit'
  | 'lxc.sysctl'
  | 'lxc.proc'
  | 'lxc.cgroup2'
  | 'lxc.cgroup'
  | 'lxc.hook'
  | 'lxc.net'

type Matching<K> = { [P in ContainerPattern]: K extends NamesOf<P> ? P : never }[ContainerPattern]
/** The pattern of a name; an exact one comes before a family, so that `lxc.cgroup.dir` is not a v1 controller. */
export type PatternOf<K> = K extends ContainerPattern ? K : Matching<K>
type Row<K> = PatternOf<K> extends infer P extends KeyPattern ? KeyTable[P] : never
type RowKind<K> = Row<K> extends { readonly kind: infer Kind } ? Kind : never

/** What `value` gives for a key. */
export type ConfigValue<K extends ConfigKey> =
  Row<K> extends Key<infer T, unknown, infer Many, infer Default>
    ? Many extends true
      ? readonly T[]
      : T | Default
    : ValueOfKind<RowKind<K>>

/** What `get` gives for a key. */
export type ConfigText<K extends ConfigKey> = (Row<K>['many'] extends true ? string[] : string) | undefined

type Word<K> = InputOfKind<RowKind<K>>
/** Several words may share a line. */
type Several<K> =
  Row<K> extends { readonly split?: infer S } ? ('blank' extends S ? `${string}${' ' | ','}${string}` : never) : never

/** What `set` takes for a key; an empty text is what an empty line is in a file. */
export type ConfigInput<K extends ConfigKey> =
  | ''
  | (Row<K>['many'] extends true ? Word<K> | Several<K> | readonly Word<K>[] : Word<K>)

/** A name and its row. */
export interface Found {
  /** With plain numbers, so that `lxc.net.00.type` is `lxc.net.0.type`. */
  readonly name: string
  readonly pattern: KeyPattern
  readonly key: Key
  /** The number of the interface. */
  readonly index?: number | undefined
  /** The last part of a name of a family. */
  readonly member?: string | undefined
  /** The name is that of a whole family (`lxc.sysctl`), which can only be cleared. */
  readonly whole?: true
}

const FAMILIES = (Object.keys(KEYS) as ContainerPattern[]).filter(pattern => pattern.endsWith('*'))
/** LXC counts interfaces in an int. */
const MOST_INTERFACES = 2147483647

/** The row of a key of a container's config; undefined when there is none. */
export function find(name: string): Found | undefined {
  const exact = rowOf(name)
  if (exact !== undefined && !/[[*]/.test(name)) return { name, pattern: name as KeyPattern, key: exact }
  return findInterface(name) ?? findMember(name)
}

const rowOf = (pattern: string): Key | undefined =>
  Object.hasOwn(KEYS, pattern) ? KEYS[pattern as ContainerPattern] : undefined

function findInterface(name: string): Found | undefined {
  const match = /^(lxc|caisson)\.net\.([0-9]{1,16})(\..+)?$/.exec(name)
  if (match === null) return undefined
  const [start, index, rest] = [match[1], Number(match[2]), match[3] ?? '']
  const pattern = `${start}.net.[i]${rest}`
  const key = rowOf(pattern)
  if (key === undefined || index >= MOST_INTERFACES) return undefined
  return { name: `${start}.net.${index}${rest}`, pattern: pattern as KeyPattern, key, index }
}

function findMember(name: string): Found | undefined {
  const pattern = FAMILIES.find(family => `${name}.`.startsWith(family.slice(0, -1)))
  if (pattern === undefined) return undefined
  const key: Key = KEYS[pattern]
  if (`${name}.` === pattern.slice(0, -1)) {
    return key.members === undefined || pattern === 'lxc.prlimit.*' ? { name, pattern, key, whole: true } : undefined
  }
  const member = name.slice(pattern.length - 1)
  const known = key.members?.includes(member) || key.member?.test(member) || (!key.members && !key.member)
  return known && /^[^\s=]+$/.test(member) ? { name, pattern, key, member } : undefined
}

/** Whether a name that comes from outside is that of a key. */
export function isConfigKey(name: string): name is ConfigKey {
  const found = find(name)
  return found !== undefined && found.whole === undefined
}

/** The key that is probably meant by a wrong name. */
export function nearestKey(name: string): string | undefined {
  return nearest(name, completions(name))
}

/** Every name that may be meant by the beginning of one: families with their members, interfaces with its number. */
export function completions(start = ''): string[] {
  const index = /^lxc\.net\.([0-9]+)\./.exec(start)?.[1] ?? '0'
  return (Object.keys(KEYS) as ContainerPattern[]).flatMap(pattern => {
    const key: Key = KEYS[pattern]
    const name = pattern.replace('[i]', index)
    if (!name.endsWith('*')) return [name]
    return key.members?.map(member => name.replace('*', member)) ?? [name.slice(0, -1)]
  })
}

/** The words that a key accepts, for completion; none where they cannot be listed. */
export function completionsOfValue(name: string): readonly string[] {
  return find(name)?.key.kind.words ?? []
}
