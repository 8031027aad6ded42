/** From an image of the store to the root file system and config of a container, whatever kind of image it is. */

import { confine, WORK } from '../confine/confine.ts'
import { ContainerError } from '../errors.ts'
import { readMetadataFiles } from './bring.ts'
import { configOf, excluder, fillTemplates } from './lxcmeta.ts'
import { type FileTemplate, type Metadata, parseMetadata } from './metadata.ts'
import { ociConfigOf } from './ociconfig.ts'
import { renderTemplate, type Scope } from './pongo.ts'
import type { ImageRecord } from './record.ts'
import type { ImageStore } from './store.ts'
import type { TemplateContext, TemplateResult } from './template.ts'
import { fileOf, unpackImage } from './trees.ts'

/** Unpacks an image into `context.rootfs` and says what the container needs. */
export async function furnish(
  store: ImageStore,
  image: ImageRecord,
  context: TemplateContext,
): Promise<TemplateResult> {
  const files = await metadataOf(store, image, context.signal)
  const isLxc = files.has('config') && !files.has('metadata.yaml')
  const excludes = isLxc ? excluder(files, context.unprivileged ?? false) : () => false
  const { shift, signal, onProgress } = context
  const decide = ({ name }: { name: string }): 'drop' | 'keep' => (excludes(name) ? 'drop' : 'keep')
  await unpackImage(store, image, context.rootfs, { shift, signal, onProgress, decide })
  return describeImage(store, image, context, files)
}

/** The rest of it, where the root file system is there already (a copy or an overlay of the image's tree). */
export async function describeImage(
  store: ImageStore,
  image: ImageRecord,
  context: TemplateContext,
  known?: ReadonlyMap<string, Buffer>,
): Promise<TemplateResult> {
  if (image.layout === 'oci') return ociConfigOf(store, image, context)
  const files = known ?? (await metadataOf(store, image, context.signal))
  const yaml = files.get('metadata.yaml')
  if (yaml === undefined) {
    await fillTemplates(files, context)
    return configOf(files, context)
  }
  const metadata = parseMetadata(yaml.toString('utf8'))
  await writeTemplates(metadata, files, context, 'create')
  return { config: [['lxc.arch', metadata.architecture]] }
}

/** The small files of an image that say what it is; none of an OCI image. */
export async function metadataOf(
  store: ImageStore,
  image: ImageRecord,
  signal?: AbortSignal,
): Promise<Map<string, Buffer>> {
  if (image.layout === 'oci') return new Map()
  const file = await store.open(fileOf(image, image.layout === 'unified' ? 'image' : 'metadata'), signal)
  try {
    return await readMetadataFiles(file, signal)
  } finally {
    await file.close()
  }
}

/** Writes the files for which an image has templates, on one of LXD's occasions. */
export async function writeTemplates(
  metadata: Metadata,
  files: ReadonlyMap<string, Buffer>,
  context: TemplateContext,
  trigger: 'create' | 'copy' | 'start',
): Promise<void> {
  for (const [path, template] of Object.entries(metadata.templates)) {
    if (!template.when.includes(trigger)) continue
    const source = files.get(`templates/${template.template}`)
    if (source === undefined) {
      throw new ContainerError('ERR_IMAGE', `Cannot use image: its template "${template.template}" is missing`)
    }
    const text = renderTemplate(source.toString('utf8'), scopeOf(metadata, template, context, path, trigger))
    await writeInside(path, text, template, context)
  }
}

function scopeOf(
  metadata: Metadata,
  template: FileTemplate,
  context: TemplateContext,
  path: string,
  trigger: string,
): Scope {
  const container = {
    name: context.name,
    type: 'container',
    architecture: metadata.architecture,
    privileged: context.unprivileged !== true,
  }
  return {
    trigger,
    path,
    container,
    instance: container,
    config: {},
    devices: {},
    properties: template.properties,
    // Containers of this library have no user.* keys, so that the given default always holds.
    config_get: (_key, otherwise = '') => otherwise,
  }
}

/** Directories are made as needed; the file replaces what is there, a link included. */
const WRITE = `
[ "$2" = false ] || [ ! -e "$1" ] || exit 0
mkdir -p "$(dirname "$1")"
cat >"$1.caisson"
chown "$3" "$1.caisson"
chmod "$4" "$1.caisson"
mv -f -T "$1.caisson" "$1"
`

async function writeInside(
  path: string,
  text: string,
  template: FileTemplate,
  context: TemplateContext,
): Promise<void> {
  const owner = `${template.uid}:${template.gid}`
  const args = [`${WORK}${path}`, String(template.createOnly), owner, template.mode.toString(8)]
  const { rootfs: directory, shift, signal } = context
  const shell = await confine('sh', ['-euc', WRITE, 'sh', ...args], { directory, shift, signal, stdin: 'pipe' })
  // EPIPE: the file was not wanted, or the shell failed and `done` says why.
  shell.stdin?.on('error', () => undefined)
  shell.stdin?.end(text)
  await shell.done
}
