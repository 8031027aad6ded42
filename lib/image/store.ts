/**
 * The image store: files by their SHA-256, images as records that name them, aliases that name images. It has no daemon and
 * no lock: what is in it is written under a temporary name, synced and renamed, and a name says what the bytes are, so two
 * processes that bring in the same image do the same thing twice and both succeed.
 *
 *     blobs/<sha256>          bytes: archives, manifests, layers
 *     images/<fingerprint>    an ImageRecord
 *     aliases/<name>          a fingerprint, and a description
 *     trees/<fingerprint>…/   unpacked, for backends that build on them (trees.ts)
 *     downloads/              parts, and work that was not finished
 */
import { randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ContainerError, nearest } from '../errors.ts'
import { ifMissing, syncDirectory, writeWhole } from '../host/file.ts'
import { holdersOf } from './holders.ts'
import { type ImageFile, type ImageRecord, type ImageSource, readRecord } from './record.ts'
import { hashFiles, isFingerprint, verifyHash } from './verify.ts'

export interface Alias {
  readonly name: string
  readonly fingerprint: string
  readonly description: string
}

/** What `list` looks for; all that is given must hold. */
export interface ImageFilter {
  readonly architecture?: string
  readonly cached?: boolean
  /** Properties by value; a RegExp is searched in it. */
  readonly properties?: Readonly<Record<string, string | RegExp>>
}

/** Days an image that came only because it was needed stays after its last use; LXD's default. */
export const CACHE_DAYS = 10
const DAY_MS = 86_400_000
/** Work of a process that died; a living one has finished long before. */
const STALE_MS = 7 * DAY_MS

const DIRECTORIES = ['blobs', 'images', 'aliases', 'trees', 'downloads'] as const

/** Where the store is when nothing else is said: beside LXC's own state. */
export function defaultStorePath(): string {
  if (process.geteuid?.() === 0) return '/var/lib/caisson/images'
  return join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local/share'), 'caisson/images')
}

export class ImageStore {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** Opens a store, making it if need be. Nobody but its owner may look into it: images carry setuid programs. */
  static async open(path: string = defaultStorePath()): Promise<ImageStore> {
    await mkdir(path, { recursive: true, mode: 0o700 })
    const { uid, mode } = await stat(path)
    if (uid !== process.geteuid?.() || (mode & 0o022) !== 0) {
      throw new ContainerError('EACCES', `Cannot open image store "${path}": others own it or may write to it`, {
        path,
      })
    }
    for (const name of DIRECTORIES) await mkdir(join(path, name), { recursive: true, mode: 0o700 })
    return new ImageStore(path)
  }

  /** The directory for work that is not finished: on the same file system as all else. */
  get downloads(): string {
    return join(this.path, 'downloads')
  }

  /** A new, empty directory for work that is not finished. */
  async workspace(): Promise<string> {
    const path = join(this.downloads, randomUUID())
    await mkdir(path, { mode: 0o700 })
    return path
  }

  // ── images ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** All images, the newest first. */
  async list(filter: ImageFilter = {}): Promise<ImageRecord[]> {
    const names = (await readdir(join(this.path, 'images'))).filter(isFingerprint)
    const records = await Promise.all(names.map(name => readRecord(join(this.path, 'images', name))))
    const wanted = records.filter(record => matches(record, filter))
    return wanted.sort((a, b) => b.created.localeCompare(a.created) || a.fingerprint.localeCompare(b.fingerprint))
  }

  /** An image by alias, fingerprint, or the beginning of one that fits no other. Throws ERR_IMAGE_NOT_FOUND. */
  async get(name: string): Promise<ImageRecord> {
    const aliases = await this.aliases()
    const wanted = aliases.find(alias => alias.name === name)?.fingerprint ?? name
    if (isFingerprint(wanted)) {
      const record = await readRecord(join(this.path, 'images', wanted)).catch(ifMissing)
      if (record !== undefined) return record
    } else if (/^[0-9a-f]{4,63}$/.test(wanted)) {
      const fitting = (await readdir(join(this.path, 'images'))).filter(f => isFingerprint(f) && f.startsWith(wanted))
      if (fitting.length === 1) return readRecord(join(this.path, 'images', fitting[0] as string))
      if (fitting.length > 1) throw notFound(name, `${fitting.length} fingerprints begin so; write more of it`)
    }
    const near = nearest(
      name,
      aliases.map(alias => alias.name),
    )
    throw notFound(name, near === undefined ? 'list() says which images there are' : `did you mean "${near}"?`)
  }

