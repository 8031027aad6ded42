/**
 * Copies images from servers into the store: by simplestreams (LXD's and Incus's `images:`) and by LXC's download protocol.
 *
 * A server cannot hand out an older version than the one it gave before, unless that is asked for: an old image with its
 * old holes is as good as a forged one (flatpak GHSA-q4gr is that class).
 */
import { rm } from 'node:fs/promises'
import { ContainerError, nearest } from '../errors.ts'
import { type BringOptions, type ImagePaths, takeImage } from './bring.ts'
import { type DownloadOptions, download } from './fetch.ts'
import { getBytes, getText, type HttpOptions } from './http.ts'
import { hostArchitecture } from './metadata.ts'
import type { ImageRecord, ImageSource } from './record.ts'
import { chooseImage, fetchStreams, type SignedOptions, type StreamImage, type StreamItem } from './simplestreams.ts'
import type { ImageStore } from './store.ts'
import type { Progress } from './template.ts'
import { verifySignature } from './verify.ts'

export interface CopyOptions extends SignedOptions {
  /** By Debian's name; default: this machine. */
  readonly architecture?: string | undefined
  /** It is only kept as long as it is used. Default false. */
  readonly cached?: boolean | undefined
  /** refresh() looks for a newer version. Default true. */
  readonly autoUpdate?: boolean | undefined
  /** Accept a version older than the one that is here. */
  readonly force?: boolean | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** Copies an image of a simplestreams server by alias ('debian/12') or fingerprint. */
export async function copyFromStreams(
  store: ImageStore,
  server: string,
  alias: string,
  options: CopyOptions = {},
): Promise<ImageRecord> {
  const architecture = options.architecture ?? hostArchitecture()
  const images = await fetchStreams(server, options)
  const chosen = chooseImage(images, alias, architecture)
  if (chosen === undefined) throw unknownAlias(server, alias, architecture, images)
  const source: ImageSource = { protocol: 'simplestreams', server, alias, serial: chosen.serial }
  const here = await refuseOlder(store, source, options)
  if (here?.fingerprint === chosen.fingerprint) return here
  const item = (one: StreamItem): Wanted => [
    `${server.replace(/\/+$/, '')}/${one.path}`,
    { ...options, sha256: one.sha256, size: one.size },
  ]
  const { files } = chosen
  const wanted =
    'image' in files ? { image: item(files.image) } : { metadata: item(files.metadata), rootfs: item(files.rootfs) }
  return fetchImage(store, wanted, {
    ...bringOptions(options, source),
    fingerprint: chosen.fingerprint,
    properties: chosen.properties,
    architecture: chosen.architecture,
  })
}

function bringOptions(options: CopyOptions, source: ImageSource): BringOptions {
  const { cached = false, autoUpdate = true, signal } = options
  return { source, cached, autoUpdate, signal }
}

type Wanted = readonly [url: string, options: DownloadOptions]

/** Downloads the files of an image and takes it in. When that fails, those that are here whole do not stay without the others. */
async function fetchImage(
  store: ImageStore,
  wanted: Readonly<Record<string, Wanted>>,
  options: BringOptions,
): Promise<ImageRecord> {
  const paths: Record<string, string> = {}
  try {
    for (const [role, [url, how]] of Object.entries(wanted)) {
      paths[role] = (await download(url, store.downloads, how)).path
    }
    return await takeImage(store, paths as unknown as ImagePaths, options)
  } finally {
    for (const path of Object.values(paths)) await rm(path, { force: true })
  }
}

/** What is here from that source. Throws when the server now offers something older. */
async function refuseOlder(
  store: ImageStore,
  source: ImageSource,
  options: CopyOptions,
): Promise<ImageRecord | undefined> {
  const { protocol, server, alias } = source
  const here = await store.find({ protocol, server, alias })
  const known = here?.source?.serial ?? ''
  if (known > source.serial && !options.force) {
    throw new ContainerError(
      'ERR_IMAGE',
      `Cannot copy "${alias}": the server offers ${source.serial}, here is ${known}`,
      {
        step: 'image.verify',
        hint: 'an older image may be an attack; say "force: true" if it is wanted',
      },
    )
  }
  return here
}

function unknownAlias(
  server: string,
  alias: string,
  architecture: string,
  images: readonly StreamImage[],
): ContainerError {
  const near = nearest(
    alias,
    images.flatMap(image => image.aliases),
  )
  return new ContainerError('ERR_IMAGE_NOT_FOUND', `Cannot find image "${alias}" for ${architecture} at "${server}"`, {
    ...(near === undefined ? {} : { hint: `did you mean "${near}"?` }),
  })
}

// ── LXC's download protocol ─────────────────────────────────────────────────────────────────────────────────────────

/** One line of the index. */
export interface DownloadEntry {
  readonly dist: string
  readonly release: string
  readonly arch: string
  readonly variant: string
  readonly build: string
  readonly path: string
}

export interface DownloadChoice {
  readonly dist: string
  readonly release: string
  readonly arch: string
  readonly variant: string
}

/** The level of config files that lxc-download asks for. */
export const COMPATIBILITY = 7

/** What a server of LXC's download template has; `user` for containers with a user namespace. */
export async function listDownloads(
  server: string,
  mode: 'system' | 'user',
  options: HttpOptions = {},
): Promise<DownloadEntry[]> {
  const base = `${server.replace(/\/+$/, '')}/meta/1.0/index-${mode}`
  const headers = { 'user-agent': `lxc/caisson compat:${COMPATIBILITY}`, ...options.headers }
  let text: string
  try {
    text = await getText(`${base}.${COMPATIBILITY}`, { ...options, headers })
  } catch (error) {
    // Only levels that differ have a file of their own.
    if (!/status 40[34]/.test((error as Error).message)) throw error
    text = await getText(base, { ...options, headers })
  }
  return text.split('\n').filter(Boolean).map(parseLine)
}

function parseLine(line: string): DownloadEntry {
  const [dist = '', release = '', arch = '', variant = '', build = '', path = ''] = line.trim().split(';')
  const words = [dist, release, arch, variant, build]
  const isSound = words.every(word => /^[\w][\w.:+~-]*$/.test(word)) && /^\/?[\w][\w./:+~-]*\/$/.test(path)
  if (isSound && !path.includes('..')) return { dist, release, arch, variant, build, path: path.replace(/^\//, '') }
  throw new ContainerError('ERR_IMAGE', `Cannot read image index: "${line}"`)
}

/** Copies an image by LXC's download protocol. */
export async function copyFromDownloads(
  store: ImageStore,
  server: string,
  choice: DownloadChoice,
  options: CopyOptions & { mode?: 'system' | 'user' } = {},
): Promise<ImageRecord> {
  const entries = await listDownloads(server, options.mode ?? 'system', options)
  const { dist, release, arch, variant } = choice
  const entry = entries.find(e => e.dist === dist && e.release === release && e.arch === arch && e.variant === variant)
  const alias = aliasOf(choice)
  if (entry === undefined) {
    const near = nearest(alias, entries.map(aliasOf))
    throw new ContainerError('ERR_IMAGE_NOT_FOUND', `Cannot find image "${alias}" at "${server}"`, {
      hint: near === undefined ? `it has ${entries.length} others` : `did you mean "${near}"?`,
    })
  }
  const source: ImageSource = { protocol: 'lxc', server, alias, serial: entry.build }
  const here = await refuseOlder(store, source, options)
  if (here?.source?.serial === entry.build) return here
  const base = `${server.replace(/\/+$/, '')}/${entry.path}`
  const sums = await fetchSums(base, options)
  const file = (name: string): Wanted => [base + name, { ...options, sha256: sums.get(name) }]
  const files = { metadata: file('meta.tar.xz'), rootfs: file('rootfs.tar.xz') }
  const properties = { os: dist, release, variant, architecture: arch, serial: entry.build }
  return fetchImage(store, files, { ...bringOptions(options, source), properties, architecture: arch })
}

/** How a choice is written in one word. */
export function aliasOf({ dist, release, arch, variant }: DownloadChoice): string {
  return `${dist}/${release}/${arch}/${variant}`
}

/** The hashes beside the files. A server without them is trusted for its certificate alone, unless a keyring is given. */
async function fetchSums(base: string, options: CopyOptions): Promise<Map<string, string>> {
  const url = `${base}SHA256SUMS`
  let bytes: Buffer
  try {
    bytes = await getBytes(url, options)
  } catch (error) {
    if (options.keyring !== undefined || !/status 40[34]/.test((error as Error).message)) throw error
    return new Map()
  }
  if (options.keyring !== undefined) {
    await verifySignature(url, bytes, await getBytes(`${url}.asc`, options), options.keyring)
  }
  const sums = new Map<string, string>()
  for (const line of bytes.toString('utf8').split('\n')) {
    const [, sum, name] = /^([0-9a-f]{64})[ *]+(?:\.\/)?([\w.-]+)$/.exec(line.trim()) ?? []
    if (sum !== undefined && name !== undefined) sums.set(name, sum)
  }
  for (const name of ['meta.tar.xz', 'rootfs.tar.xz']) {
    if (!sums.has(name))
      throw new ContainerError('ERR_IMAGE', `Cannot trust "${base}${name}": SHA256SUMS does not name it`)
  }
  return sums
}

/** Looks for newer versions of all images that want them, or of one. Gives those that came; aliases move to them. */
export async function refreshImages(
  store: ImageStore,
  options: CopyOptions & { image?: string } = {},
): Promise<ImageRecord[]> {
  const chosen =
    options.image === undefined ? (await store.list()).filter(one => one.autoUpdate) : [await store.get(options.image)]
  const fresh: ImageRecord[] = []
  for (const image of chosen) {
    const { source } = image
    if (source === undefined || source.protocol === 'file' || source.protocol === 'oci') continue
    const [dist = '', release = '', arch = '', variant = ''] = source.alias.split('/')
    const more = { ...options, cached: image.cached }
    const found =
      source.protocol === 'lxc'
        ? await copyFromDownloads(store, source.server, { dist, release, arch, variant }, more)
        : await copyFromStreams(store, source.server, source.alias, { ...more, architecture: image.architecture })
    if (found.fingerprint === image.fingerprint) continue
    for (const alias of await store.aliases()) {
      if (alias.fingerprint === image.fingerprint)
        await store.setAlias(alias.name, found.fingerprint, { replace: true })
    }
    fresh.push(found)
  }
  return fresh
}
