/** What an image says about itself: LXD's metadata.yaml, or the `config*` files of LXC's meta.tar. */
import { ContainerError } from '../errors.ts'
import { formatYaml, parseYaml, type Yaml } from './yaml.ts'

/** One file of the root file system that is written anew from a template. */
export interface FileTemplate {
  /** The name below `templates/` in the image. */
  readonly template: string
  /** On which occasions: 'create', 'copy', 'start', 'rename'. */
  readonly when: readonly string[]
  /** Only where the file is not there yet. */
  readonly createOnly: boolean
  readonly properties: Readonly<Record<string, string>>
  readonly uid: number
  readonly gid: number
  readonly mode: number
}

export interface Metadata {
  /** The kernel's name, as of uname -m. */
  readonly architecture: string
  readonly created: Date
  readonly expires: Date | undefined
  readonly properties: Readonly<Record<string, string>>
  /** By the absolute path in the container. */
  readonly templates: Readonly<Record<string, FileTemplate>>
}

/** Debian's names of machines, as in indexes and on servers, and the kernel's. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  amd64: 'x86_64',
  arm64: 'aarch64',
  armhf: 'armv7l',
  armel: 'armv7l',
  i386: 'i686',
  ppc64el: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
  loong64: 'loongarch64',
}

/** The machine names of Node, for the default. */
const NODE_ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'armhf',
  ia32: 'i386',
  ppc64: 'ppc64el',
  s390x: 's390x',
  riscv64: 'riscv64',
  loong64: 'loong64',
}

/** Debian's name of a machine ('amd64') as the kernel's ('x86_64'); others as they are. */
export function kernelArchitecture(name: string): string {
  return ARCHITECTURES[name] ?? name
}

/** The kernel's name, or Debian's, as Debian's. */
export function debianArchitecture(name: string): string {
  return Object.keys(ARCHITECTURES).find(key => ARCHITECTURES[key] === name) ?? name
}

/** This machine, by Debian's name. */
export function hostArchitecture(): string {
  return NODE_ARCHITECTURES[process.arch] ?? process.arch
}

/** Reads metadata.yaml. Throws ERR_IMAGE. */
export function parseMetadata(text: string): Metadata {
  const root = mapping(parseYaml(text), 'metadata.yaml')
  const expiry = Number(root.expiry_date ?? 0)
  const templates = Object.entries(mapping(root.templates ?? {}, 'templates')).map(
    ([path, value]) => [path, parseTemplate(path, mapping(value, path))] as const,
  )
  return {
    architecture: kernelArchitecture(word(root.architecture ?? '', 'architecture')),
    created: new Date(Number(root.creation_date ?? 0) * 1000),
    expires: expiry > 0 ? new Date(expiry * 1000) : undefined,
    properties: words(root.properties ?? {}, 'properties'),
    templates: Object.fromEntries(templates),
  }
}

function parseTemplate(path: string, value: { readonly [key: string]: Yaml }): FileTemplate {
  const template = word(value.template ?? '', path)
  if (!/^[\w][\w.-]*$/.test(template)) throw damaged(`the template "${template}" of "${path}" is no file name`)
  if (!path.startsWith('/') || path.split('/').includes('..')) throw damaged(`"${path}" is no absolute path`)
  const when = Array.isArray(value.when) ? value.when.map(item => word(item, path)) : []
  return {
    template,
    when,
    createOnly: value.create_only === true,
    properties: words(value.properties ?? {}, path),
    uid: Number(value.uid ?? 0),
    gid: Number(value.gid ?? 0),
    mode: Number.parseInt(word(value.mode ?? '0644', path), 8),
  }
}

/** Writes metadata.yaml. */
export function formatMetadata(metadata: Metadata): string {
  const templates = Object.entries(metadata.templates).map(([path, one]) => [
    path,
    {
      when: one.when,
      create_only: one.createOnly,
      template: one.template,
      properties: one.properties,
      uid: String(one.uid),
      gid: String(one.gid),
      mode: `0${one.mode.toString(8)}`,
    },
  ])
  return formatYaml({
    architecture: metadata.architecture,
    creation_date: seconds(metadata.created),
    ...(metadata.expires === undefined ? {} : { expiry_date: seconds(metadata.expires) }),
    properties: metadata.properties,
    templates: Object.fromEntries(templates),
  })
}

function seconds(date: Date): string {
  return String(Math.floor(date.getTime() / 1000))
}

function mapping(value: Yaml, what: string): { readonly [key: string]: Yaml } {
  if (value === null) return {}
  if (typeof value === 'object' && !Array.isArray(value)) return value as { readonly [key: string]: Yaml }
  throw damaged(`"${what}" is no mapping`)
}

function words(value: Yaml, what: string): Record<string, string> {
  const entries = Object.entries(mapping(value, what))
  return Object.fromEntries(entries.map(([key, inner]) => [key, inner === null ? '' : word(inner, `${what}.${key}`)]))
}

function word(value: Yaml, what: string): string {
  if (typeof value === 'string' || typeof value === 'boolean') return String(value)
  throw damaged(`"${what}" is no word`)
}

function damaged(what: string): ContainerError {
  return new ContainerError('ERR_IMAGE', `Cannot read image metadata: ${what}`)
}
