#!/usr/bin/env node
/** lxc-create(1) */
import { existsSync } from 'node:fs'
import { Config } from '../lib/config/config.ts'
import { globalConfig } from '../lib/config/global.ts'
import type { FileSystem } from '../lib/config/rootfs.ts'
import type { CreateOptions } from '../lib/create.ts'
import { BACKEND_NAMES, findBackend } from '../lib/storage/backends.ts'
import { UsageError, type Values } from '../lib/tools/options.ts'
import { readTemplate } from '../lib/tools/template.ts'
import { readSize } from '../lib/tools/text.ts'
import { defineTool, main } from '../lib/tools/tool.ts'

const FILE_SYSTEMS = ['ext4', 'xfs', 'btrfs'] as const satisfies readonly FileSystem[]
const TEMPLATE_NAMES = ['none', 'busybox', 'download', 'local', 'oci', 'host', 'debootstrap', 'mmdebstrap', 'directory']

const OPTIONS = {
  template: {
    short: 't',
    value: 'TEMPLATE',
    words: TEMPLATE_NAMES,
    help: 'busybox, download, local, oci, host …, a program’s path, or none',
  },
  config: { short: 'f', value: 'FILE', help: 'the config it begins with; default lxc.default_config' },
  bdev: {
    short: 'B',
    value: 'STORAGE',
    words: ['none', 'best', ...BACKEND_NAMES],
    help: 'where its root file system is kept: none, best, or the first that works of a list: dir,overlay,btrfs,loop,lvm,zfs',
  },
  dir: { value: 'DIR', help: 'use this directory as its root file system; no template is run' },
  fstype: { value: 'TYPE', words: FILE_SYSTEMS, help: 'the file system of loop and lvm; default ext4' },
  fssize: { value: 'SIZE', help: 'the most that it may hold, where the storage can limit it: 10G, 512M …; default 1G' },
  vgname: { value: 'GROUP', help: 'lvm: the volume group; default lxc.bdev.lvm.vg' },
  lvname: { value: 'NAME', help: 'lvm: the name of the volume; default that of the container' },
  thinpool: { value: 'POOL', help: 'lvm: the thin pool; empty: none; default lxc.bdev.lvm.thin_pool' },
  zfsroot: { value: 'DATASET', help: 'zfs: the dataset below which its own is made; default lxc.bdev.zfs.root' },
  rbdname: { value: 'NAME', help: 'refused: there is no Ceph RBD storage' },
  rbdpool: { value: 'POOL', help: 'refused' },
  rbduser: { value: 'USER', help: 'refused' },
  privileged: { help: 'without a user namespace; by default it gets ids of its own' },
} as const

export const tool = defineTool({
  name: 'lxc-create',
  summary: 'Makes a container.',
  synopsis: '-t TEMPLATE [-- TEMPLATE-OPTIONS…]',
  words: 'any',
  options: OPTIONS,
  details: `The options of a template stand after --, as in \`-t download -- -d alpine -r 3.20 -a amd64\`. What the
template download is not told it asks for, after a list of what there is; --list only lists. What fails leaves nothing.`,
  exitCodes: { 0: 'it is there', 1: 'it is not: the name is taken, the storage cannot be used, the template failed' },
  examples: [
    ['lxc-create web -t busybox', 'the smallest one'],
    ['lxc-create web -t download', 'asks which image'],
    ['lxc-create web -t download -- -d debian -r bookworm -a amd64', 'from the image server'],
    [
      'lxc-create web -t busybox -B lvm,dir --vgname data --fssize 5G',
      'in a volume of the group data, or in a directory',
    ],
  ],
  async run({ name, options, words, lxcpath, log, say }) {
    if (options.template === undefined && options.dir === undefined)
      throw new UsageError(
        'A template must be specified; Use "none" if you really want a container without a rootfs: --template',
      )
    const initial = await readInitial(options)
    const source = await readSource(options, words, initial.idmap !== false, say)
    if (source === undefined) return 1 // as LXC's own does after a list
    const made: CreateOptions = {
      ...(lxcpath === undefined ? {} : { path: lxcpath }),
      ...initial,
      ...source,
      ...readStorage(options),
      onProgress: ({ phase, done, total }) =>
        log('INFO', `${phase} ${done}${total === undefined ? '' : ` of ${total}`}`),
    }
    const { Container } = await import('../lib/container.ts')
    await Container.create(name, made)
    return 0
  },
})

/** The config that it begins with; id maps of it are the container's. */
async function readInitial(options: Values<typeof OPTIONS>): Promise<CreateOptions> {
  const file = options.config ?? globalConfig('lxc.default_config')
  const config = new Config()
  if (file !== undefined && (options.config !== undefined || existsSync(file))) await config.load(file)
  const maps = config.value('lxc.idmap')
  config.clear('lxc.idmap')
  const idmap = options.privileged ? false : maps.length === 0 ? ('auto' as const) : maps
  return { idmap, config: config.toString() }
}

/**
 * Where its root file system comes from; undefined when it was only asked which ones there are. As LXC does, a template whose name begins
 * with none is none.
 */
async function readSource(
  options: Values<typeof OPTIONS>,
  words: readonly string[],
  unprivileged: boolean,
  say: (line: string) => void,
): Promise<CreateOptions | undefined> {
  if (options.template?.startsWith('none')) return { rootfs: options.dir ?? '/' }
  if (options.dir !== undefined) return { rootfs: options.dir }
  const template = await readTemplate(options.template as string, words)
  if (template.name !== 'download') return { template }
  const { converse, isOpen } = await import('../lib/tools/download.ts')
  const { name, ...given } = template
  if (!isOpen(given)) return { template }
  const answered = await converse(given, unprivileged, say)
  return answered && { template: { name, ...answered } }
}

function readStorage(options: Values<typeof OPTIONS>): CreateOptions {
  const { bdev, fssize, fstype } = options
  const rbd = (['rbdname', 'rbdpool', 'rbduser'] as const).find(name => options[name] !== undefined)
  if (rbd !== undefined)
    throw new UsageError(
      `--${rbd} is refused: there is no Ceph RBD storage; map the image with rbd(8), mount it, and use --dir`,
    )
  if (fstype !== undefined && !(FILE_SYSTEMS as readonly string[]).includes(fstype))
    throw new UsageError(`--fstype takes one of ${FILE_SYSTEMS.join(', ')}, not ${fstype}`)
  const { vgname: group, lvname: volume, thinpool: thinPool, zfsroot: parent } = options
  return {
    ...(fssize === undefined ? {} : { size: readSize(fssize, 'fssize') }),
    ...(fstype === undefined ? {} : { fstype: fstype as FileSystem }),
    ...(bdev === undefined || bdev === 'none' ? {} : { backend: readBackends(bdev) }),
    pool: { group, volume, thinPool, parent },
  }
}

/** `lvm,dir`, checked before anything is made. */
function readBackends(text: string): NonNullable<CreateOptions['backend']> {
  return text.split(',').map(name => (name === 'best' ? name : findBackend(name).name))
}

main(import.meta, tool)
