/**
 * Downloads a file into a directory: it resumes what an earlier try left, and what it returns is whole and verified.
 *
 * A part is `<key>.part` beside `<key>.tag`, the validator of its version (ETag); a try claims it by renaming it to a name
 * of its own, so that two processes never write the same file, and gives it back when it fails.
 */
import { createHash, type Hash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { throwIfAborted } from '../abort.ts'
import { ContainerError } from '../errors.ts'
import { type HttpOptions, type HttpResponse, networkError, refused, request } from './http.ts'
import type { Progress } from './template.ts'
import { mismatch } from './verify.ts'

export interface DownloadOptions extends HttpOptions {
  /** What it must be; without a hash the caller verifies in another way. */
  readonly sha256?: string | undefined
  readonly size?: number | undefined
  /** Tries after the first one when the line breaks. Default 3. */
  readonly retries?: number | undefined
  /** Bytes above which it is refused when no size is known. Default 16 GiB. */
  readonly max?: number | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

export interface Downloaded {
  /** A file of the directory that nobody else knows; the caller renames or removes it. */
  readonly path: string
  readonly sha256: string
  readonly size: number
}

const RETRIES = 3
const PAUSE_MS = 250
const MAX = 16 * 2 ** 30
const STATUSES_TO_RETRY = [408, 425, 429, 500, 502, 503, 504]

/** Downloads `url` into `directory`. Throws ERR_NETWORK, ERR_IMAGE (size or hash), ERR_ABORTED. */
export async function download(url: string, directory: string, options: DownloadOptions = {}): Promise<Downloaded> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const part = await Part.claim(url, directory)
  try {
    for (let attempt = 0; ; attempt++) {
      try {
        await fill(url, part, options)
        break
      } catch (error) {
        const again = error instanceof BrokenLine && attempt < (options.retries ?? RETRIES)
        if (!again) throw error instanceof BrokenLine ? error.reason : error
        await sleep(PAUSE_MS * 2 ** attempt, undefined, { signal: options.signal }).catch(() => undefined)
        throwIfAborted(options.signal, `download "${url}"`)
      }
    }
  } catch (error) {
    await part.giveBack(error instanceof ContainerError && error.code === 'ERR_IMAGE')
    throw error
  }
  return part.finish()
}

/** A failure after which another try makes sense. */
class BrokenLine extends Error {
  readonly reason: ContainerError
  constructor(reason: ContainerError) {
    super(reason.message)
    this.reason = reason
  }
}

async function fill(url: string, part: Part, options: DownloadOptions): Promise<void> {
  const range: Record<string, string> =
    part.size > 0 && part.tag !== '' ? { range: `bytes=${part.size}-`, 'if-range': part.tag } : {}
  const response = await ask(url, { ...options, headers: { ...options.headers, ...range } })
  if (response.status === 416) await part.restart()
  if (STATUSES_TO_RETRY.includes(response.status) || response.status === 416) throw new BrokenLine(refused(response))
  if (response.status !== 200 && response.status !== 206) throw refused(response)
  if (response.status === 200 || !continues(response, part.size)) {
    if (response.status === 206) {
      await part.restart()
      throw new BrokenLine(refused(response))
    }
    await part.restart()
  }
  await part.remember(String(response.headers.etag ?? response.headers['last-modified'] ?? ''))
  await receive(url, response, part, options)
}

async function ask(url: string, options: DownloadOptions): Promise<HttpResponse> {
  try {
    return await request(url, options)
  } catch (error) {
    const failure = networkError(url, error, options.signal)
    // A refused certificate or URL stays refused; a broken line may mend.
    if (failure.code === 'ERR_NETWORK' && failure.cause !== undefined) throw new BrokenLine(failure)
    throw failure
  }
}

function continues(response: HttpResponse, size: number): boolean {
  return String(response.headers['content-range'] ?? '').startsWith(`bytes ${size}-`)
}

async function receive(url: string, response: HttpResponse, part: Part, options: DownloadOptions): Promise<void> {
  const rest = response.headers['content-length']
  const promised = rest === undefined ? undefined : part.size + Number(rest)
  const total = options.size ?? promised
  const max = options.size ?? options.max ?? MAX
  if (promised !== undefined && promised > max) throw tooLong(url, max)
  try {
    for await (const chunk of response.body) {
      await part.append(chunk as Buffer)
      if (part.size > max) throw tooLong(url, max)
      options.onProgress?.({ phase: 'download', done: part.size, ...(total === undefined ? {} : { total }) })
    }
  } catch (error) {
    const failure = networkError(url, error, options.signal)
    throw failure.code === 'ERR_NETWORK' ? new BrokenLine(failure) : failure
  }
  if (promised !== undefined && part.size < promised) {
    throw new BrokenLine(new ContainerError('ERR_NETWORK', `Cannot fetch "${url}": ${part.size} of ${promised} bytes`))
  }
  if (options.size !== undefined && part.size !== options.size) {
    throw new ContainerError('ERR_IMAGE', `Cannot trust "${url}": it has ${part.size} bytes, not ${options.size}`)
  }
  const found = part.digest()
  if (options.sha256 !== undefined && found !== options.sha256) throw mismatch(url, options.sha256, found)
}

function tooLong(url: string, max: number): ContainerError {
  return new ContainerError('ERR_IMAGE', `Cannot trust "${url}": it has more than ${max} bytes`)
}

/** The file that grows, and the hash of what it holds. */
class Part {
  tag = ''
  size = 0
  readonly #stem: string
  readonly #path: string
  readonly #file: FileHandle
  #hash: Hash = createHash('sha256')

  private constructor(stem: string, path: string, file: FileHandle) {
    this.#stem = stem
    this.#path = path
    this.#file = file
  }

  static async claim(url: string, directory: string): Promise<Part> {
    const stem = join(directory, createHash('sha256').update(url).digest('hex').slice(0, 32))
    const path = `${stem}.${randomUUID()}`
    const claimed = await rename(`${stem}.part`, path).then(
      () => true,
      () => false,
    )
    const part = new Part(stem, path, await open(path, claimed ? 'r+' : 'wx+', 0o600))
    if (claimed) {
      part.tag = await readFile(`${stem}.tag`, 'utf8').catch(() => '')
      for await (const chunk of createReadStream(path)) part.#hash.update(chunk as Buffer)
      part.size = (await stat(path)).size
    }
    return part
  }

  async remember(tag: string): Promise<void> {
    // A weak validator does not promise the same bytes (RFC 9110 §13.1.5).
    this.tag = tag.startsWith('W/') ? '' : tag
    await writeFile(`${this.#stem}.tag`, this.tag, { mode: 0o600 })
  }

  async restart(): Promise<void> {
    await this.#file.truncate(0)
    this.#hash = createHash('sha256')
    this.size = 0
  }

  async append(chunk: Buffer): Promise<void> {
    this.#hash.update(chunk)
    await this.#file.write(chunk, 0, chunk.length, this.size)
    this.size += chunk.length
  }

  digest(): string {
    return this.#hash.copy().digest('hex')
  }

  async finish(): Promise<Downloaded> {
    await this.#file.sync()
    await this.#file.close()
    await rm(`${this.#stem}.tag`, { force: true })
    return { path: this.#path, sha256: this.digest(), size: this.size }
  }

  /** Leaves what came for the next try; bytes that cannot be right are not worth keeping. */
  async giveBack(wrong: boolean): Promise<void> {
    await this.#file.close()
    if (wrong || this.size === 0) await rm(this.#path, { force: true })
    else await rename(this.#path, `${this.#stem}.part`)
  }
}
