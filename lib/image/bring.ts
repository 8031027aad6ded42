/**
 * Brings images into the store and out of it: one file (unified), two (split, LXD's or LXC's), a directory that holds
 * either, or a tree that is packed here.
 */
import { constants } from 'node:fs'
import { copyFile, type FileHandle, mkdir, open, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ContainerError } from '../errors.ts'
import type { Shift } from '../host/shift.ts'
import { detectFormat } from './archive.ts'
import { formatMetadata, hostArchitecture, kernelArchitecture, type Metadata, parseMetadata } from './metadata.ts'
import { type Compression, packTree } from './pack.ts'
import type { ImageFile, ImageRecord, ImageSource } from './record.ts'
import { describeFile, type ImageStore } from './store.ts'
import { readEntries } from './unpack.ts'
import { hashFiles, mismatch } from './verify.ts'

/** The files of an image on their way in: one, or metadata and root apart. */
export type ImagePaths = { readonly image: string } | { readonly metadata: string; readonly rootfs: string }

export interface BringOptions {
  /** What its fingerprint must be. */
  readonly fingerprint?: string | undefined
  readonly properties?: Readonly<Record<string, string>> | undefined
  /** By Debian's name or the kernel's, for metadata that does not say. Default: this machine. */
  readonly architecture?: string | undefined
  readonly source?: ImageSource | undefined
  readonly expires?: Date | undefined
  readonly cached?: boolean | undefined
  readonly autoUpdate?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** Names under which servers and exports keep the two halves. */
const METADATA_NAMES = /^(meta|metadata|lxd|incus)\.tar(\.\w+)?$/
const ROOTFS_NAMES = /^(rootfs|root)\.(tar(\.\w+)?|squashfs)$/

/** Imports files by path; they are copied (sharing extents where the file system can). */
export async function importImage(
  store: ImageStore,
  source: string | ImagePaths,
  options: BringOptions = {},
): Promise<ImageRecord> {
  const paths = typeof source === 'string' ? await lookInto(source) : source
  const workspace = await store.workspace()
  try {
    const copies = Object.entries(paths).map(([role, path]) => [role, path, join(workspace, role)] as const)
    for (const [, path, copy] of copies) await copyFile(path, copy, constants.COPYFILE_FICLONE)
    const owned = Object.fromEntries(copies.map(([role, , copy]) => [role, copy])) as unknown as ImagePaths
    return await takeImage(store, owned, options)
  } finally {
    await rm(workspace, { recursive: true, force: true })
  }
}

/** Which files of a directory, or what file, is the image. */
async function lookInto(path: string): Promise<ImagePaths> {
  if (!(await stat(path)).isDirectory()) return { image: path }
  const names = (await readdir(path)).sort()
  const metadata = names.find(name => METADATA_NAMES.test(name))
  const rootfs = names.find(name => ROOTFS_NAMES.test(name))
  if (metadata !== undefined && rootfs !== undefined) {
    return { metadata: join(path, metadata), rootfs: join(path, rootfs) }
  }
  throw new ContainerError('ERR_IMAGE', `Cannot import "${path}": it holds no metadata.tar with a rootfs`, {
    path,
    hint: 'expected are "metadata.tar.*" and "rootfs.tar.*" or "rootfs.squashfs"',
  })
}

/** Takes files that belong to us (downloads, or of a workspace) into the store by moving them. */
export async function takeImage(
  store: ImageStore,
  paths: ImagePaths,
  options: BringOptions = {},
): Promise<ImageRecord> {
  const files = new Map<ImageFile, string>()
  for (const [role, path] of Object.entries(paths)) {
    files.set(await describeFile(role as ImageFile['role'], path, options.signal), path)
  }
  const { fingerprint, metadata } = await examine(Object.values(paths), options)
  if (options.fingerprint !== undefined && options.fingerprint !== fingerprint) {
    throw mismatch('image', options.fingerprint, fingerprint)
  }
  const now = new Date().toISOString()
  const expires = options.expires ?? metadata.expires
  const record: ImageRecord = {
    version: 1,
    fingerprint,
    layout: 'image' in paths ? 'unified' : 'split',
    files: [...files.keys()],
    architecture: metadata.architecture,
    properties: { ...metadata.properties, ...options.properties },
    created: metadata.created.toISOString(),
    imported: now,
    used: now,
    cached: options.cached ?? false,
    autoUpdate: options.autoUpdate ?? false,
    ...(expires === undefined ? {} : { expires: expires.toISOString() }),
    ...(options.source === undefined ? {} : { source: options.source }),
  }
  return store.add(record, files)
}

/** The fingerprint of files, and what the first of them says about the image. */
async function examine(
  paths: readonly string[],
  options: BringOptions,
): Promise<{ fingerprint: string; metadata: Metadata }> {
  const handles: FileHandle[] = []
  try {
    for (const path of paths) handles.push(await open(path, 'r'))
    for (const handle of handles) await detectFormat(handle)
    const fingerprint = await hashFiles(handles, options.signal)
    const texts = await readMetadataFiles(handles[0] as FileHandle, options.signal)
    return { fingerprint, metadata: understand(texts, options) }
  } finally {
    for (const handle of handles) await handle.close()
  }
}

/** The small files of a metadata archive, or of a unified image: everything that is not below `rootfs/`. */
export async function readMetadataFiles(file: FileHandle, signal?: AbortSignal): Promise<Map<string, Buffer>> {
  return readEntries(
    file,
    entry => (entry.type === 'file' && /^[\w.-]+$|^templates\/[\w.-]+$/.test(entry.name) ? 'capture' : 'drop'),
    { signal },
  )
}

function understand(texts: ReadonlyMap<string, Buffer>, options: BringOptions): Metadata {
  const yaml = texts.get('metadata.yaml')
  if (yaml !== undefined) return parseMetadata(yaml.toString('utf8'))
  if (!texts.has('config')) {
    throw new ContainerError('ERR_IMAGE', 'Cannot import image: it has neither metadata.yaml nor LXC config')
  }
  // LXC's meta.tar says when it expires and nothing else about the image.
  const expiry = Number(texts.get('expiry')?.toString('utf8').trim() ?? 0)
  return {
    architecture: kernelArchitecture(options.architecture ?? hostArchitecture()),
    created: new Date(),
    expires: expiry > 0 ? new Date(expiry * 1000) : undefined,
    properties: {},
    templates: {},
  }
}

export interface PublishOptions extends BringOptions {
  readonly compression?: Compression
  /** How the tree's owners stand on disk. */
  readonly shift?: readonly Shift[] | undefined
  /** The process through whose mounts it is seen. */
  readonly through?: number | undefined
  readonly created?: Date
}

/** Packs a tree and takes it in as a split image: LXD's publish. */
export async function publishTree(store: ImageStore, tree: string, options: PublishOptions = {}): Promise<ImageRecord> {
  const workspace = await store.workspace()
  const compression = options.compression ?? 'zstd'
  try {
    const metadata: Metadata = {
      architecture: kernelArchitecture(options.architecture ?? hostArchitecture()),
      created: options.created ?? new Date(),
      expires: options.expires,
      properties: options.properties ?? {},
      templates: {},
    }
    const directory = join(workspace, 'metadata.d')
    await mkdir(directory)
    await writeFile(join(directory, 'metadata.yaml'), formatMetadata(metadata))
    const paths = { metadata: join(workspace, 'metadata'), rootfs: join(workspace, 'rootfs') }
    await packTree(directory, paths.metadata, { compression, signal: options.signal })
    const { shift, signal, through } = options
    await packTree(tree, paths.rootfs, { compression, shift, signal, through })
    return await takeImage(store, paths, options)
  } finally {
    await rm(workspace, { recursive: true, force: true })
  }
}

/** The endings by which other programs know the formats. */
const ENDINGS = { tar: 'tar', gzip: 'tar.gz', xz: 'tar.xz', zstd: 'tar.zst', bzip2: 'tar.bz2', squashfs: 'squashfs' }

/** Copies the files of an image into a directory, under names that {@link importImage} and LXD know. Gives their paths. */
export async function exportImage(store: ImageStore, name: string, directory: string): Promise<string[]> {
  const image = await store.get(name)
  if (image.layout === 'oci') {
    throw new ContainerError('ERR_IMAGE', `Cannot export image "${name}": it came from a registry`, {
      hint: 'create a container from it and publish that',
    })
  }
  await mkdir(directory, { recursive: true })
  const written: string[] = []
  for (const file of image.files) {
    const handle = await store.open(file)
    try {
      const stem = file.role === 'image' ? image.fingerprint : file.role
      const path = join(directory, `${stem}.${ENDINGS[await detectFormat(handle)]}`)
      await copyFile(`/proc/self/fd/${handle.fd}`, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
      written.push(path)
    } finally {
      await handle.close()
    }
  }
  return written
}
