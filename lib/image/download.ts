/**
 * The template `download`: an image of a server that speaks LXC's download protocol, or simplestreams, by way of the store.
 *
 * As with lxc-download, an image that is here and has not expired is used without asking the server.
 */
import { readFile } from 'node:fs/promises'
import { ContainerError, refuseUnknown } from '../errors.ts'
import { furnish } from './furnish.ts'
import { debianArchitecture, hostArchitecture } from './metadata.ts'
import type { ImageRecord, ImageSource } from './record.ts'
import {
  aliasOf,
  type CopyOptions,
  copyFromDownloads,
  copyFromStreams,
  type DownloadEntry,
  listDownloads,
} from './remote.ts'
import { ImageStore } from './store.ts'
import { requiredOption, stringOption, type Template, type TemplateContext, type TemplateResult } from './template.ts'

/** The image server of the LXC project. */
export const DEFAULT_SERVER = 'https://images.linuxcontainers.org'

const STRINGS = ['dist', 'release', 'arch', 'variant', 'server', 'store', 'protocol', 'keyring', 'proxy', 'ca'] as const
const FLAGS = ['flushCache', 'forceCache', 'insecure'] as const

/**
 * Options: `dist`, `release` (required), `arch` (this machine), `variant` ('default'), `server`, `protocol` ('lxc' or
 * 'simplestreams'), `store`; `forceCache` uses what is here even when it has expired, `flushCache` asks the server even
 * when it has not; `keyring` (a file) demands signatures; `proxy` (a URL), `ca` (a file), `insecure` (plain http).
 */
export const downloadTemplate: Template = {
  name: 'download',
  options: [...STRINGS, ...FLAGS],
  async create(context: TemplateContext): Promise<TemplateResult> {
    const { store, image } = await choose(context)
    return furnish(store, image, context)
  },
  image: choose,
}

/** The images of a server that fit the options of the template, in the server's order; what is not said fits all. */
export async function listImages(options: TemplateContext['options'], unprivileged: boolean): Promise<DownloadEntry[]> {
  const context = { name: '', rootfs: '', options }
  refuseUnknown(options, downloadTemplate.options, 'the template "download"')
  if (protocolOf(context) !== 'lxc')
    throw new ContainerError('ERR_INVALID_OPTION', 'Cannot list images: only for the protocol "lxc"')
  const server = serverUrl(stringOption(context, 'server') ?? DEFAULT_SERVER)
  const entries = await listDownloads(server, unprivileged ? 'user' : 'system', await transport(context))
  const variant = stringOption(context, 'variant') ?? 'default'
  const wanted = ['dist', 'release', 'arch'] as const
  const fits = (entry: DownloadEntry) =>
    wanted.every(name => [undefined, entry[name]].includes(stringOption(context, name)))
  return entries.filter(entry => entry.variant === variant && fits(entry))
}

async function choose(context: TemplateContext): Promise<{ store: ImageStore; image: ImageRecord }> {
  const store = await ImageStore.open(stringOption(context, 'store'))
  return { store, image: await obtain(store, context) }
}

async function obtain(store: ImageStore, context: TemplateContext): Promise<ImageRecord> {
  const choice = {
    dist: requiredOption(context, 'dist', 'the distribution, such as "debian"'),
    release: requiredOption(context, 'release', 'the release, such as "bookworm"'),
    arch: debianArchitecture(stringOption(context, 'arch') ?? hostArchitecture()),
    variant: stringOption(context, 'variant') ?? 'default',
  }
  const server = serverUrl(stringOption(context, 'server') ?? DEFAULT_SERVER)
  const isStreams = protocolOf(context) === 'simplestreams'
  const streamAlias = `${choice.dist}/${choice.release}/${choice.variant}`
  const source: Omit<ImageSource, 'serial'> = isStreams
    ? { protocol: 'simplestreams', server, alias: streamAlias }
    : { protocol: 'lxc', server, alias: aliasOf(choice) }
  const here = await store.find(source)
  if (here !== undefined && isFresh(here, context)) return here
  const options: CopyOptions = { ...(await transport(context)), cached: true, architecture: choice.arch }
  if (isStreams) return copyFromStreams(store, server, streamAlias, options)
  // lxc-download asks for `user` images for containers with a user namespace.
  return copyFromDownloads(store, server, choice, { ...options, mode: context.unprivileged ? 'user' : 'system' })
}

function isFresh(image: ImageRecord, context: TemplateContext): boolean {
  if (context.options.forceCache === true) return true
  if (context.options.flushCache === true) return false
  return image.expires !== undefined && Date.parse(image.expires) > Date.now()
}

function protocolOf(context: TemplateContext): 'lxc' | 'simplestreams' {
  const protocol = stringOption(context, 'protocol') ?? 'lxc'
  if (protocol === 'lxc' || protocol === 'simplestreams') return protocol
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot use protocol "${protocol}"`, {
    hint: 'known are "lxc" and "simplestreams"',
  })
}

/** lxc-download takes a host name; https is what it means. */
function serverUrl(server: string): string {
  return server.includes('://') ? server : `https://${server}`
}

/** The options that say how to talk to servers. */
export async function transport(context: TemplateContext): Promise<CopyOptions> {
  const ca = stringOption(context, 'ca')
  return {
    keyring: stringOption(context, 'keyring'),
    proxy: stringOption(context, 'proxy'),
    ca: ca === undefined ? undefined : await readFile(ca, 'utf8'),
    insecure: context.options.insecure === true,
    signal: context.signal,
    onProgress: context.onProgress,
  }
}
