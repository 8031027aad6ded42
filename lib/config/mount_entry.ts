/**
 * One line of an fstab, which is also the value of `lxc.mount.entry`: `SOURCE TARGET TYPE OPTIONS [dump pass]`. fstab(5)
 *
 * Options are matched as whole words. LXC searches its own as substrings and others as prefixes, so that `rootcontext=…`
 * is read as `ro` and a path that contains `optional` is cut; that is not copied.
 */
import { type Kind, quote } from './kinds.ts'
import { mistake } from './mistake.ts'

export interface MountLine {
  readonly source: string
  readonly target: string
  readonly type: string
  /** What is not LXC's own, in order: `bind`, `ro`, `size=1m`, … */
  readonly options: readonly string[]
  /** Make the target, and the directories above it. */
  readonly create?: 'dir' | 'file'
  /** A failure is not one. */
  readonly optional?: true
  /** The source is below the container's root. */
  readonly relative?: true
  /** Show ids through a user namespace: the container's own, or that of a path. */
  readonly idmap?: string
}

/** LXC's own options. */
export const MOUNT_WORDS = ['create=dir', 'create=file', 'optional', 'relative', 'idmap=container'] as const

/** fstab(5) writes blanks, tabs, newlines and backslashes as octal numbers. */
const readField = (field: string): string =>
  field.replace(/\\(040|011|012|134)/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

const printField = (field: string): string =>
  field.replace(/[ \t\n\\]/g, blank => `\\${blank.charCodeAt(0).toString(8).padStart(3, '0')}`)

export const mountLine: Kind<MountLine, string> = {
  describe: 'a line of an fstab: SOURCE TARGET TYPE OPTIONS [dump pass]',
  verbatim: true,
  parse(text) {
    const fields = withoutComment(text.trim().split(/[ \t]+/))
    if (fields.length < 2) throw mistake(`${quote(text)} has no target`, 'write SOURCE TARGET TYPE OPTIONS')
    if (fields.length > 6) throw mistake(`${quote(text)} has more than six fields`, 'write a blank in a path as \\040')
    if (fields.slice(4).some(field => !/^[0-9]+$/.test(field))) {
      throw mistake(`${quote(text)} has more than dump and pass after the options`, 'separate options by commas alone')
    }
    const [source, target, type = 'none', options = 'defaults'] = fields.map(readField) as [string, string, ...string[]]
    return { source, target, type, ...sortOptions(options) }
  },
  print(line) {
    const own = [
      line.create === undefined ? [] : [`create=${line.create}`],
      line.optional ? ['optional'] : [],
      line.relative ? ['relative'] : [],
      line.idmap === undefined ? [] : [`idmap=${line.idmap}`],
    ].flat()
    const options = [...line.options, ...own].join(',') || 'defaults'
    return [line.source, line.target, line.type, options].map(printField).join(' ')
  },
}

/** getmntent(3) reads four fields and two numbers, so that people put comments behind them. */
function withoutComment(fields: string[]): string[] {
  const comment = fields.findIndex((field, index) => index >= 4 && field.startsWith('#'))
  return comment < 0 ? fields : fields.slice(0, comment)
}

type Sorted = Omit<MountLine, 'source' | 'target' | 'type'>

/** Parts LXC's own options from those of the kernel. */
export function sortOptions(text: string): Sorted {
  const own: { -readonly [K in keyof Sorted]?: Sorted[K] } = {}
  const options: string[] = []
  for (const option of splitOptions(text)) {
    if (option === 'create=dir' || option === 'create=file') own.create = option === 'create=dir' ? 'dir' : 'file'
    else if (option === 'optional') own.optional = true
    else if (option === 'relative') own.relative = true
    else if (option.startsWith('idmap=')) own.idmap = namespacePath(option.slice('idmap='.length))
    else if (option.startsWith('create=')) throw mistake(`${quote(option)} is neither create=dir nor create=file`)
    else if (option !== 'defaults') options.push(option)
  }
  return { ...own, options }
}

function namespacePath(path: string): string {
  if (path === 'container' || path.startsWith('/')) return path
  throw mistake(`"idmap=${path}" is neither idmap=container nor the path of a user namespace`)
}

/** At commas, except those inside quotes (`context="a,b"`) and those escaped by a backslash (overlay paths). */
function splitOptions(text: string): string[] {
  return (text.match(/(?:"[^"]*"|\\.|[^,])+/g) ?? []).map(option => option.trim()).filter(option => option !== '')
}

/** The lines of an fstab file; comments and empty lines say nothing. `report` gets a mistake and its line number. */
export function parseFstab(text: string, report: (error: unknown, line: number) => never): MountLine[] {
  return text.split('\n').flatMap((line, index) => {
    if (/^\s*(#|$)/.test(line)) return []
    try {
      return [mountLine.parse(line.trim())]
    } catch (error) {
      return report(error, index + 1)
    }
  })
}
