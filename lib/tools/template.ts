/** The options of the templates as lxc-create takes them after `--`, in the words of Container.create. */
import { existsSync } from 'node:fs'
import { TEMPLATE_DIRECTORY } from '../image/external.ts'
import { type OptionTable, readArguments, UsageError } from './options.ts'

interface Row {
  readonly short?: string
  /** The name of the template's own option. */
  readonly to: string
  readonly flag?: true
}

/** A row for each option of LXC's own templates. */
const TEMPLATES: Readonly<Record<string, Readonly<Record<string, Row>>>> = {
  download: {
    dist: { short: 'd', to: 'dist' },
    release: { short: 'r', to: 'release' },
    arch: { short: 'a', to: 'arch' },
    variant: { to: 'variant' },
    server: { to: 'server' },
    'flush-cache': { to: 'flushCache', flag: true },
    'force-cache': { to: 'forceCache', flag: true },
    keyring: { to: 'keyring' },
    insecure: { to: 'insecure', flag: true },
    list: { short: 'l', to: 'list', flag: true },
    ca: { to: 'ca' },
  },
  busybox: { 'busybox-path': { to: 'path' } },
  local: { metadata: { short: 'm', to: 'metadata' }, fstree: { short: 'f', to: 'fstree' } },
  oci: { url: { short: 'u', to: 'url' }, username: { to: 'username' }, password: { to: 'password' } },
}

/** A template with its options. What is no template of ours gets its words as they are: it is a program of LXC's kind. */
export async function readTemplate(
  name: string,
  words: readonly string[],
): Promise<{ name: string; [option: string]: unknown }> {
  const table = TEMPLATES[name]
  if (table === undefined) {
    const isProgram = name.startsWith('/') || existsSync(`${TEMPLATE_DIRECTORY}/lxc-${name}`)
    if (isProgram) return { name, args: [...words] }
    if (words.length === 0) return { name }
    return { name, ...readPairs(words) }
  }
  const options: OptionTable = Object.fromEntries(
    Object.entries(table).map(([long, { short, flag }]) => [
      long,
      { help: '', ...(short === undefined ? {} : { short }), ...(flag ? {} : { value: 'VALUE' }) },
    ]),
  )
  const { values } = readArguments(words, options, 'none', false)
  const given = Object.entries(table).flatMap(([long, { to }]) => (long in values ? [[to, values[long]]] : []))
  return { name, ...Object.fromEntries(given) }
}

/** `--suite=bookworm` of the templates that LXC has not. */
function readPairs(words: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    words.map(word => {
      const [, key, value] = /^--([\w-]+)(?:=(.*))?$/s.exec(word) ?? []
      if (key === undefined) throw new UsageError(`options of this template are written --name=value, not ${word}`)
      return [key.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()), value ?? true]
    }),
  )
}
