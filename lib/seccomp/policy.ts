/**
 * LXC's seccomp policy files, both versions, to statements (lxc.container.conf(5), `lxc.seccomp.profile`).
 *
 * Two things differ from LXC, always to the stricter side: a section's rules hold for its architecture alone (LXC applies them to all
 * of them), and a condition without a needed mask is an error instead of one that is always true. A section of an architecture that
 * this host does not run is checked and left out. Calls that no table knows are skipped with a warning, as in LXC.
 */
import { ContainerError, nearest } from '../errors.ts'
import { architectureOf, covered, nearestArchitecture, runnable } from './architectures.ts'
import { SYSCALL_NAMES } from './names.ts'
import {
  ALLOW,
  fail,
  int,
  KILL_PROCESS,
  MASK_64,
  type SeccompCondition,
  type SeccompPolicy,
  type SeccompStatement,
  type SeccompVerdict,
} from './statements.ts'

/** A remark on a policy that is valid nevertheless. */
export interface PolicyWarning {
  readonly line: number
  readonly column: number
  readonly message: string
}

export interface ParsedPolicy {
  readonly policy: SeccompPolicy
  readonly warnings: readonly PolicyWarning[]
}

export interface PolicyOptions {
  /** Named in diagnostics. */
  readonly file?: string | undefined
  /** The host's own architecture, by any of its names; default: this one. */
  readonly host?: string
}

const KILL: SeccompVerdict = { kind: 'kill', number: 0 }
const EACCES = 13
const MAX_ERRNO = 4095
const MNT_FORCE = 1
const MAX_CONDITIONS = 6

/** Style → what happens to calls without a rule, and to those with a rule that names no action. */
const STYLES: Readonly<Record<string, readonly [otherwise: SeccompVerdict, ruled: SeccompVerdict]>> = {
  allowlist: [KILL, ALLOW],
  whitelist: [KILL, ALLOW],
  denylist: [ALLOW, KILL],
  blacklist: [ALLOW, KILL],
}

const ACTIONS: Readonly<Record<string, SeccompVerdict>> = {
  kill: KILL,
  allow: ALLOW,
  trap: { kind: 'trap', number: 0 },
  notify: { kind: 'notify', number: 0 },
}

const OPERATORS: Readonly<Record<string, SeccompCondition['comparison'] | '&='>> = {
  SCMP_CMP_NE: '!=',
  SCMP_CMP_LT: '<',
  SCMP_CMP_LE: '<=',
  SCMP_CMP_EQ: '==',
  SCMP_CMP_GE: '>=',
  SCMP_CMP_GT: '>',
  SCMP_CMP_MASKED_EQ: '&=',
  '!=': '!=',
  '<': '<',
  '<=': '<=',
  '==': '==',
  '>=': '>=',
  '>': '>',
  '&=': '&=',
}

/** Reads the text of a policy. Throws ERR_CONFIG_SYNTAX with file, line and column. */
export function parsePolicy(text: string, options: PolicyOptions = {}): ParsedPolicy {
  const lines = new Lines(text, options.file)
  const version = lines.next()
  if (version === undefined || !/^[12]$/.test(version.trim())) {
    throw lines.error(0, 'the first line is not the version, 1 or 2', 'begin the policy with a line "2"')
  }
  return version.trim() === '1' ? parseVersion1(lines, options) : parseVersion2(lines, options)
}

/** Version 1: one number of an allowed call per line, of this host's own table. */
function parseVersion1(lines: Lines, options: PolicyOptions): ParsedPolicy {
  if (lines.next()?.trim() !== 'allowlist') {
    throw lines.error(0, 'a version 1 policy must say "allowlist" here', 'use version 2 for other styles')
  }
  const own = runnable(options.host).slice(0, 1)
  const numbers: string[] = []
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    const body = withoutComment(line).trim()
    if (body === '') continue
    if (!/^\d{1,9}$/.test(body)) {
      throw lines.error(line.search(/\S/), `"${body}" is not a system call number`, 'version 2 policies take names')
    }
    numbers.push(body)
  }
  const rules = numbers.length === 0 ? [] : [{ syscalls: numbers, action: ALLOW, conditions: [], architectures: [] }]
  const policy = { defaultAction: KILL, badArchitectureAction: KILL_PROCESS, architectures: [...own], rules }
  return { policy, warnings: [] }
}

