/** The template `local`: an image that is here already, in the store or in files; LXC's lxc-local and more. */
import { ContainerError } from '../errors.ts'
import { importImage } from './bring.ts'
import { furnish } from './furnish.ts'
import type { ImageRecord } from './record.ts'
import { ImageStore } from './store.ts'
import { stringOption, type Template, type TemplateContext, type TemplateResult } from './template.ts'

/**
 * Options, one of: `image`, an alias or fingerprint of the store; `path`, a unified image or a directory with the two
 * halves; `metadata` and `fstree`, the two halves. And `store`, the path of the store.
 */
export const local: Template = {
  name: 'local',
  options: ['image', 'path', 'metadata', 'fstree', 'store'],
  async create(context: TemplateContext): Promise<TemplateResult> {
    const { store, image } = await choose(context)
    return furnish(store, image, context)
  },
  image: choose,
}

async function choose(context: TemplateContext): Promise<{ store: ImageStore; image: ImageRecord }> {
  const store = await ImageStore.open(stringOption(context, 'store'))
  return { store, image: await chooseLocal(store, context) }
}

async function chooseLocal(store: ImageStore, context: TemplateContext): Promise<ImageRecord> {
  const [image, path, metadata, fstree] = ['image', 'path', 'metadata', 'fstree'].map(name =>
    stringOption(context, name),
  )
  const options = { cached: true, signal: context.signal }
  if (image !== undefined) return store.get(image)
  if (path !== undefined) return importImage(store, path, options)
  if (metadata !== undefined && fstree !== undefined) return importImage(store, { metadata, rootfs: fstree }, options)
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot create "${context.name}": which image is not said`, {
    hint: 'give "image", or "path", or "metadata" and "fstree"',
  })
}
