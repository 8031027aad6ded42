/**
 * Reads simplestreams: the two JSON files by which LXD's, Incus's and LXC's image servers say what they have.
 *
 *     streams/v1/index.json    which lists there are
 *     streams/v1/images.json   products "distribution:release:architecture:variant", each with versions, each with items
 *
 * What a server says is used only in the form checked here: hashes are hashes, paths are relative and lead nowhere else
 * (CVE-2026-48769: a fingerprint taken from a server and used as a path).
 */
import { ContainerError } from '../errors.ts'
import { getBytes, type HttpOptions } from './http.ts'
import { kernelArchitecture } from './metadata.ts'
import { isFingerprint, verifySignature } from './verify.ts'

export interface SignedOptions extends HttpOptions {
  /** An OpenPGP keyring (a file for gpgv(1)); with it, lists must be signed by one of its keys. */
  readonly keyring?: string | undefined
}

/** One file of a version. */
export interface StreamItem {
  readonly path: string
  readonly sha256: string
  readonly size: number
}

/** One image that can be had: the newest or an older version of a product. */
export interface StreamImage {
  /** Of metadata and root together; of the file alone for a unified image. */
  readonly fingerprint: string
  readonly product: string
  /** The server's version, which begins with a date. */
  readonly serial: string
  readonly aliases: readonly string[]
  readonly architecture: string
  readonly properties: Readonly<Record<string, string>>
  readonly files: { readonly image: StreamItem } | { readonly metadata: StreamItem; readonly rootfs: StreamItem }
}

export type Json = { readonly [key: string]: unknown }

/** Root formats in the order in which they are taken, and the key of their fingerprint in the metadata item. */
const ROOTS: readonly (readonly [ftype: string, combined: string])[] = [
  ['root.tar.xz', 'combined_rootxz_sha256'],
  ['squashfs', 'combined_squashfs_sha256'],
]
const METADATA_TYPES = ['lxd.tar.xz', 'incus.tar.xz', 'lxd.tar.gz', 'incus.tar.gz']
const UNIFIED_TYPES = ['lxd_combined.tar.gz', 'incus_combined.tar.gz', 'combined.tar.gz']

/** All images of a server, the newest version of each product first. */
export async function fetchStreams(server: string, options: SignedOptions = {}): Promise<StreamImage[]> {
  const base = server.replace(/\/+$/, '')
  const index = object(await fetchSigned(`${base}/streams/v1/index.json`, options), 'index.json')
  const lists = Object.values(fields(index.index, 'index')).map(list => fields(list, 'index'))
  const wanted = lists.filter(list => list.datatype === 'image-downloads')
  const images: StreamImage[] = []
  for (const list of wanted) {
    const path = relativePath(list.path)
    images.push(...parseProducts(await fetchSigned(`${base}/${path}`, options)))
  }
  return images
}

/** Fetches a list, and with a keyring its detached signature, which must hold. */
async function fetchSigned(url: string, options: SignedOptions): Promise<string> {
  const text = await getBytes(url, options)
  if (options.keyring !== undefined) {
    await verifySignature(url, text, await getBytes(`${url}.gpg`, options), options.keyring)
  }
  return text.toString('utf8')
}

/** Reads a `products:1.0` file. Versions that hold nothing for containers are left out. */
export function parseProducts(text: string): StreamImage[] {
  const products = fields(object(text, 'products').products, 'products')
  const images: StreamImage[] = []
  for (const [product, value] of Object.entries(products)) {
    const fieldsOfProduct = fields(value, product)
    const versions = Object.entries(fields(fieldsOfProduct.versions, product))
    // A version must begin with its date; that is also what orders them.
    const dated = versions.filter(([serial]) => /^\d{8}/.test(serial)).sort(([a], [b]) => b.localeCompare(a))
    for (const [serial, version] of dated) {
      const files = chooseFiles(fields(fields(version, serial).items, serial))
      if (files !== undefined) images.push(describe(product, serial, fieldsOfProduct, files))
    }
  }
  return images
}

function describe(product: string, serial: string, from: Json, chosen: Chosen): StreamImage {
  const word = (key: string): string => (typeof from[key] === 'string' ? (from[key] as string) : '')
  const properties = {
    os: word('os'),
    release: word('release'),
    variant: word('variant'),
    architecture: word('arch'),
    serial,
    description: `${word('os')} ${word('release')} ${word('arch')} (${serial})`,
  }
  return {
    ...chosen,
    product,
    serial,
    aliases: word('aliases')
      .split(',')
      .map(alias => alias.trim())
      .filter(Boolean),
    architecture: kernelArchitecture(word('arch')),
    properties: Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== '')),
  }
}

type Chosen = Pick<StreamImage, 'fingerprint' | 'files'>

/** The files that make a container image, by what this library can unpack best. */
function chooseFiles(items: Json): Chosen | undefined {
  const all = Object.values(items).map(item => fields(item, 'item'))
  const ofType = (types: readonly string[]): Json | undefined =>
    all.find(item => typeof item.ftype === 'string' && types.includes(item.ftype))
  const metadata = ofType(METADATA_TYPES)
  for (const [ftype, combined] of ROOTS) {
    const rootfs = ofType([ftype])
    const fingerprint = metadata?.[combined] ?? (ftype === 'root.tar.xz' ? metadata?.combined_sha256 : undefined)
    if (metadata === undefined || rootfs === undefined || typeof fingerprint !== 'string') continue
    return { fingerprint: hash(fingerprint), files: { metadata: parseItem(metadata), rootfs: parseItem(rootfs) } }
  }
  const unified = ofType(UNIFIED_TYPES)
  if (unified === undefined) return undefined
  const image = parseItem(unified)
  return { fingerprint: image.sha256, files: { image } }
}

function parseItem(item: Json): StreamItem {
  const size = Number(item.size)
  if (!Number.isSafeInteger(size) || size <= 0) throw damaged(`a file of ${String(item.size)} bytes`)
  return { path: relativePath(item.path), sha256: hash(item.sha256), size }
}

/** The image of that alias (or fingerprint) for a machine: the newest version. */
export function chooseImage(
  images: readonly StreamImage[],
  alias: string,
  architecture: string,
): StreamImage | undefined {
  const machine = kernelArchitecture(architecture)
  const byAlias = images.filter(image => image.aliases.includes(alias) && image.architecture === machine)
  const newest = byAlias.sort((a, b) => b.serial.localeCompare(a.serial))[0]
  return newest ?? images.find(image => /^[0-9a-f]{12,64}$/.test(alias) && image.fingerprint.startsWith(alias))
}

/** A JSON object, or ERR_IMAGE. */
export function object(text: string, what: string): Json {
  try {
    return fields(JSON.parse(text), what)
  } catch (cause) {
    throw cause instanceof ContainerError ? cause : damaged(`${what} is not JSON`)
  }
}

/** A value that must be an object. */
export function fields(value: unknown, what: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  throw damaged(`"${what}" is no object`)
}

function hash(value: unknown): string {
  if (typeof value === 'string' && isFingerprint(value)) return value
  throw damaged(`"${String(value)}" is no sha256`)
}

/** A path below the server's root. */
export function relativePath(value: unknown): string {
  const path = typeof value === 'string' ? value.replace(/^\/+/, '') : ''
  if (path !== '' && !/[?#\\\0]|:\/\//.test(path) && !path.split('/').some(part => part === '' || /^\.+$/.test(part)))
    return path
  throw damaged(`"${String(value)}" is no relative path`)
}

function damaged(what: string): ContainerError {
  return new ContainerError('ERR_IMAGE', `Cannot read image list: ${what}`)
}
