/** One line of a config file. Blanks around key and value say nothing, one pair of quotes around the value neither. */
import { mistake } from './mistake.ts'

export interface Setting {
  readonly key: string
  readonly value: string
  /** Where key and value begin, counted from 1. */
  readonly keyColumn: number
  readonly valueColumn: number
}

/** A setting; `comment` for comments and empty lines; `foreign` for what LXC passes over because it has neither `lxc.` nor `caisson.`. */
export type Reading = Setting | 'comment' | 'foreign'

/** Throws ERR_CONFIG_SYNTAX for a line that begins so and has no `=`. */
export function readLine(raw: string): Reading {
  const start = raw.search(/[^ \t\r]/)
  if (start < 0 || raw[start] === '#') return 'comment'
  if (!/^(lxc|caisson)\./.test(raw.slice(start, start + 8))) return 'foreign'
  const equals = raw.indexOf('=', start)
  if (equals < 0) throw mistake('the line has no "="', 'write KEY = VALUE', 0, 'ERR_CONFIG_SYNTAX')
  const after = raw.slice(equals + 1)
  const lead = after.length - after.replace(/^[ \t\r]+/, '').length
  const trimmed = trim(after)
  const quoted = trimmed.length > 1 && /^['"]/.test(trimmed) && trimmed.endsWith(trimmed[0] as string)
  return {
    key: trim(raw.slice(start, equals)),
    value: quoted ? trimmed.slice(1, -1) : trimmed,
    keyColumn: start + 1,
    valueColumn: equals + 2 + lead + Number(quoted),
  }
}

/** Without blanks around it. A regular expression would be quadratic in a long run of blanks. */
function trim(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text[start])) start++
  while (end > start && isBlank(text[end - 1])) end--
  return text.slice(start, end)
}

const isBlank = (character: string | undefined): boolean =>
  character === ' ' || character === '\t' || character === '\r'

/** The line that reads as this setting. Refuses a value that would not stay in its line. */
export function printLine(key: string, value: string): string {
  if (/[\n\r\0]/.test(value)) throw mistake('the value contains a line break or a NUL', 'a value is one line')
  if (/\p{Surrogate}/u.test(value)) throw mistake('the value is not well-formed Unicode')
  if (value === '') return `${key} =`
  const bare = trim(value) === value && !(value.length > 1 && /^(['"]).*\1$/.test(value))
  return `${key} = ${bare ? value : `"${value}"`}`
}