  /** The image that came from there, if it is here. */
  async find(source: Omit<ImageSource, 'serial'> & { serial?: string }): Promise<ImageRecord | undefined> {
    const fits = (other: ImageSource | undefined): boolean =>
      other?.protocol === source.protocol &&
      other.server === source.server &&
      other.alias === source.alias &&
      (source.serial === undefined || other.serial === source.serial)
    const found = (await this.list()).filter(record => fits(record.source))
    return found.sort((a, b) => (b.source?.serial ?? '').localeCompare(a.source?.serial ?? ''))[0]
  }

  /**
   * Takes an image in: `files` are moved out of a workspace or a download, and have been verified there. Its record is
   * written last, so that an image is listed only when all of it is there.
   */
  async add(record: ImageRecord, files: ReadonlyMap<ImageFile, string>): Promise<ImageRecord> {
    for (const [file, path] of files) await this.#keep(file, path)
    const known = await readRecord(join(this.path, 'images', record.fingerprint)).catch(ifMissing)
    // The same image again: what its owner said of it stays, and it is no longer only a cache when it was asked for.
    const merged = known === undefined ? record : { ...record, ...known, cached: known.cached && record.cached }
    const renewed = record.source === undefined ? merged : { ...merged, source: record.source }
    await this.write(renewed)
    return renewed
  }

  /** Writes a record that was changed. */
  async write(record: ImageRecord): Promise<void> {
    await writeWhole(join(this.path, 'images', record.fingerprint), `${JSON.stringify(record, null, 2)}\n`)
  }

  /** Changes properties; undefined removes one. */
  async setProperties(name: string, properties: Readonly<Record<string, string | undefined>>): Promise<ImageRecord> {
    const record = await this.get(name)
    const entries = Object.entries({ ...record.properties, ...properties }).filter(([, value]) => value !== undefined)
    const changed = { ...record, properties: Object.fromEntries(entries) as Record<string, string> }
    await this.write(changed)
    return changed
  }

  /** Removes an image with its aliases, and the bytes that no other image has. */
  async remove(name: string): Promise<void> {
    const record = await this.get(name)
    const trees = (await readdir(join(this.path, 'trees'))).filter(tree => tree.startsWith(record.fingerprint))
    for (const tree of trees) await this.#refuseUsed(name, tree)
    for (const alias of await this.aliases()) {
      if (alias.fingerprint === record.fingerprint) await this.removeAlias(alias.name)
    }
    await rm(join(this.path, 'images', record.fingerprint))
    for (const tree of trees) await rm(join(this.path, 'trees', tree), { recursive: true, force: true })
    await this.#sweep(record.files)
  }

