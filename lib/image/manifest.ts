/** OCI and Docker manifests, indexes and configs, checked as far as they are used (image-spec 1.1). */
import { createHash } from 'node:crypto'
import { ContainerError } from '../errors.ts'
import { debianArchitecture } from './metadata.ts'
import { isFingerprint } from './verify.ts'

export interface Descriptor {
  readonly mediaType: string
  /** Hexadecimal, without `sha256:`. */
  readonly sha256: string
  readonly size: number
  readonly platform: string
  /** The tag, in layouts. */
  readonly name: string
}

export interface Manifest {
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
}

/** What a config says about running. */
export interface OciConfig {
  readonly architecture: string
  readonly created: string
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly environment: readonly string[]
  readonly user: string
  readonly directory: string
  readonly stopSignal: string
}

export const INDEX_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
]
export const MANIFEST_TYPES = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
]

/** Manifests and configs are small; registries refuse manifests above 4 MiB. */
export const DOCUMENT_MAX = 4 * 1024 * 1024
const LAYERS_MAX = 500

/** Debian's names and Go's. */
const GO_ARCHITECTURES: Readonly<Record<string, string>> = {
  armhf: 'arm',
  armel: 'arm',
  i386: '386',
  ppc64el: 'ppc64le',
}

/** Go's name of a machine, from Debian's or the kernel's. */
export function goArchitecture(name: string): string {
  const debian = debianArchitecture(name)
  return GO_ARCHITECTURES[debian] ?? debian
}

type Json = { readonly [key: string]: unknown }

/** Checks that bytes are what their digest says. */
export function checkDigest(bytes: Buffer, sha256: string, what: string): Buffer {
  const found = createHash('sha256').update(bytes).digest('hex')
  if (found === sha256) return bytes
  throw damaged(`the sha256 of its ${what} is ${found}, not ${sha256}`)
}

/** An index's descriptors, or undefined when the document is a manifest. */
export function parseIndex(bytes: Buffer): Descriptor[] | undefined {
  const root = json(bytes)
  if (!Array.isArray(root.manifests)) return undefined
  return root.manifests.map(item => descriptor(item))
}

/** The descriptor for a machine, and a tag where one is given. Attestations (`unknown/unknown`) never fit. */
export function choosePlatform(all: readonly Descriptor[], architecture: string, tag?: string): Descriptor {
  const named = tag === undefined ? all : all.filter(one => one.name === tag)
  const platform = `linux/${goArchitecture(architecture)}`
  const fitting = named.filter(one => one.platform === platform || one.platform.startsWith(`${platform}/`))
  const chosen = fitting[0] ?? (named.length === 1 && named[0]?.platform === '' ? named[0] : undefined)
  if (chosen !== undefined) return chosen
  const names = all.map(one => one.name || one.platform).join(', ')
  throw damaged(`it has nothing for ${tag === undefined ? platform : `"${tag}" on ${platform}`}; it has: ${names}`)
}

export function parseManifest(bytes: Buffer): Manifest {
  const root = json(bytes)
  if (!Array.isArray(root.layers) || root.layers.length > LAYERS_MAX) throw damaged('its manifest has no layers')
  return { config: descriptor(root.config), layers: root.layers.map(item => descriptor(item)) }
}

export function parseConfig(bytes: Buffer): OciConfig {
  const root = json(bytes)
  const run = (root.config ?? {}) as Json
  return {
    architecture: word(root.architecture),
    created: word(root.created),
    entrypoint: list(run.Entrypoint),
    command: list(run.Cmd),
    environment: list(run.Env),
    user: word(run.User),
    directory: word(run.WorkingDir),
    stopSignal: word(run.StopSignal),
  }
}

function descriptor(value: unknown): Descriptor {
  const item = (value ?? {}) as Json
  const [algorithm, sha256 = ''] = word(item.digest).split(':')
  const size = Number(item.size)
  if (algorithm !== 'sha256' || !isFingerprint(sha256)) throw damaged(`it has the digest "${word(item.digest)}"`)
  if (!Number.isSafeInteger(size) || size < 0) throw damaged('a descriptor without a size')
  const platform = (item.platform ?? {}) as Json
  const parts = [word(platform.os), word(platform.architecture), word(platform.variant)].filter(part => part !== '')
  const annotations = (item.annotations ?? {}) as Json
  const name = word(annotations['org.opencontainers.image.ref.name'])
  return { mediaType: word(item.mediaType), sha256, size, platform: parts.join('/'), name }
}

function json(bytes: Buffer): Json {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new ContainerError('ERR_IMAGE', 'Cannot use OCI image: a document is not JSON', { cause })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  throw damaged('a document is no object')
}

function word(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : []
}

function damaged(what: string): ContainerError {
  return new ContainerError('ERR_IMAGE', `Cannot use OCI image: ${what}`)
}
