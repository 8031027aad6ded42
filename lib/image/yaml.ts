/**
 * As much of YAML 1.2 as `metadata.yaml` of images uses: block mappings and sequences of plain, quoted and literal (`|`)
 * scalars, and flow collections that are also JSON. Anchors, tags and merge keys are refused: images of strangers do not
 * get to build graphs. Scalars stay strings, except `true` and `false`; whoever wants a number converts it.
 */
import { ContainerError } from '../errors.ts'

export type Yaml = string | boolean | null | readonly Yaml[] | { readonly [key: string]: Yaml }

interface Line {
  readonly number: number
  readonly indent: number
  readonly text: string
}

const DEPTH = 32

/** Parses one document. Throws ERR_IMAGE with the line. */
export function parseYaml(source: string): Yaml {
  const trimmed = source.trim()
  if (trimmed.startsWith('{') || trimmed.startsWith('[')) return parseFlow(trimmed, 1)
  const lines: Line[] = []
  for (const [index, raw] of source.split(/\r?\n/).entries()) {
    if (/^\s*\t/.test(raw) && raw.trim() !== '') throw syntax(index + 1, 'a tab indents')
    lines.push({ number: index + 1, indent: raw.length - raw.trimStart().length, text: raw.trim() })
  }
  const reader = new Reader(lines.filter(line => line.text !== '---'))
  const value = reader.block(0, 0)
  reader.finish()
  return value
}

class Reader {
  readonly #lines: readonly Line[]
  #at = 0

  constructor(lines: readonly Line[]) {
    this.#lines = lines
  }

  /** The mapping, sequence or nothing that begins at the next line with at least this indent. */
  block(least: number, depth: number): Yaml {
    const line = this.#peek()
    if (line === undefined || line.indent < least) return null
    if (depth > DEPTH) throw syntax(line.number, 'nested too deep')
    return /^-( |$)/.test(line.text) ? this.#sequence(line.indent, depth) : this.#mapping(line.indent, depth)
  }

  finish(): void {
    const line = this.#peek()
    if (line !== undefined && line.text !== '...') throw syntax(line.number, 'the indent fits nothing')
  }

  #peek(): Line | undefined {
    while (this.#at < this.#lines.length) {
      const line = this.#lines[this.#at] as Line
      if (line.text !== '' && !line.text.startsWith('#')) return line
      this.#at += 1
    }
    return undefined
  }

  #mapping(indent: number, depth: number): Yaml {
    const entries: [string, Yaml][] = []
    for (let line = this.#peek(); line?.indent === indent; line = this.#peek()) {
      const [, double, single, plain, rest] =
        /^(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|([^\s"'#&*!|>%@`{[-][^#]*?|-[^\s#][^#]*?)) *:(?: +(.*))?$/.exec(
          line.text,
        ) ?? []
      const key = double ?? single?.replaceAll("''", "'") ?? plain
      if (key === undefined) throw syntax(line.number, 'expected "key: value"')
      if (entries.some(([known]) => known === key)) throw syntax(line.number, `"${key}" comes twice`)
      this.#at += 1
      entries.push([key, this.#value(rest ?? '', line, depth)])
    }
    return Object.fromEntries(entries)
  }

  #sequence(indent: number, depth: number): Yaml {
    const items: Yaml[] = []
    for (let line = this.#peek(); line?.indent === indent && /^-( |$)/.test(line.text); line = this.#peek()) {
      this.#at += 1
      items.push(this.#value(line.text.slice(1).trim(), line, depth))
    }
    return items
  }

  #value(text: string, line: Line, depth: number): Yaml {
    const bare = text.startsWith('#') ? '' : text
    if (/^[|>][+-]?$/.test(bare)) return this.#literal(line.indent, bare)
    if (bare !== '') return scalar(bare, line.number)
    // A sequence may stand at the indent of its key.
    const next = this.#peek()
    const isSequence = next?.indent === line.indent && /^-( |$)/.test(next.text) && !line.text.startsWith('-')
    return this.block(isSequence ? line.indent : line.indent + 1, depth + 1)
  }

  #literal(indent: number, style: string): string {
    const taken: string[] = []
    let own: number | undefined
    for (; this.#at < this.#lines.length; this.#at++) {
      const line = this.#lines[this.#at] as Line
      if (line.text !== '' && line.indent <= indent) break
      own ??= line.text === '' ? undefined : line.indent
      taken.push(line.text === '' ? '' : ' '.repeat(line.indent - (own ?? 0)) + line.text)
    }
    const body = taken.join(style.startsWith('|') ? '\n' : ' ').trimEnd()
    return style.endsWith('-') ? body : `${body}\n`
  }
}

function scalar(text: string, number: number): Yaml {
  if (text.startsWith('"') || text.startsWith('{') || text.startsWith('[')) return parseFlow(text, number)
  if (text.startsWith("'")) {
    const quoted = /^'((?:[^']|'')*)'(?: +#.*)?$/.exec(text)?.[1]
    if (quoted === undefined) throw syntax(number, 'a quote does not end')
    return quoted.replaceAll("''", "'")
  }
  if (/^[&*!%@`]/.test(text)) throw syntax(number, 'anchors, aliases and tags are not supported')
  const plain = text.replace(/ +#.*$/, '')
  if (plain === 'true' || plain === 'false') return plain === 'true'
  return plain === 'null' || plain === '~' ? null : plain
}

/** Flow collections and double-quoted scalars, where they are JSON. */
function parseFlow(text: string, number: number): Yaml {
  try {
    return stringify(JSON.parse(text.replace(/ +#[^"]*$/, '')))
  } catch (cause) {
    throw new ContainerError('ERR_IMAGE', `Cannot read YAML: line ${number}: a flow value that is not JSON`, { cause })
  }
}

function stringify(value: unknown): Yaml {
  if (typeof value === 'number') return String(value)
  if (Array.isArray(value)) return value.map(stringify)
  if (typeof value !== 'object' || value === null) return value as Yaml
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, stringify(inner)]))
}

function syntax(line: number, what: string): ContainerError {
  return new ContainerError('ERR_IMAGE', `Cannot read YAML: line ${line}: ${what}`, { line })
}

/** Writes a document that {@link parseYaml}, and any YAML reader, reads back. */
export function formatYaml(value: Yaml, indent = 0): string {
  const space = ' '.repeat(indent)
  if (Array.isArray(value)) {
    return value.map(item => `${space}- ${isNested(item) ? JSON.stringify(item) : formatScalar(item)}\n`).join('')
  }
  return Object.entries(value as { [key: string]: Yaml })
    .map(([key, inner]) => {
      const name = /^[A-Za-z_][\w.-]*$/.test(key) ? key : JSON.stringify(key)
      if (!isNested(inner)) return `${space}${name}: ${formatScalar(inner)}\n`
      const body = formatYaml(inner, indent + 2)
      return body === '' ? `${space}${name}: ${Array.isArray(inner) ? '[]' : '{}'}\n` : `${space}${name}:\n${body}`
    })
    .join('')
}

function isNested(value: Yaml): boolean {
  return typeof value === 'object' && value !== null
}

function formatScalar(value: Yaml): string {
  // Numbers stay plain, since LXD reads creation_date as one.
  if (typeof value !== 'string' || /^\d{1,15}$/.test(value)) return String(value)
  return JSON.stringify(value)
}
