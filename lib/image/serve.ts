/**
 * Writes images into a directory that any static web server can serve, in the two forms in which clients ask: simplestreams
 * (LXD, Incus, this library) and LXC's download protocol (`meta/1.0/index-system`), both over the same files.
 */
import { constants } from 'node:fs'
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ContainerError } from '../errors.ts'
import { ifMissing, writeWhole } from '../host/file.ts'
import { detectFormat } from './archive.ts'
import { debianArchitecture, formatMetadata } from './metadata.ts'
import { packTree } from './pack.ts'
import type { ImageRecord } from './record.ts'
import { fields, type Json, object, relativePath } from './simplestreams.ts'
import { describeFile, type ImageStore } from './store.ts'
import { fileOf } from './trees.ts'
import { recompress } from './unpack.ts'
import { hashPaths } from './verify.ts'

/** An image to serve, and under which names; what is missing comes from the image's properties. */
export interface Served {
  readonly image: string
  readonly distribution?: string
  readonly release?: string
  readonly variant?: string
}

interface Place {
  readonly os: string
  readonly distribution: string
  readonly release: string
  readonly arch: string
  readonly variant: string
  readonly serial: string
  /** Below the server's root. */
  readonly path: string
}

const LIST = 'streams/v1/images.json'

/** Adds images to the directory and writes its lists anew. What is there already stays. Only split images can be served. */
export async function serveImages(store: ImageStore, directory: string, served: readonly Served[]): Promise<void> {
  await mkdir(join(directory, 'streams/v1'), { recursive: true })
  await mkdir(join(directory, 'meta/1.0'), { recursive: true })
  const text = await readFile(join(directory, LIST), 'utf8').catch(ifMissing)
  const products: Record<string, Json> = {}
  if (text !== undefined) Object.assign(products, fields(object(text, LIST).products, 'products'))
  for (const one of served) {
    const image = await store.get(one.image)
    const place = placeOf(image, one)
    await writeFiles(store, image, join(directory, place.path), place)
    const name = `${place.distribution}:${place.release}:${place.arch}:${place.variant}`
    products[name] = await productOf(directory, place, products[name])
  }
  await writeLists(directory, products)
}

function placeOf(image: ImageRecord, served: Served): Place {
  const os = served.distribution ?? image.properties.os ?? 'local'
  const distribution = os.toLowerCase()
  const release = served.release ?? image.properties.release ?? 'current'
  const variant = served.variant ?? image.properties.variant ?? 'default'
  const arch = debianArchitecture(image.architecture)
  // LXC's index separates by ';', a product by ':', a path by '/'.
  for (const part of [distribution, release, variant]) {
    if (!/^[\w][\w.+-]*$/.test(part)) {
      throw new ContainerError('ERR_INVALID_OPTION', `Cannot serve image "${served.image}": "${part}" is no plain word`)
    }
  }
  const given = image.properties.serial ?? ''
  const serial = /^\d{8}[\w:.-]*$/.test(given) ? given : serialOf(new Date(image.created))
  const path = relativePath(`images/${distribution}/${release}/${arch}/${variant}/${serial}`)
  return { os, distribution, release, arch, variant, serial, path }
}

/** `20260131_07:42`, as image servers write it. */
function serialOf(date: Date): string {
  const [day = '', time = ''] = date.toISOString().split('T')
  return `${day.replaceAll('-', '')}_${time.slice(0, 5)}`
}

/** Makes the directory of one version, whole or not at all. */
async function writeFiles(store: ImageStore, image: ImageRecord, to: string, place: Place): Promise<void> {
  if (image.layout !== 'split') {
    throw new ContainerError('ERR_IMAGE', `Cannot serve image "${image.fingerprint}": it is not split`, {
      hint: 'create a container from it and publish that',
    })
  }
  const work = `${to}.partial`
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true })
  const rootfs = await store.open(fileOf(image, 'rootfs'))
  try {
    const format = await detectFormat(rootfs)
    if (format === 'squashfs') await copyFile(`/proc/self/fd/${rootfs.fd}`, join(work, 'rootfs.squashfs'))
    else if (format === 'xz')
      await copyFile(`/proc/self/fd/${rootfs.fd}`, join(work, 'rootfs.tar.xz'), constants.COPYFILE_FICLONE)
    else await recompress(rootfs, join(work, 'rootfs.tar.xz'))
  } finally {
    await rootfs.close()
  }
  await writeMetadata(image, work, place)
  // The store's files are the store's owner's; a web server runs as somebody else.
  for (const name of await readdir(work)) await chmod(join(work, name), 0o644)
  await rm(to, { recursive: true, force: true })
  await rename(work, to)
}

