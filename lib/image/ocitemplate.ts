/** The template `oci`: an image of a registry, or of a layout directory or archive; LXC's lxc-oci without its helpers. */
import { transport } from './download.ts'
import { furnish } from './furnish.ts'
import { hostArchitecture } from './metadata.ts'
import { importOci, pullImage } from './oci.ts'
import type { ImageRecord } from './record.ts'
import { parseReference } from './registry.ts'
import { ImageStore } from './store.ts'
import { requiredOption, stringOption, type Template, type TemplateContext, type TemplateResult } from './template.ts'

/**
 * Options: `url`, `docker://host/name:tag`, `oci:path[:tag]` or `oci-archive:path[:tag]`; `arch`, `username`, `password`,
 * `store`, `proxy`, `ca`, `insecure`; `forceCache` uses what was pulled before without asking.
 */
export const ociTemplate: Template = {
  name: 'oci',
  options: ['url', 'arch', 'username', 'password', 'store', 'proxy', 'ca', 'insecure', 'forceCache'],
  async create(context: TemplateContext): Promise<TemplateResult> {
    const { store, image } = await choose(context)
    return furnish(store, image, context)
  },
  image: choose,
}

async function choose(context: TemplateContext): Promise<{ store: ImageStore; image: ImageRecord }> {
  const store = await ImageStore.open(stringOption(context, 'store'))
  return { store, image: await obtain(store, context) }
}

async function obtain(store: ImageStore, context: TemplateContext): Promise<ImageRecord> {
  const url = requiredOption(context, 'url', 'docker://…, oci:path:tag or oci-archive:path:tag')
  const options = {
    ...(await transport(context)),
    architecture: stringOption(context, 'arch') ?? hostArchitecture(),
    username: stringOption(context, 'username'),
    password: stringOption(context, 'password'),
    cached: true,
  }
  const [, path, tag] = /^oci(?:-archive)?:([^:]+)(?::(.+))?$/.exec(url) ?? []
  if (path !== undefined) return importOci(store, path, { ...options, tag })
  const { registry, repository, tag: wanted } = parseReference(url)
  const here = await store.find({ protocol: 'oci', server: registry, alias: `${repository}:${wanted}` })
  if (here !== undefined && context.options.forceCache === true) return here
  return pullImage(store, url, options)
}