function parseVersion2(lines: Lines, options: PolicyOptions): ParsedPolicy {
  const [otherwise, ruled] = parseStyle(lines)
  const host = runnable(options.host)
  const architectures = covered(options.host)
  const rules: SeccompStatement[] = []
  const warnings: PolicyWarning[] = []
  let section: readonly string[] | undefined = []
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    const body = withoutComment(line).trimEnd()
    if (body.trim() === '') continue
    if (body.trimStart().startsWith('[')) {
      section = parseSection(lines, body, host)
      for (const name of section ?? []) if (!architectures.includes(name)) architectures.push(name)
      continue
    }
    const rule = parseRule(lines, body, ruled, warnings)
    if (rule !== undefined && section !== undefined) rules.push({ ...rule, architectures: [...section] })
  }
  const policy = { defaultAction: otherwise, badArchitectureAction: KILL_PROCESS, architectures, rules }
  return { policy, warnings }
}

function parseStyle(lines: Lines): readonly [otherwise: SeccompVerdict, ruled: SeccompVerdict] {
  const words = new Words(lines, withoutComment(lines.next() ?? ''))
  const word = words.take() ?? ''
  const style = STYLES[word]
  if (style === undefined) {
    throw lines.error(words.at, `"${word}" is not a policy style`, suggest(word, Object.keys(STYLES)))
  }
  const action = parseAction(words)
  words.end()
  return [action ?? style[0], style[1]]
}

/** The architectures of `[name]`: none for [all], undefined for one that this host does not run. */
function parseSection(lines: Lines, body: string, host: readonly string[]): readonly string[] | undefined {
  const match = /^(\s*\[)([^\]]*)\]\s*$/.exec(body)
  const word = match?.[2] ?? ''
  const column = match?.[1]?.length ?? body.search(/\S/)
  if (match === null) throw lines.error(column, `"${body.trim()}" is not a section`, 'write [all] or [<architecture>]')
  if (word.toLowerCase() === 'all') return []
  const name = architectureOf(word.toLowerCase())
  if (name === undefined) {
    const near = nearestArchitecture(word.toLowerCase())
    throw lines.error(column, `unknown architecture "${word}"`, near && `did you mean "${near}"?`)
  }
  return host.includes(name) ? [name] : undefined
}

/** One rule without its section; undefined, and a warning, when no table knows the call. */
function parseRule(
  lines: Lines,
  body: string,
  ruled: SeccompVerdict,
  warnings: PolicyWarning[],
): Omit<SeccompStatement, 'architectures'> | undefined {
  const words = new Words(lines, body)
  const name = words.take() ?? ''
  const column = words.at
  if (name === 'reject_force_umount') {
    words.end()
    return { syscalls: ['umount2'], action: fail(EACCES), conditions: [int(1, MNT_FORCE, MNT_FORCE)] }
  }
  const action = parseAction(words) ?? ruled
  const conditions: SeccompCondition[] = []
  for (let group = words.takeGroup(); group !== undefined; group = words.takeGroup()) {
    conditions.push(parseCondition(lines, group, words.at))
    if (conditions.length > MAX_CONDITIONS) throw lines.error(words.at, 'a rule takes at most 6 conditions')
  }
  words.end()
  if (SYSCALL_NAMES.has(name)) return { syscalls: [name], action, conditions }
  const near = nearest(name, SYSCALL_NAMES)
  const message = `unknown system call "${name}" is skipped${near === undefined ? '' : `; did you mean "${near}"?`}`
  warnings.push({ line: lines.number, column: column + 1, message })
  return undefined
}

/** An action with its errno, when one comes next. */
function parseAction(words: Words): SeccompVerdict | undefined {
  const word = words.peekIsGroup() ? undefined : words.take()
  if (word === undefined) return undefined
  const action = ACTIONS[word]
  if (action !== undefined) return action
  if (word !== 'errno') {
    throw words.lines.error(words.at, `unknown action "${word}"`, suggest(word, [...Object.keys(ACTIONS), 'errno']))
  }
  const number = words.take() ?? ''
  if (!/^\d{1,4}$/.test(number) || Number(number) < 1 || Number(number) > MAX_ERRNO) {
    throw words.lines.error(words.at, `"${number}" is not an errno from 1 to ${MAX_ERRNO}`, 'write "errno 1" for EPERM')
  }
  return fail(Number(number))
}

