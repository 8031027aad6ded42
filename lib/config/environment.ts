/** Environment variables: `NAME=value`, or a bare `NAME` that is taken over from the caller. */
import { type Kind, quote } from './kinds.ts'
import { mistake } from './mistake.ts'

/** Without `value` the caller's own is meant; it is looked up when a container starts, so that a Config stays pure. */
export interface Variable {
  readonly name: string
  readonly value?: string
}

export const variable: Kind<Variable, `${string}=${string}` | (string & {})> = {
  describe: 'NAME=value, or NAME to take over the value of the caller',
  verbatim: true,
  parse(text) {
    const equals = text.indexOf('=')
    if (equals === 0) throw mistake(`${quote(text)} has no name before the =`)
    return equals < 0 ? { name: text } : { name: text.slice(0, equals), value: text.slice(equals + 1) }
  },
  print: ({ name, value }) => (value === undefined ? name : `${name}=${value}`),
}
