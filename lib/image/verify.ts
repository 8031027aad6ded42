/** Whether bytes are those that were promised: hashes, image fingerprints, and detached OpenPGP signatures. */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { throwIfAborted } from '../abort.ts'
import { ContainerError } from '../errors.ts'
import { startProgram } from '../native/program.ts'

const CHUNK = 1024 * 1024

/** A fingerprint is a name on disk and a word of servers, so nothing else may pass for one (CVE-2026-48769). */
export function isFingerprint(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text)
}

/** The SHA-256 of one file, or of several as if they were one: LXD's fingerprint of a split image. */
export async function hashFiles(files: readonly FileHandle[], signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(CHUNK)
  for (const file of files) {
    for (let at = 0; ; ) {
      throwIfAborted(signal, 'verify image')
      const { bytesRead } = await file.read(buffer, 0, CHUNK, at)
      if (bytesRead === 0) break
      hash.update(buffer.subarray(0, bytesRead))
      at += bytesRead
    }
  }
  return hash.digest('hex')
}

/** The same of paths. */
export async function hashPaths(paths: readonly string[], signal?: AbortSignal): Promise<string> {
  const handles: FileHandle[] = []
  try {
    for (const path of paths) handles.push(await open(path, 'r'))
    return await hashFiles(handles, signal)
  } finally {
    for (const handle of handles) await handle.close()
  }
}

/** Throws ERR_IMAGE when an open file has not the hash that was promised. */
export async function verifyHash(file: FileHandle, sha256: string, what: string, signal?: AbortSignal): Promise<void> {
  const found = await hashFiles([file], signal)
  if (found !== sha256) throw mismatch(what, sha256, found)
}

/** The error for a wrong hash. */
export function mismatch(what: string, promised: string, found: string): ContainerError {
  return new ContainerError('ERR_IMAGE', `Cannot trust "${what}": its sha256 is ${found}, not ${promised}`, {
    step: 'image.verify',
    hint: 'it was damaged on the way or changed at the server; try again, or ask the server',
  })
}

/** Throws ERR_IMAGE unless one of the keys in the keyring made this detached signature of these bytes (gpgv(1)). */
export async function verifySignature(
  what: string,
  data: Uint8Array,
  signature: Uint8Array,
  keyring: string,
): Promise<void> {
  // Both come by pipes: what is checked is what we hold in memory, and nothing is left on disk.
  const args = ['--enable-special-filenames', '--keyring', keyring, '--', '-&3', '-']
  const gpgv = startProgram('gpgv', args, { stdio: ['pipe', 'ignore', 'pipe', 'input'] })
  for (const [stream, bytes] of [
    [gpgv.input(3), signature],
    [gpgv.stdin as Writable, data],
  ] as const) {
    // EPIPE: gpgv has ended before it read all, and its exit code says why.
    stream.on('error', () => undefined)
    stream.end(bytes)
  }
  try {
    await gpgv.done
  } catch (cause) {
    throw new ContainerError('ERR_IMAGE', `Cannot trust "${what}": no key of "${keyring}" signed it`, {
      step: 'image.verify',
      cause,
    })
  }
}
