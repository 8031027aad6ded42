/**
 * Unpacks squashfs images with unsquashfs(1), confined. An image of strangers is never mounted: the kernel's file system
 * parsers are not made for hostile input (CVE-2023-30549 is that class).
 */
import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { copyFile, type FileHandle, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { type Confinement, confine, runConfined, WORK } from '../confine/confine.ts'
import { ContainerError } from '../errors.ts'
import type { Limits } from './tar.ts'
import type { Unpacked, UnpackOptions } from './unpack.ts'

/** `-lln`: type and mode, owner, size (major,minor of a device), date, time, path. */
const LINE = /^([-dlcbps])\S{9} \d+\/\d+ +(\d+)(?:, *\d+)? \S+ \S+ squashfs-root\/?(.*)$/

interface Listing extends Unpacked {
  readonly names: readonly string[]
}

export async function unpackSquashfs(
  file: FileHandle,
  to: string,
  limits: Limits,
  options: UnpackOptions,
): Promise<Unpacked> {
  // unsquashfs seeks, and so wants a path: a copy of what was verified, under a name no image can foresee.
  const name = `.${randomUUID()}`
  const image = join(to, name)
  const list = `${image}.devices`
  const confinement = { directory: to, shift: options.shift, signal: options.signal }
  try {
    await copyFile(`/proc/self/fd/${file.fd}`, image, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    const found = await measure(`${WORK}/${name}`, confinement, limits)
    const args = ['-force', '-no-progress', '-no-wildcards', '-dest', WORK]
    if (found.devices > 0) {
      await writeFile(list, `${found.names.join('\n')}\n`, { flag: 'wx' })
      args.push('-exclude-file', `${WORK}/${name}.devices`)
    }
    await runConfined('unsquashfs', [...args, `${WORK}/${name}`], confinement)
    options.onProgress?.({ phase: 'unpack', done: found.bytes, total: found.bytes })
    return { entries: found.entries, bytes: found.bytes, devices: found.devices }
  } finally {
    await Promise.all([rm(image, { force: true }), rm(list, { force: true })])
  }
}

/** Lists an image before anything of it is written, against the limits. */
async function measure(image: string, confinement: Confinement, limits: Limits): Promise<Listing> {
  const lister = await confine('unsquashfs', ['-lln', image], { ...confinement, readonly: true, stdout: 'pipe' })
  const names: string[] = []
  let entries = 0
  let bytes = 0
  try {
    for await (const line of createInterface({ input: lister.stdout as Readable })) {
      const [, type, size, path] = LINE.exec(line) ?? []
      if (type === undefined) continue
      entries += 1
      if (type === '-') bytes += Number(size)
      if ((type === 'c' || type === 'b') && path !== undefined) names.push(path)
      if (entries > limits.entries) throw refuse(`more than ${limits.entries} entries`)
      if (bytes > limits.bytes) throw refuse(`more than ${limits.bytes} bytes`)
    }
    await lister.done
  } finally {
    lister.kill()
    // Killed, or failed and reported by the line above: only that it has gone matters here.
    await lister.done.catch(() => undefined)
  }
  return { entries, bytes, devices: names.length, names }
}

function refuse(what: string): ContainerError {
  return new ContainerError('ERR_IMAGE', `Cannot unpack archive: ${what}`, { step: 'image.scan' })
}
