/**
 * `overlay`: one or more read-only directories, and an upper one that takes the changes. A fork shares the lower ones and
 * copies the upper one, as liblxc does; a container that others stand on must not be started or changed.
 *
 * The layout is LXC's: `overlay/delta` and `overlay/work` in the container's directory.
 */
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { RootfsPath } from '../config/rootfs.ts'
import { give } from '../confine/ownership.ts'
import { ContainerError } from '../errors.ts'
import type { Shift } from '../host/shift.ts'
import { copyTree } from './copy.ts'
import { rebase } from './path.ts'
import { removeDirectory } from './remove.ts'
import type { Backend, Site, Volume } from './storage.ts'

type Overlay = Extract<RootfsPath, { type: 'overlay' }>

export const overlay: Backend = {
  name: 'overlay',
  // An upper directory needs trusted.* xattrs, or a user namespace and user.* ones; only root can prepare both.
  isUsable: async () => process.geteuid?.() === 0,
  async create(site) {
    const lower = join(site.directory, 'rootfs')
    await mkdir(lower, { mode: 0o755 })
    return overlayOn([lower], site)
  },
  async fork(from, site, { signal }) {
    const { lower, upper } = layersOf(from)
    const made = await overlayOn(lower, site)
    await copyTree(upper, layersOf(made).upper, { signal })
    return made
  },
  mountArguments(volume, access) {
    const { lower, upper } = layersOf(volume)
    if (access === 'read') return ['-t', 'overlay', '-o', `ro,${option('lowerdir', [upper, ...lower])}`, 'overlay']
    const work = join(dirname(upper), 'work')
    const options = [option('lowerdir', lower), option('upperdir', [upper]), option('workdir', [work])]
    return ['-t', 'overlay', '-o', options.join(','), 'overlay']
  },
  async remove(volume) {
    await removeDirectory(dirname(layersOf(volume).upper))
  },
  async moved(volume, from, to) {
    const { lower, upper } = layersOf(volume)
    const go = (path: string): string => rebase(path, from.directory, to.directory)
    return { type: 'overlay', lower: lower.map(go), upper: go(upper) }
  },
}

/**
 * Gives an upper layer to the root of an id map. Lower layers are shown through the map; the upper one cannot be
 * (overlayfs mounts it read-only), and so its owners stand on disk as they are outside.
 */
export async function ownUpper(volume: Volume, shift: readonly Shift[]): Promise<void> {
  if (volume.type === 'overlay') await give(volume.upper, shift, 'top')
}

/** A new, empty upper layer on directories, the topmost first. */
export async function overlayOn(lower: readonly string[], site: Site): Promise<Overlay> {
  const base = join(site.directory, 'overlay')
  await mkdir(base, { mode: 0o755 })
  await mkdir(join(base, 'delta'), { mode: 0o755 })
  await mkdir(join(base, 'work'), { mode: 0o700 })
  for (const path of [...lower, base]) {
    // `lxc.rootfs.path` separates by colons and knows no escapes.
    if (path.includes(':'))
      throw new ContainerError('ERR_INVALID_OPTION', `Cannot make an overlay on "${path}": it has a colon`)
  }
  return { type: 'overlay', lower: [...lower], upper: join(base, 'delta') }
}

export function layersOf(volume: Volume): Overlay {
  if (volume.type === 'overlay') return volume
  throw new ContainerError('ERR_CONFIG_VALUE', `Cannot use "${volume.path}" as an overlay`)
}

/** overlayfs separates layers by colons and options by commas, and takes a backslash before either. */
function option(name: string, paths: readonly string[]): string {
  return `${name}=${paths.map(path => path.replace(/[\\:,]/g, '\\$&')).join(':')}`
}