/** LXD's metadata.yaml and LXC's config files, each in an archive of its own. */
async function writeMetadata(image: ImageRecord, work: string, place: Place): Promise<void> {
  const include = (name: string): string => `lxc.include = LXC_TEMPLATE_CONFIG/${name}\n`
  const arch = `lxc.arch = ${image.architecture}\n`
  const expiry = image.expires === undefined ? Date.now() + 30 * 86_400_000 : Date.parse(image.expires)
  const metadata = formatMetadata({
    architecture: image.architecture,
    created: new Date(image.created),
    expires: image.expires === undefined ? undefined : new Date(image.expires),
    properties: { ...image.properties, serial: place.serial },
    templates: {},
  })
  const archives: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    lxd: { 'metadata.yaml': metadata },
    meta: {
      config: include('common.conf') + arch,
      'config-user': include('common.conf') + include('userns.conf') + arch,
      'create-message': `You just created a ${place.os} ${place.release} ${place.arch} (${place.serial}) container.\n`,
      expiry: `${Math.floor(expiry / 1000)}\n`,
      'excludes-user': './dev/*\n',
    },
  }
  for (const [name, files] of Object.entries(archives)) {
    const directory = join(work, `${name}.d`)
    await mkdir(directory)
    for (const [file, text] of Object.entries(files)) await writeFile(join(directory, file), text)
    await packTree(directory, join(work, `${name}.tar.xz`), { compression: 'xz', mode: 0o644 })
    await rm(directory, { recursive: true })
  }
}

/** The product with this version in it. */
async function productOf(directory: string, place: Place, before: Json | undefined): Promise<Json> {
  const at = (name: string): string => join(directory, place.path, name)
  const items: Record<string, Json> = {}
  const roots = [
    ['rootfs.tar.xz', 'root.tar.xz', 'combined_rootxz_sha256'],
    ['rootfs.squashfs', 'squashfs', 'combined_squashfs_sha256'],
  ] as const
  const combined: Record<string, string> = {}
  const sums: string[] = []
  const describe = async (name: string, ftype: string, more: Json): Promise<void> => {
    const { sha256, size } = await describeFile('image', at(name))
    items[name] = { ftype, path: `${place.path}/${name}`, sha256, size, ...more }
    sums.push(`${sha256}  ${name}\n`)
  }
  for (const [name, ftype, key] of roots) {
    const fingerprint = await hashPaths([at('lxd.tar.xz'), at(name)]).catch(ifMissing)
    if (fingerprint === undefined) continue
    combined[key] = fingerprint
    await describe(name, ftype, {})
  }
  await describe('lxd.tar.xz', 'lxd.tar.xz', combined)
  const { sha256 } = await describeFile('image', at('meta.tar.xz'))
  sums.push(`${sha256}  meta.tar.xz\n`)
  await writeFile(at('SHA256SUMS'), sums.join(''))
  const { distribution, release, variant } = place
  const aliases = [
    `${distribution}/${release}/${variant}`,
    ...(variant === 'default' ? [`${distribution}/${release}`] : []),
  ]
  return {
    aliases: aliases.join(','),
    arch: place.arch,
    os: place.os,
    release,
    release_title: release,
    variant,
    requirements: {},
    versions: { ...(before?.versions as Json | undefined), [place.serial]: { items } },
  }
}

async function writeLists(directory: string, products: Readonly<Record<string, Json>>): Promise<void> {
  const form = { datatype: 'image-downloads', format: 'products:1.0' }
  const list = { content_id: 'images', ...form, products }
  const index = { format: 'index:1.0', index: { images: { ...form, path: LIST, products: Object.keys(products) } } }
  await writeWhole(join(directory, LIST), `${JSON.stringify(list, null, 1)}\n`, 0o644)
  await writeWhole(join(directory, 'streams/v1/index.json'), `${JSON.stringify(index, null, 1)}\n`, 0o644)
  // LXC's index names the newest version only, and its client fetches `rootfs.tar.xz`.
  const lines = Object.entries(products).flatMap(([name, product]) => {
    const versions = fields(product.versions, name)
    const serial = Object.keys(versions).sort().at(-1) ?? ''
    const items = fields(fields(versions[serial], serial).items, serial)
    if (items['rootfs.tar.xz'] === undefined) return []
    const parts = name.split(':')
    return [`${parts.join(';')};${serial};/images/${parts.join('/')}/${serial}/\n`]
  })
  for (const mode of ['system', 'user']) {
    await writeWhole(join(directory, `meta/1.0/index-${mode}`), lines.sort().join(''), 0o644)
  }
}