/** `index,value,op[,mask]`. */
function parseCondition(lines: Lines, group: string, column: number): SeccompCondition {
  const parts = group.split(',').map(part => part.trim())
  const [index = '', value = '', operator = '', mask] = parts
  const refuse = (what: string, hint: string) => lines.error(column, `condition "[${group}]": ${what}`, hint)
  if (parts.length < 3 || parts.length > 4)
    throw refuse('not 3 or 4 parts', 'write [index,value,operator] or [index,value,operator,mask]')
  if (!/^[0-5]$/.test(index)) throw refuse(`"${index}" is not an argument index`, 'arguments are 0 to 5')
  const comparison = OPERATORS[operator]
  if (comparison === undefined) {
    throw refuse(`unknown operator "${operator}"`, suggest(operator, Object.keys(OPERATORS)))
  }
  const wanted = parseInteger(value)
  const masked = mask === undefined ? undefined : parseInteger(mask)
  if (wanted === undefined) throw refuse(`"${value}" is not a 64-bit integer`, 'C notation: 10, 0x0a, 012')
  if (mask !== undefined && masked === undefined)
    throw refuse(`"${mask}" is not a 64-bit integer`, 'C notation: 10, 0x0a, 012')
  if (comparison !== '&=') return { index: Number(index), comparison, value: wanted, mask: MASK_64 }
  if (masked === undefined) throw refuse(`${operator} needs a mask`, 'write [index,value,operator,mask]')
  return { index: Number(index), comparison: '==', value: wanted, mask: masked }
}

/** An integer in C's notation as 64 bits; undefined when it is none. Negative ones are two's complement, as for strtoll(3). */
function parseInteger(text: string): bigint | undefined {
  const match = /^(-?)(?:0[xX]([0-9a-fA-F]+)|0([0-7]+)|(0|[1-9]\d*))$/.exec(text)
  if (match === null) return undefined
  const [, sign, hex, octal, decimal] = match
  const size = BigInt(hex !== undefined ? `0x${hex}` : octal !== undefined ? `0o${octal}` : (decimal as string))
  if (size > (sign === '-' ? 1n << 63n : MASK_64)) return undefined
  return BigInt.asUintN(64, sign === '-' ? -size : size)
}

function suggest(word: string, known: readonly string[]): string {
  const near = nearest(word, known)
  return near === undefined ? `known: ${known.join(', ')}` : `did you mean "${near}"?`
}

/** A `#` begins a comment at the start of a line and after a blank. */
function withoutComment(line: string): string {
  return line.replace(/(^|\s)#.*$/, '')
}

/** The lines of a policy, and errors that name the current one. */
class Lines {
  number = 0
  readonly #lines: readonly string[]
  readonly #file: string | undefined

  constructor(text: string, file: string | undefined) {
    this.#lines = text.split(/\r?\n/)
    this.#file = file
  }

  next(): string | undefined {
    return this.#lines[this.number++]
  }

  error(column: number, what: string, hint?: string): ContainerError {
    const where = this.#file === undefined ? 'seccomp policy' : `seccomp policy "${this.#file}"`
    const line = Math.min(this.number, this.#lines.length)
    const details = { file: this.#file, line, column: Math.max(column, 0) + 1, hint }
    return new ContainerError('ERR_CONFIG_SYNTAX', `Cannot read ${where}: line ${line}: ${what}`, details)
  }
}

/** Blank-separated words of a line, and groups in brackets. */
class Words {
  /** The column, from 0, of what was taken last. */
  at = 0
  readonly lines: Lines
  readonly #text: string
  #next = 0

  constructor(lines: Lines, text: string) {
    this.lines = lines
    this.#text = text
  }

  take(): string | undefined {
    return this.#match(/\s*([^\s[]+)/y)
  }

  takeGroup(): string | undefined {
    return this.#match(/\s*\[([^\]]*)\]/y)
  }

  peekIsGroup(): boolean {
    return /^\s*\[/.test(this.#text.slice(this.#next))
  }

  /** Refuses what is left. */
  end(): void {
    const rest = this.#text.slice(this.#next)
    if (rest.trim() === '') return
    throw this.lines.error(this.#next + rest.search(/\S/), `unexpected "${rest.trim()}"`)
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#next
    const match = pattern.exec(this.#text)
    this.at = this.#next + (match === null ? 0 : match[0].indexOf(match[1] as string))
    if (match === null) return undefined
    this.#next = pattern.lastIndex
    return match[1]
  }
}
