/**
 * The part of pongo2 (Django's template language) that image templates use: `{{ expression }}` with filters `default`,
 * `lower`, `upper`, `trim`; `{% if %}`, `{% elif %}`, `{% else %}`, `{% endif %}`; `{# comments #}`. Anything else is refused
 * by its name: a file that is half filled in is worse than none.
 */
import { ContainerError } from '../errors.ts'

/** What templates see. Functions are called by `name(…)`. */
export interface Scope {
  readonly [name: string]: string | boolean | Scope | ((...args: string[]) => string) | undefined
}

type Value = Scope[string]

const TOKEN = /(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})/s

const FILTERS: Readonly<Record<string, (value: string, argument: string) => string>> = {
  default: (value, argument) => (value === '' ? argument : value),
  lower: value => value.toLowerCase(),
  upper: value => value.toUpperCase(),
  trim: value => value.trim(),
}

/** Fills in a template. Throws ERR_IMAGE for what it does not know. */
export function renderTemplate(template: string, scope: Scope): string {
  let out = ''
  /** For each open `if`: whether a branch was taken, and whether this one is. */
  const open: { taken: boolean; now: boolean }[] = []
  for (const token of template.split(TOKEN)) {
    const live = open.every(level => level.now)
    if (token.startsWith('{#')) continue
    if (token.startsWith('{%')) step(strip(token), open, scope)
    else if (live) out += token.startsWith('{{') ? text(evaluate(strip(token), scope)) : token
  }
  if (open.length > 0) throw unknown('an "if" without its "endif"')
  return out
}

function strip(token: string): string {
  return token.slice(2, -2).replace(/^-|-$/g, '').trim()
}

function step(tag: string, open: { taken: boolean; now: boolean }[], scope: Scope): void {
  const [, word = '', condition = ''] = /^(\w+)\s*(.*)$/s.exec(tag) ?? []
  const level = open.at(-1)
  if (word === 'if') {
    const now = test(condition, scope)
    open.push({ taken: now, now })
  } else if (level === undefined) throw unknown(`"${word}"`)
  else if (word === 'endif') open.pop()
  else if (word === 'elif' || word === 'else') {
    level.now = !level.taken && (word === 'else' || test(condition, scope))
    level.taken ||= level.now
  } else throw unknown(`"${word}"`)
}

/** `a`, `not a`, `a == "b"`, `a != "b"`, joined by `and` or `or`. */
function test(condition: string, scope: Scope): boolean {
  const any = condition.split(/\s+or\s+|\s*\|\|\s*/)
  if (any.length > 1) return any.some(part => test(part, scope))
  const all = condition.split(/\s+and\s+|\s*&&\s*/)
  if (all.length > 1) return all.every(part => test(part, scope))
  const negated = /^(?:not\s+|!\s*)(.*)$/s.exec(condition)?.[1]
  if (negated !== undefined) return !test(negated, scope)
  const [, left, operator, right] = /^(.*?)\s*([!=]=)\s*(.*)$/s.exec(condition) ?? []
  if (left === undefined || right === undefined) {
    const value = evaluate(condition, scope)
    return value !== undefined && value !== '' && value !== false && value !== 'false'
  }
  return (text(evaluate(left, scope)) === text(evaluate(right, scope))) === (operator === '==')
}

/** A literal, a dotted name, or a call, with filters after it. */
function evaluate(expression: string, scope: Scope): Value {
  const [head = '', ...filters] = expression.split('|').map(part => part.trim())
  let value = term(head, scope)
  for (const filter of filters) {
    const [, name = '', argument = ''] = /^(\w+)(?::\s*(.*))?$/.exec(filter) ?? []
    const apply = FILTERS[name]
    if (apply === undefined) throw unknown(`the filter "${filter}"`)
    value = apply(text(value), argument === '' ? '' : text(term(argument, scope)))
  }
  return value
}

function term(word: string, scope: Scope): Value {
  const literal = /^"([^"]*)"$|^'([^']*)'$|^(\d+)$/.exec(word)
  if (literal !== null) return literal[1] ?? literal[2] ?? literal[3]
  const [, name = '', call] = /^([A-Za-z_][\w.]*)(?:\((.*)\))?$/s.exec(word) ?? []
  if (name === '') throw unknown(`the expression "${word}"`)
  let value: Value = scope
  for (const part of name.split('.')) {
    value = typeof value === 'object' && Object.hasOwn(value, part) ? value[part] : undefined
  }
  if (call === undefined) return value
  if (typeof value !== 'function') throw unknown(`the function "${name}"`)
  return value(...call.split(',').map(argument => text(term(argument.trim(), scope))))
}

function text(value: Value): string {
  return typeof value === 'string' ? value : value === true ? 'true' : ''
}

function unknown(what: string): ContainerError {
  return new ContainerError('ERR_IMAGE', `Cannot fill in image template: ${what} is not supported`)
}
