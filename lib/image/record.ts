/** What the store keeps of an image: one JSON file, written whole or not at all. */
import { readFile } from 'node:fs/promises'
import { ContainerError } from '../errors.ts'
import { isFingerprint } from './verify.ts'

/**
 * `unified`: one tar with metadata.yaml, rootfs/, templates/. `split`: metadata and root apart, LXD's or LXC's.
 * `oci`: a manifest, a config and layers.
 */
export type ImageLayout = 'unified' | 'split' | 'oci'

export interface ImageFile {
  readonly role: 'image' | 'metadata' | 'rootfs' | 'manifest' | 'config' | 'layer'
  /** Its name in the store, too. */
  readonly sha256: string
  readonly size: number
}

/** Where an image came from, so that it can be looked for again. */
export interface ImageSource {
  readonly protocol: 'simplestreams' | 'lxc' | 'oci' | 'file'
  readonly server: string
  readonly alias: string
  /** The server's version of it; a later one sorts after it. */
  readonly serial: string
}

export interface ImageRecord {
  readonly version: 1
  /** 64 hexadecimal digits. */
  readonly fingerprint: string
  readonly layout: ImageLayout
  readonly files: readonly ImageFile[]
  readonly architecture: string
  readonly properties: Readonly<Record<string, string>>
  /** ISO 8601, as are the others. */
  readonly created: string
  readonly expires?: string
  readonly imported: string
  readonly used: string
  /** Came because it was needed, and may go when it is not. */
  readonly cached: boolean
  readonly autoUpdate: boolean
  readonly source?: ImageSource
}

/** Reads a record. A damaged one is an error, never a guess. */
export async function readRecord(path: string): Promise<ImageRecord> {
  const text = await readFile(path, 'utf8')
  let record: ImageRecord | undefined
  try {
    record = JSON.parse(text) as ImageRecord
  } catch (cause) {
    throw new ContainerError('ERR_IMAGE', `Cannot read image record "${path}": it is damaged`, { path, cause })
  }
  const files = Array.isArray(record.files) ? record.files : []
  const isSound = record.version === 1 && isFingerprint(record.fingerprint) && files.length > 0
  if (isSound && files.every(file => isFingerprint(file.sha256))) return record
  throw new ContainerError('ERR_IMAGE', `Cannot read image record "${path}": it is damaged or of a later version`, {
    path,
  })
}
