/**
 * Images unpacked: into a directory that is given, or once for all into the store, where overlay and sandboxes build on it.
 *
 * A tree of the store is never changed. Its name is the image and the id map it was written with; it appears by a rename
 * after everything in it has reached the disk.
 */
import { createHash } from 'node:crypto'
import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ContainerError } from '../errors.ts'
import type { Shift } from '../host/shift.ts'
import { runProgram } from '../native/program.ts'
import { applyLayers } from './layers.ts'
import type { ImageFile, ImageRecord } from './record.ts'
import type { ImageStore } from './store.ts'
import { type Unpacked, type UnpackOptions, unpack } from './unpack.ts'

/** Unpacks the root file system of an image into an existing, empty directory. */
export async function unpackImage(
  store: ImageStore,
  image: ImageRecord,
  rootfs: string,
  options: UnpackOptions = {},
): Promise<void> {
  await store.touch(image)
  if (image.layout === 'oci') return applyLayers(store, image, rootfs, options)
  if (image.layout === 'split') return void (await unpackFile(store, fileOf(image, 'rootfs'), rootfs, options))
  await unpackUnified(store, image, rootfs, options)
}

/** The only file of that role. */
export function fileOf(image: ImageRecord, role: ImageFile['role']): ImageFile {
  const file = image.files.find(candidate => candidate.role === role)
  if (file !== undefined) return file
  throw new ContainerError('ERR_IMAGE', `Cannot use image "${image.fingerprint}": it has no ${role}`)
}

/** Unpacks one archive of an image. */
export async function unpackFile(
  store: ImageStore,
  file: ImageFile,
  to: string,
  options: UnpackOptions,
): Promise<Unpacked> {
  const handle = await store.open(file, options.signal)
  try {
    return await unpack(handle, to, options)
  } finally {
    await handle.close()
  }
}

/** Of a unified image only `rootfs/` is wanted. */
async function unpackUnified(
  store: ImageStore,
  image: ImageRecord,
  rootfs: string,
  options: UnpackOptions,
): Promise<void> {
  let found = false
  const decide: UnpackOptions['decide'] = entry => {
    if (entry.name !== 'rootfs' && !entry.name.startsWith('rootfs/')) return 'drop'
    found = true
    return options.decide?.({ ...entry, name: entry.name.slice('rootfs/'.length) || '.' }) ?? 'keep'
  }
  await unpackFile(store, fileOf(image, 'image'), rootfs, { ...options, decide, below: 'rootfs' })
  if (!found) throw new ContainerError('ERR_IMAGE', `Cannot use image "${image.fingerprint}": it has no rootfs`)
}

/** The tree of an image in the store, unpacked if it is not there yet. Gives the path of its root file system. */
export async function treeOf(
  store: ImageStore,
  image: ImageRecord,
  options: Pick<UnpackOptions, 'shift' | 'signal' | 'onProgress' | 'limits'> = {},
): Promise<string> {
  const tree = join(store.path, 'trees', `${image.fingerprint}${suffix(options.shift)}`)
  const rootfs = join(tree, 'rootfs')
  if (await exists(rootfs)) {
    await store.touch(image)
    return rootfs
  }
  const work = await mkdtemp(join(store.downloads, 'tree-'))
  try {
    await mkdir(join(work, 'rootfs'))
    await mkdir(join(work, 'users'))
    await unpackImage(store, image, join(work, 'rootfs'), options)
    await runProgram('sync', ['--file-system', work], { signal: options.signal })
    await rename(work, tree)
  } catch (error) {
    await rm(work, { recursive: true, force: true })
    // Another process was faster, and its tree is as good.
    if (!(await exists(rootfs))) throw error
  }
  return rootfs
}

function suffix(shift: readonly Shift[] | undefined): string {
  if (shift === undefined) return ''
  return `-${createHash('sha256').update(JSON.stringify(shift)).digest('hex').slice(0, 16)}`
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
