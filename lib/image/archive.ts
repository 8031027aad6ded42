/**
 * The bytes of an archive by the chunk, decompressed: by a confined program, or by Node's own gzip. What is read is the descriptor
 * that was verified, never a path again.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { throwIfAborted } from '../abort.ts'
import { confine } from '../confine/confine.ts'
import { closeEnds, makePipe, Source } from '../confine/pipe.ts'
import { ContainerError } from '../errors.ts'
import type { Program } from '../native/program.ts'

export type ArchiveFormat = 'tar' | 'gzip' | 'xz' | 'zstd' | 'bzip2' | 'squashfs'

/** The first bytes of each format. */
const MAGIC: readonly (readonly [format: ArchiveFormat, at: number, bytes: string])[] = [
  ['gzip', 0, '1f8b'],
  ['xz', 0, 'fd377a585a00'],
  ['zstd', 0, '28b52ffd'],
  ['bzip2', 0, '425a68'],
  ['squashfs', 0, '68737173'],
  ['tar', 257, '7573746172'],
]

/** Decompressors that are programs of the host; gzip is Node's own. */
const DECOMPRESSORS: Readonly<Partial<Record<ArchiveFormat, readonly [name: string, ...args: string[]]>>> = {
  xz: ['xz', '--decompress', '--stdout'],
  zstd: ['zstd', '--decompress', '--stdout', '--quiet', '--memory=2048MB'],
  bzip2: ['bzip2', '--decompress', '--stdout'],
}

const CHUNK = 1024 * 1024

/** The format of an archive by its first bytes. Throws ERR_IMAGE. */
export async function detectFormat(file: FileHandle): Promise<ArchiveFormat> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(512), 0, 512, 0)
  const start = buffer.subarray(0, bytesRead)
  for (const [format, at, bytes] of MAGIC) {
    if (start.toString('hex', at, at + bytes.length / 2) === bytes) return format
  }
  throw new ContainerError('ERR_IMAGE', 'Cannot unpack archive: its format is unknown', {
    hint: 'tar (plain, gzip, xz, zstd, bzip2) and squashfs are known',
  })
}

/** Chunks of an archive that is being read. Whoever does not read them to the end, or leaves the loop, closes it. */
export interface Archive {
  /** Each chunk is overwritten when the next is asked for. Throws ERR_IMAGE, ERR_ABORTED. */
  readonly chunks: AsyncIterable<Buffer>
  /** Ends the decompressor; resolves when it has gone. */
  close(): Promise<void>
}

/** Begins to decompress. The file's own offset is neither used nor moved. */
export async function openArchive(
  file: FileHandle,
  format: ArchiveFormat,
  signal: AbortSignal | undefined,
): Promise<Archive> {
  const command = DECOMPRESSORS[format]
  if (command === undefined) {
    const bytes = format === 'gzip' ? gunzip(file) : readFile(file, Buffer.allocUnsafeSlow(CHUNK))
    return { chunks: reporting(bytes, signal), close: async () => undefined }
  }
  const { program, reader } = await startDecompressor(file, command, signal)
  const source = new Source(reader)
  const close = async (): Promise<void> => {
    source.close()
    program.kill()
    // Killed after we had enough, or failed and already reported: only that it has gone matters here.
    await program.done.catch(() => undefined)
  }
  return { chunks: reporting(source, signal, () => program.done), close }
}

async function startDecompressor(
  file: FileHandle,
  [name, ...args]: readonly [string, ...string[]],
  signal: AbortSignal | undefined,
): Promise<{ program: Program; reader: number }> {
  // A description of its own, since reading moves the offset; of the same inode, since it is not looked up by a path.
  const again = await open(`/proc/self/fd/${file.fd}`, 'r')
  const [reader, writer] = makePipe()
  try {
    return { program: await confine(name, args, { stdin: again.fd, stdout: writer, signal }), reader }
  } catch (error) {
    closeEnds(reader)
    throw error
  } finally {
    closeEnds(writer)
    await again.close()
  }
}

/** The chunks of a source; what goes wrong with it means that the archive is damaged. */
async function* reporting(
  source: AsyncIterable<Buffer>,
  signal: AbortSignal | undefined,
  ended?: () => Promise<unknown>,
): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of source) {
      throwIfAborted(signal, 'unpack archive')
      yield chunk
    }
    await ended?.()
  } catch (error) {
    if (error instanceof ContainerError && error.code === 'ERR_ABORTED') throw error
    const words = error instanceof Error ? error.message : String(error)
    throw new ContainerError('ERR_IMAGE', `Cannot unpack archive: it is damaged: ${words}`, { cause: error })
  }
}

/** The bytes of a file from its beginning: into one buffer again and again, or into a new one each time. */
async function* readFile(file: FileHandle, buffer?: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; ; ) {
    const into = buffer ?? Buffer.allocUnsafeSlow(CHUNK)
    const { bytesRead } = await file.read(into, 0, CHUNK, at)
    if (bytesRead === 0) return
    at += bytesRead
    yield into.subarray(0, bytesRead)
  }
}

/** Begins when it is read: a failure of either end reaches the reader, and there has to be one. */
async function* gunzip(file: FileHandle): AsyncGenerator<Buffer> {
  yield* pipeline(Readable.from(readFile(file)), createGunzip({ chunkSize: 256 * 1024 }), () => undefined)
}
