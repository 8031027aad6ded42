/**
 * OCI images: layout directories, archives of these, and registries. They go into the store blob by blob, so that layers
 * that images share are kept, and fetched, once.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { copyFile, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { throwIfAborted } from '../abort.ts'
import { ifMissing } from '../host/file.ts'
import {
  checkDigest,
  choosePlatform,
  type Descriptor,
  DOCUMENT_MAX,
  parseConfig,
  parseIndex,
  parseManifest,
} from './manifest.ts'
import { hostArchitecture, kernelArchitecture } from './metadata.ts'
import type { ImageFile, ImageRecord, ImageSource } from './record.ts'
import { parseReference, Registry, type RegistryOptions } from './registry.ts'
import type { ImageStore } from './store.ts'
import type { Progress } from './template.ts'
import { unpack } from './unpack.ts'
import { hashPaths, mismatch } from './verify.ts'

export interface OciOptions extends RegistryOptions {
  readonly architecture?: string | undefined
  readonly cached?: boolean | undefined
}

/** Where documents and blobs come from: a registry or a layout. Both give only what has the digest that was asked for. */
interface OciSource {
  document(sha256: string): Promise<Buffer>
  blob(sha256: string, size: number, directory: string): Promise<string>
}

/** Pulls an image of a registry into the store. */
export async function pullImage(store: ImageStore, reference: string, options: OciOptions = {}): Promise<ImageRecord> {
  const parsed = parseReference(reference)
  const registry = new Registry(parsed, options)
  const top = await registry.document(parsed.sha256 === undefined ? parsed.tag : `sha256:${parsed.sha256}`)
  const alias = `${parsed.repository}:${parsed.tag}`
  const source: OciSource = {
    document: sha256 => registry.document(`sha256:${sha256}`),
    blob: (sha256, size, directory) => registry.blob(sha256, size, directory),
  }
  return take(store, source, top, { protocol: 'oci', server: parsed.registry, alias, serial: '' }, undefined, options)
}

/** Imports an OCI layout directory, or an archive of one; `tag` says which image when there are several. */
export async function importOci(
  store: ImageStore,
  path: string,
  options: OciOptions & { tag?: string | undefined } = {},
): Promise<ImageRecord> {
  if ((await stat(path)).isDirectory()) return importLayout(store, path, path, options)
  const workspace = await store.workspace()
  try {
    const layout = join(workspace, 'layout')
    await mkdir(layout)
    const archive = await open(path, 'r')
    try {
      await unpack(archive, layout, { signal: options.signal })
    } finally {
      await archive.close()
    }
    return await importLayout(store, layout, path, options)
  } finally {
    await rm(workspace, { recursive: true, force: true })
  }
}

async function importLayout(
  store: ImageStore,
  layout: string,
  path: string,
  options: OciOptions & { tag?: string | undefined },
): Promise<ImageRecord> {
  const at = (sha256: string): string => join(layout, 'blobs/sha256', sha256)
  const source: OciSource = {
    document: async sha256 => checkDigest(await readSmall(at(sha256)), sha256, 'manifest'),
    blob: async (sha256, _size, directory) => {
      const copy = join(directory, sha256)
      await copyFile(at(sha256), copy, constants.COPYFILE_FICLONE)
      const found = await hashPaths([copy], options.signal)
      if (found !== sha256) throw mismatch(at(sha256), sha256, found)
      return copy
    },
  }
  const top = await readSmall(join(layout, 'index.json'))
  return take(
    store,
    source,
    top,
    { protocol: 'file', server: path, alias: options.tag ?? '', serial: '' },
    options.tag,
    options,
  )
}

/** A document of an untrusted directory: no FIFO to wait for, no link to follow, nothing large. */
async function readSmall(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const buffer = Buffer.alloc(DOCUMENT_MAX)
    const { bytesRead } = await file.read(buffer, 0, DOCUMENT_MAX, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

async function take(
  store: ImageStore,
  from: OciSource,
  top: Buffer,
  source: ImageSource,
  tag: string | undefined,
  options: OciOptions,
): Promise<ImageRecord> {
  const machine = options.architecture ?? hostArchitecture()
  const bytes = await descend(from, top, machine, tag)
  const manifest = parseManifest(bytes)
  const workspace = await store.workspace()
  try {
    const files = new Map<ImageFile, string>()
    const fingerprint = createHash('sha256').update(bytes).digest('hex')
    await writeFile(join(workspace, 'manifest'), bytes)
    files.set({ role: 'manifest', sha256: fingerprint, size: bytes.length }, join(workspace, 'manifest'))
    const wanted = [
      { role: 'config' as const, ...manifest.config },
      ...manifest.layers.map(layer => ({ role: 'layer' as const, ...layer })),
    ]
    const all: ImageFile[] = [...files.keys()]
    for (const [index, { role, sha256, size }] of wanted.entries()) {
      const file: ImageFile = { role, sha256, size }
      all.push(file)
      report(options.onProgress, index, wanted.length)
      throwIfAborted(options.signal, `bring image "${source.alias || source.server}"`)
      const isHere = await stat(join(store.path, 'blobs', sha256)).catch(ifMissing)
      const isComing = [...files.keys()].some(other => other.sha256 === sha256)
      if (isHere === undefined && !isComing) files.set(file, await from.blob(sha256, size, workspace))
    }
    const config = await configOfRecord(store, files, all)
    const architecture = kernelArchitecture(config.architecture || machine)
    return await store.add(recordOf(all, architecture, config.created, source, options.cached ?? false), files)
  } finally {
    await rm(workspace, { recursive: true, force: true })
  }
}

function recordOf(
  files: readonly ImageFile[],
  architecture: string,
  created: string,
  source: ImageSource,
  cached: boolean,
): ImageRecord {
  const now = new Date().toISOString()
  return {
    version: 1,
    // The first file is the manifest, whose digest names the image.
    fingerprint: (files[0] as ImageFile).sha256,
    layout: 'oci',
    files,
    architecture,
    properties: { description: source.alias || source.server },
    created: Number.isNaN(Date.parse(created)) ? now : new Date(created).toISOString(),
    imported: now,
    used: now,
    cached,
    autoUpdate: false,
    source,
  }
}

function report(onProgress: ((progress: Progress) => void) | undefined, done: number, total: number): void {
  onProgress?.({ phase: 'pull', done, total })
}

/** From an index (or an index of indexes) down to the manifest for this machine. */
async function descend(from: OciSource, top: Buffer, machine: string, tag: string | undefined): Promise<Buffer> {
  let bytes = top
  for (let depth = 0; depth < 4; depth++) {
    const entries = parseIndex(bytes)
    if (entries === undefined) return bytes
    // A tag names an image of a layout; below it only the machine chooses.
    const wanted = depth === 0 ? tag : undefined
    const named = entries.filter(entry => wanted === undefined || entry.name === wanted)
    const single = depth === 0 && named.length === 1 && (wanted !== undefined || named[0]?.platform === '')
    const chosen = single ? (named[0] as Descriptor) : choosePlatform(entries, machine, wanted)
    bytes = await from.document(chosen.sha256)
  }
  return bytes
}

async function configOfRecord(
  store: ImageStore,
  files: ReadonlyMap<ImageFile, string>,
  all: readonly ImageFile[],
): Promise<ReturnType<typeof parseConfig>> {
  const config = all.find(file => file.role === 'config') as ImageFile
  const path =
    [...files].find(([file]) => file.sha256 === config.sha256)?.[1] ?? join(store.path, 'blobs', config.sha256)
  return parseConfig(checkDigest(await readFile(path), config.sha256, 'config'))
}
