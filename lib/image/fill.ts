/** From a template to a new volume: filled where it can be seen, through a copy where it cannot, or built on an image's tree. */
import { randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { give } from '../confine/ownership.ts'
import { refuseUnknown } from '../errors.ts'
import type { Shift } from '../host/shift.ts'
import { overlayOn, ownUpper } from '../storage/overlay.ts'
import type { Backend, Site, Volume, VolumeOptions } from '../storage/storage.ts'
import { copyVolume } from '../storage/view.ts'
import { describeImage } from './furnish.ts'
import { holdTree } from './holders.ts'
import { createRootfs, type Template, type TemplateContext, type TemplateResult } from './template.ts'
import { treeOf } from './trees.ts'

interface Upper {
  /** The directory that the container will have. */
  readonly holder: string
  /** The id map of the container, by which an upper layer is owned; empty for a privileged one. */
  readonly idmap: readonly Shift[]
}

/** Makes a volume with a backend and lets a template fill it. */
export async function fillVolume(
  template: Template,
  context: Omit<TemplateContext, 'rootfs'>,
  backend: Backend,
  site: Site,
  options: VolumeOptions & Upper,
): Promise<TemplateResult & { readonly volume: Volume }> {
  if (template.image !== undefined && backend.name === 'overlay') {
    return buildOnTree(template, template.image, context, site, options)
  }
  const volume = await backend.create(site, options)
  if (options.idmap.length > 0) await ownUpper(volume, options.idmap)
  const directory = backend.directory?.(volume) ?? (volume.type === 'overlay' ? volume.lower[0] : undefined)
  if (directory !== undefined) {
    const made = await createRootfs(template, { ...context, rootfs: directory })
    await give(directory, context.shift, 'tree')
    return { ...made, volume }
  }
  const staging = join(site.directory, `.${randomUUID()}`)
  await mkdir(staging, { mode: 0o755 })
  try {
    const made = await createRootfs(template, { ...context, rootfs: staging })
    await copyVolume({ type: 'dir', path: staging }, volume, { signal: options.signal })
    return { ...made, volume }
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

/** An overlay on the image's tree in the store: nothing is unpacked but the first time, and nothing is copied. */
async function buildOnTree(
  template: Template,
  choose: NonNullable<Template['image']>,
  context: Omit<TemplateContext, 'rootfs'>,
  site: Site,
  { holder, idmap }: Upper,
): Promise<TemplateResult & { readonly volume: Volume }> {
  const { shift, signal, onProgress } = context
  refuseUnknown(context.options, template.options, `the template "${template.name}"`)
  const { store, image } = await choose({ ...context, rootfs: '' })
  const tree = await treeOf(store, image, { shift, signal, onProgress })
  await holdTree(tree, holder)
  const volume = await overlayOn([tree], site)
  if (idmap.length > 0) await ownUpper(volume, idmap)
  // What an image's templates write goes into the upper layer; accounts of an OCI image are read in the tree.
  const place =
    image.layout === 'oci' ? { rootfs: tree } : { rootfs: volume.upper, shift: idmap.length > 0 ? idmap : undefined }
  return { ...(await describeImage(store, image, { ...context, ...place })), volume }
}
