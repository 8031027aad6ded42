/** What a row of the key table says, and the constructors of rows. */
import type { Kind } from './kinds.ts'

/** The prose of a row. */
export interface About {
  /** One sentence for the reference. */
  readonly doc: string
  /** The LXC release that brought it under this name. */
  readonly since: string
  /** Where its meaning goes: a field of the Spec (include/spec.h), or the module that acts on it outside the container. */
  readonly spec: string
}

/**
 * One row. `Many` is true for a list: each line appends, and an empty one clears.
 * `Default` is what `value` gives when nothing is set.
 */
export interface Key<T = unknown, Input = unknown, Many extends boolean = boolean, Default = unknown> extends About {
  readonly kind: Kind<T, Input>
  readonly many: Many
  readonly default: Default
  /** How several values share a line: separated by blanks, by commas, or not at all. */
  readonly split?: 'blank' | 'comma'
  /** A later value of a list replaces the earlier one of the same slot. */
  slot?(value: T): string
  /** A value that forgets those before it. */
  readonly reset?: T
  /** What the empty value does: back to the default, another value than the default, or it is an error. Lists are cleared. */
  readonly empty: 'default' | 'refuse' | { readonly value: T }
  /** What else an empty value, and `clear`, clears. */
  readonly clears?: readonly string[]
  /** Every assignment forgets what was said of the same interface before. */
  readonly begins?: true
  /** The names a family's last part may have; absent when they are the kernel's. */
  readonly members?: readonly string[]
  /** A family's last part, where it is not one of a list. */
  readonly member?: RegExp
  /** Network types for which alone it has a sense. */
  readonly types?: readonly string[]
}

type Extra<T> = Partial<Pick<Key<T>, 'empty' | 'clears' | 'types' | 'member' | 'begins'>>

/** A row with one value and no default. */
export function one<T, Input>(kind: Kind<T, Input>, about: About & Extra<T>): Key<T, Input, false, undefined> {
  return { empty: 'default', ...about, kind, many: false, default: undefined }
}

/** A row with one value and a default. */
export function withDefault<T, Input>(
  kind: Kind<T, Input>,
  value: T,
  about: About & Extra<T>,
): Key<T, Input, false, T> {
  return { empty: 'default', ...about, kind, many: false, default: value }
}

/** A row whose lines add up. */
export function list<T, Input>(
  kind: Kind<T, Input>,
  about: About & Extra<T> & Partial<Pick<Key<T>, 'split' | 'slot' | 'reset'>>,
): Key<T, Input, true, readonly []> {
  return { empty: 'default', ...about, kind, many: true, default: [] }
}
