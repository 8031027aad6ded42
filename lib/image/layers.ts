/**
 * Puts the layers of an OCI image over each other (image-spec, layer.md): what a layer hides (`.wh.<name>`, or all of a
 * directory by `.wh..wh..opq`) is removed before its own files come, so that a marker never hides what came with it.
 */
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { confine, WORK } from '../confine/confine.ts'
import type { ImageRecord } from './record.ts'
import type { ImageStore } from './store.ts'
import { readEntries, type UnpackOptions, unpack } from './unpack.ts'

const PREFIX = '.wh.'
const OPAQUE = '.wh..wh..opq'

/** Empties directories, but not through a link. */
const EMPTY = 'for d; do [ -L "$d" ] || [ ! -d "$d" ] || find "$d" -mindepth 1 -delete; done'

/**
 * What tar does not put an entry over: a directory where something else comes. (Its own `--recursive-unlink` empties every directory that
 * comes again.) And a link where a directory comes goes first, so that nothing below is looked for behind it.
 */
const UNLINK = 'for p; do [ ! -L "$p" ] || rm -- "$p"; done'
const CLEAR = 'for p; do [ -L "$p" ] || [ ! -d "$p" ] || rm -rf -- "$p"; done'

interface Hidden {
  readonly paths: string[]
  /** Of these all that is in them. */
  readonly emptied: string[]
  /** What the layer brings itself. */
  readonly directories: string[]
  readonly others: string[]
}

/** Applies the layers of an image to an empty directory, the lowest first. */
export async function applyLayers(
  store: ImageStore,
  image: ImageRecord,
  rootfs: string,
  given: UnpackOptions,
): Promise<void> {
  const options: UnpackOptions = { ...given, unmarked: true }
  const layers = image.files.filter(file => file.role === 'layer')
  for (const [index, layer] of layers.entries()) {
    const file = await store.open(layer, options.signal)
    try {
      if (index > 0) await hide(await look(file, options), rootfs, options)
      const decide: UnpackOptions['decide'] = entry =>
        basename(entry.name).startsWith(PREFIX) ? 'drop' : (options.decide?.(entry) ?? 'keep')
      await unpack(file, rootfs, { ...options, decide, isFilled: index > 0 })
      options.onProgress?.({ phase: 'layers', done: index + 1, total: layers.length })
    } finally {
      await file.close()
    }
  }
}

async function look(file: FileHandle, options: UnpackOptions): Promise<Hidden> {
  const hidden: Hidden = { paths: [], emptied: [], directories: [], others: [] }
  await readEntries(
    file,
    ({ name, type }) => {
      const marker = basename(name)
      if (marker === OPAQUE) hidden.emptied.push(dirname(name))
      else if (marker.startsWith(PREFIX)) hidden.paths.push(join(dirname(name), marker.slice(PREFIX.length)))
      else if (type === 'directory') hidden.directories.push(name)
      else hidden.others.push(name)
      return 'drop'
    },
    options,
  )
  return hidden
}

async function hide(hidden: Hidden, rootfs: string, options: UnpackOptions): Promise<void> {
  await eachOf(hidden.directories, ['sh', '-c', UNLINK, 'sh'], rootfs, options)
  await eachOf(hidden.emptied, ['sh', '-c', EMPTY, 'sh'], rootfs, options)
  await eachOf(hidden.paths, ['rm', '-rf', '--'], rootfs, options)
  await eachOf(hidden.others, ['sh', '-c', CLEAR, 'sh'], rootfs, options)
}

/** Runs a confined command over paths of the tree. */
async function eachOf(
  paths: readonly string[],
  command: readonly string[],
  rootfs: string,
  options: UnpackOptions,
): Promise<void> {
  if (paths.length === 0) return
  const { shift, signal } = options
  const program = await confine('xargs', ['-0', ...command], { directory: rootfs, shift, signal, stdin: 'pipe' })
  // EPIPE: the command has ended, and `done` says how.
  program.stdin?.on('error', () => undefined)
  program.stdin?.end(paths.map(path => `${WORK}/${path}\0`).join(''))
  await program.done
}
