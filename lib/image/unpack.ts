/**
 * Unpacks archives that nobody vouches for: a decompressor and a tar program, both confined, with {@link TarScanner}
 * between them, all at once and in one pass. What is read is the descriptor that was verified, never a path again.
 *
 * The directory that is filled must be new, and published by its owner only after success.
 */
import { randomUUID } from 'node:crypto'
import { access, type FileHandle, open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Confinement, confine, WORK } from '../confine/confine.ts'
import { give, isOwn } from '../confine/ownership.ts'
import { closeEnds, makePipe, Sink } from '../confine/pipe.ts'
import { ContainerError } from '../errors.ts'
import type { Shift } from '../host/shift.ts'
import type { Program } from '../native/program.ts'
import { type Archive, detectFormat, openArchive } from './archive.ts'
import { unpackSquashfs } from './squashfs.ts'
import { type Entry, LIMITS, type Limits, TarScanner, type Verdict } from './tar.ts'
import type { Progress } from './template.ts'

export interface UnpackOptions {
  readonly shift?: readonly Shift[] | undefined
  readonly limits?: Partial<Limits> | undefined
  /** Says of each entry whether it is unpacked; device nodes never are. */
  readonly decide?: ((entry: Entry) => Verdict) | undefined
  /** The directory is not empty: entries come over what is there, but for directories where something else comes. */
  readonly isFilled?: boolean | undefined
  /** Only entries of this directory are kept, by `decide`; it becomes the root of what is unpacked. */
  readonly below?: 'rootfs' | undefined
  /** The end mark may be missing, as it is in layers by some tools of OCI: a digest says that the bytes are all there. */
  readonly unmarked?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

export interface Unpacked {
  readonly entries: number
  /** Bytes of all files, holes included. */
  readonly bytes: number
  /** Device nodes that were left out: a container's /dev is made when it starts. */
  readonly devices: number
}

/**
 * What runs inside: only xattrs that mean the same in every layer. ACLs come by their xattr, which holds numbers and is
 * translated by the kernel; the text form (`--acls`) holds names of the machine that packed.
 */
const EXTRACT = [
  '--extract',
  '--file=-',
  '--blocking-factor=512',
  `--directory=${WORK}`,
  '--numeric-owner',
  '--preserve-permissions',
  '--xattrs',
  '--xattrs-include=user.*',
  '--xattrs-include=security.capability',
  '--xattrs-include=system.posix_acl_*',
  '--delay-directory-restore',
  '--warning=no-timestamp',
]

/** Names and the targets of hard links lose their first part; those of symbolic links are no names. */
const RISE = '--transform=s,^\\(\\./*\\)*rootfs/*,./,rhS'

/** Below this many bytes unpacked the ratio is not looked at. */
const RATIO_FLOOR = 64 * 1024 * 1024

/** Unpacks an archive into the existing directory `to`, which is empty unless `isFilled` is given. */
export async function unpack(file: FileHandle, to: string, options: UnpackOptions = {}): Promise<Unpacked> {
  const format = await detectFormat(file)
  const limits = { ...LIMITS, ...options.limits }
  // What is there already was asked when it was new, and may belong to others now.
  if (!options.isFilled) await refuseFolding(to)
  await give(to, options.shift, 'top')
  if (format === 'squashfs') return unpackSquashfs(file, to, limits, options)
  const owner = isOwn(options.shift) ? '--no-same-owner' : '--same-owner'
  const extract = [...EXTRACT, owner, ...(options.below === undefined ? [] : [RISE])]
  const [writing, reading] = await Promise.allSettled([
    feed('tar', extract, { directory: to, shift: options.shift, signal: options.signal }),
    openArchive(file, format, options.signal),
  ])
  try {
    if (writing.status === 'rejected') throw writing.reason
    if (reading.status === 'rejected') throw reading.reason
    return await pass(reading.value, writing.value, await file.stat(), limits, options)
  } finally {
    if (reading.status === 'fulfilled') await reading.value.close()
    if (writing.status === 'fulfilled') await writing.value.close()
  }
}

/**
 * Where names differ by case or form only (ext4 and tmpfs with casefold, CIFS), two entries of an archive can be one file, and a link that
 * the scanner knows under one name is walked through under another.
 */
async function refuseFolding(directory: string): Promise<void> {
  const probe = join(directory, `.caisson-${randomUUID()}-x`)
  await writeFile(probe, '', { flag: 'wx', mode: 0o600 })
  try {
    await access(`${probe.slice(0, -1)}X`)
  } catch {
    return
  } finally {
    await rm(probe)
  }
  throw new ContainerError('ERR_IMAGE', 'Cannot unpack archive: the file system takes two names for one', {
    path: directory,
    hint: 'use a directory without case folding: chattr -F, while it is empty',
  })
}

/** Reads files out of an archive without unpacking anything: those that `decide` captures. */
export async function readEntries(
  file: FileHandle,
  decide: (entry: Entry) => Verdict,
  options: Pick<UnpackOptions, 'limits' | 'signal' | 'unmarked'> = {},
): Promise<Map<string, Buffer>> {
  const archive = await openArchive(file, await detectFormat(file), options.signal)
  const scanner = new TarScanner(decide, { ...LIMITS, ...options.limits })
  try {
    for await (const chunk of archive.chunks) {
      scanner.write(chunk)
      if (scanner.ended) break
    }
  } finally {
    await archive.close()
  }
  scanner.end(options.unmarked)
  return scanner.captured
}

/** Writes the archive anew with xz, the one compression that every client of image servers knows. */
export async function recompress(file: FileHandle, to: string, signal?: AbortSignal): Promise<void> {
  const target = await open(to, 'wx', 0o644)
  const archive = await openArchive(file, await detectFormat(file), signal)
  try {
    const xz = await feed('xz', ['--compress', '--stdout', '-T0'], { stdout: target.fd, signal })
    try {
      for await (const chunk of archive.chunks) await xz.sink.write([chunk])
      await xz.finish()
    } finally {
      await xz.close()
    }
    await target.sync()
  } finally {
    await archive.close()
    await target.close()
  }
}

/** A confined program that reads what is written to `sink`. */
interface Fed {
  readonly sink: Sink
  /** No more comes; resolves when the program has ended well. */
  finish(): Promise<void>
  /** Why it ended, where it ended by itself. */
  failure(): Promise<unknown>
  /** Ends it, if need be; resolves when it has gone. */
  close(): Promise<void>
}

async function feed(name: string, args: readonly string[], options: Confinement): Promise<Fed> {
  const [reader, writer] = makePipe()
  let program: Program
  try {
    program = await confine(name, args, { ...options, stdin: reader })
  } catch (error) {
    closeEnds(writer)
    throw error
  } finally {
    closeEnds(reader)
  }
  const sink = new Sink(writer)
  const failure = () =>
    program.done.then(
      () => undefined,
      late => late,
    )
  return {
    sink,
    failure,
    finish: async () => {
      sink.end()
      await program.done
    },
    close: async () => {
      sink.end()
      program.kill()
      await failure()
    },
  }
}

/** From the archive through the scanner to tar. */
async function pass(
  archive: Archive,
  tar: Fed,
  packed: { size: number },
  limits: Limits,
  options: UnpackOptions,
): Promise<Unpacked> {
  let devices = 0
  const scanner = new TarScanner(entry => {
    if (entry.type !== 'character' && entry.type !== 'block') return options.decide?.(entry) ?? 'keep'
    devices += 1
    return 'drop'
  }, limits)
  // When tar ended first, its last words say more than our broken pipe.
  const write = (pieces: readonly Buffer[]) =>
    tar.sink.write(pieces).catch(async broken => {
      throw (await tar.failure()) ?? broken
    })
  let unpacked = 0
  for await (const chunk of archive.chunks) {
    unpacked += chunk.length
    if (unpacked > RATIO_FLOOR && unpacked > packed.size * limits.ratio) {
      throw new ContainerError('ERR_IMAGE', `Cannot unpack archive: it grows more than ${limits.ratio} times`)
    }
    await write(scanner.write(chunk))
    options.onProgress?.({ phase: 'unpack', done: unpacked })
    if (scanner.ended) break
  }
  await write(scanner.end(options.unmarked))
  await tar.finish()
  return { entries: scanner.entries, bytes: scanner.bytes, devices }
}
