/** `zfs`: a dataset `ROOT/NAME`, mounted at the container's `rootfs`. A fork is a snapshot and its clone (zfs-clone(8)). */
import { dirname, join } from 'node:path'
import { globalConfig } from '../config/global.ts'
import { hasProgram, runProgram } from '../native/program.ts'
import { pathOf } from './path.ts'
import type { Backend, Site, Volume } from './storage.ts'

type Run = (
  program: string,
  args: readonly string[],
  options?: { signal?: AbortSignal | undefined },
) => Promise<{ stdout: string }>

/** The backend with a way to run programs, which tests replace. */
export function zfsWith(run: Run, root: () => string = () => globalConfig('lxc.bdev.zfs.root') ?? 'lxc'): Backend {
  const dataset = (volume: Volume): string => pathOf(volume)
  const beside = (volume: Volume, site: Site): string => `${dirname(dataset(volume))}/${site.name}`
  const mountpoint = async (name: string): Promise<string> =>
    (await run('zfs', ['get', '-H', '-o', 'value', 'mountpoint', name])).stdout.trim()
  return {
    name: 'zfs',
    isUsable: async (_, pool) =>
      hasProgram('zfs') &&
      run('zfs', ['list', '-H', pool?.parent ?? root()]).then(
        () => true,
        () => false,
      ),
    async create(site, { size, pool, signal }) {
      const name = `${pool?.parent ?? root()}/${site.name}`
      const quota = size === undefined ? [] : ['-o', `quota=${size}`]
      await run('zfs', ['create', '-o', `mountpoint=${join(site.directory, 'rootfs')}`, ...quota, name], { signal })
      return { type: 'zfs', path: name }
    },
    async fork(volume, site, { signal }) {
      const origin = `${dataset(volume)}@${site.name}`
      await run('zfs', ['snapshot', origin], { signal })
      const name = beside(volume, site)
      const target = ['-o', `mountpoint=${join(site.directory, 'rootfs')}`, '-o', 'canmount=noauto', origin, name]
      await run('zfs', ['clone', ...target], { signal })
      await run('zfs', ['mount', name], { signal })
      return { type: 'zfs', path: name }
    },
    mountArguments: (volume, access) => [
      '-t',
      'zfs',
      '-o',
      `zfsutil,${access === 'read' ? 'ro' : 'rw'}`,
      dataset(volume),
    ],
    async remove(volume) {
      const name = dataset(volume)
      const origin = (await run('zfs', ['get', '-H', '-o', 'value', 'origin', name])).stdout.trim()
      await run('zfs', ['destroy', '-r', name])
      // The snapshot was made for this clone alone.
      if (origin.includes('@')) await run('zfs', ['destroy', origin])
    },
    async moved(volume, _from, to) {
      const name = beside(volume, to)
      const before = await mountpoint(dataset(volume))
      if (dataset(volume) !== name) await run('zfs', ['rename', dataset(volume), name])
      const after = join(to.directory, 'rootfs')
      if (before !== after) await run('zfs', ['set', `mountpoint=${after}`, name])
      return { type: 'zfs', path: name }
    },
    limit: async (volume, bytes) => void (await run('zfs', ['set', `quota=${bytes}`, dataset(volume)])),
  }
}

export const zfs = zfsWith(runProgram)