  /** Opens a file of an image and verifies that descriptor: bytes that changed on disk are found here. */
  async open(file: ImageFile, signal?: AbortSignal): Promise<FileHandle> {
    const handle = await open(join(this.path, 'blobs', file.sha256), 'r')
    try {
      await verifyHash(handle, file.sha256, file.role, signal)
      return handle
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** Notes that an image was used, at most once an hour. */
  async touch(record: ImageRecord): Promise<void> {
    if (Date.now() - Date.parse(record.used) > DAY_MS / 24) {
      await this.write({ ...record, used: new Date().toISOString() })
    }
  }

  // ── aliases ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async aliases(): Promise<Alias[]> {
    const names = await readdir(join(this.path, 'aliases'))
    const read = async (name: string): Promise<Alias | undefined> => {
      const text = await readFile(join(this.path, 'aliases', name), 'utf8').catch(ifMissing)
      const [fingerprint = '', ...description] = text?.split('\n') ?? []
      if (!isFingerprint(fingerprint)) return undefined
      return { name: decodeURIComponent(name), fingerprint, description: description.join('\n').trim() }
    }
    const found = await Promise.all(names.map(read))
    return found.filter(alias => alias !== undefined).sort((a, b) => a.name.localeCompare(b.name))
  }

  /** Gives an image a name. Throws ERR_IMAGE_EXISTS when another has it, unless it may be taken away. */
  async setAlias(
    name: string,
    image: string,
    options: { description?: string; replace?: boolean } = {},
  ): Promise<void> {
    if (!/^[^\s\0]{1,128}$/.test(name) || isFingerprint(name) || name.startsWith('.')) {
      throw new ContainerError('ERR_INVALID_OPTION', `Cannot set alias "${name}": no blanks, 1 to 128 characters`)
    }
    const { fingerprint } = await this.get(image)
    const taken = (await this.aliases()).find(alias => alias.name === name)
    if (taken !== undefined && taken.fingerprint !== fingerprint && !options.replace) {
      throw new ContainerError('ERR_IMAGE_EXISTS', `Cannot set alias "${name}": it names ${taken.fingerprint}`)
    }
    await writeWhole(this.#aliasPath(name), `${fingerprint}\n${options.description ?? taken?.description ?? ''}\n`)
  }

  async removeAlias(name: string): Promise<void> {
    await rm(this.#aliasPath(name)).catch(ifMissing)
  }

  #aliasPath(name: string): string {
    return join(this.path, 'aliases', encodeURIComponent(name))
  }

  // ── tidiness ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Removes cached images not used for {@link CACHE_DAYS} days and images that are past their date and cached, bytes that
   * belong to no image, and what dead processes left. Says which images went.
   */
  async prune(options: { days?: number; now?: Date } = {}): Promise<string[]> {
    const now = (options.now ?? new Date()).getTime()
    const gone: string[] = []
    for (const record of await this.list()) {
      const idle = now - Date.parse(record.used) > (options.days ?? CACHE_DAYS) * DAY_MS
      if (!record.cached || !idle) continue
      const removed = await this.remove(record.fingerprint).then(() => true, ifUsed)
      if (removed) gone.push(record.fingerprint)
    }
    const blobs = await readdir(join(this.path, 'blobs'))
    await this.#sweep(
      blobs.map(sha256 => ({ sha256 })),
      now,
    )
    for (const name of await readdir(this.downloads)) {
      const path = join(this.downloads, name)
      const { mtimeMs } = (await stat(path).catch(ifMissing)) ?? { mtimeMs: now }
      if (now - mtimeMs > STALE_MS) await rm(path, { recursive: true, force: true })
    }
    return gone
  }

  /** Moves a verified file to its name; when the name is there, the bytes are. */
  async #keep(file: ImageFile, path: string): Promise<void> {
    const to = join(this.path, 'blobs', file.sha256)
    const handle = await open(path, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(path, to)
    await syncDirectory(join(this.path, 'blobs'))
  }

  /** Removes those of the files that no image names. Young ones may belong to an image that is just coming. */
  async #sweep(files: readonly { sha256: string }[], now?: number): Promise<void> {
    const needed = new Set((await this.list()).flatMap(record => record.files.map(file => file.sha256)))
    for (const { sha256 } of files) {
      if (needed.has(sha256)) continue
      const path = join(this.path, 'blobs', sha256)
      const { mtimeMs } = (await stat(path).catch(ifMissing)) ?? { mtimeMs: 0 }
      if (now === undefined || now - mtimeMs > DAY_MS) await rm(path, { force: true })
    }
  }

  async #refuseUsed(name: string, tree: string): Promise<void> {
    const holders = await holdersOf(join(this.path, 'trees', tree))
    if (holders.length === 0) return
    throw new ContainerError('ERR_CONTAINER_BUSY', `Cannot remove image "${name}": "${holders[0]}" stands on it`, {
      hint: 'destroy the container first, or clone it with another backend',
    })
  }
}

/** The size and hash of a file, as an image names it. */
export async function describeFile(role: ImageFile['role'], path: string, signal?: AbortSignal): Promise<ImageFile> {
  const handle = await open(path, 'r')
  try {
    return { role, sha256: await hashFiles([handle], signal), size: (await handle.stat()).size }
  } finally {
    await handle.close()
  }
}

function matches(record: ImageRecord, filter: ImageFilter): boolean {
  if (filter.architecture !== undefined && record.architecture !== filter.architecture) return false
  if (filter.cached !== undefined && record.cached !== filter.cached) return false
  return Object.entries(filter.properties ?? {}).every(([key, wanted]) => {
    const value = record.properties[key]
    return value !== undefined && (typeof wanted === 'string' ? value === wanted : wanted.test(value))
  })
}

function ifUsed(error: unknown): false {
  if ((error as ContainerError).code === 'ERR_CONTAINER_BUSY') return false
  throw error
}

function notFound(name: string, hint: string): ContainerError {
  return new ContainerError('ERR_IMAGE_NOT_FOUND', `Cannot find image "${name}"`, { hint })
}
