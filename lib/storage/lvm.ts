/** `lvm`: a logical volume; in a thin pool a fork is a snapshot that costs what changes (lvmthin(7)). */
import path from 'node:path'
import { globalConfig } from '../config/global.ts'
import { hasProgram, runProgram } from '../native/program.ts'
import { makeFileSystem } from './loop.ts'
import { pathOf } from './path.ts'
import { type Backend, DEFAULT_SIZE, type Volume } from './storage.ts'

type Run = (
  program: string,
  args: readonly string[],
  options?: { signal?: AbortSignal | undefined },
) => Promise<{ stdout: string }>

interface Names {
  readonly group: string
  /** Empty: volumes are not thin. */
  readonly pool: string
}

const names = (): Names => ({
  group: globalConfig('lxc.bdev.lvm.vg') ?? 'lxc',
  pool: globalConfig('lxc.bdev.lvm.thin_pool') ?? 'lxc',
})

/** The backend with a way to run programs, which tests replace. */
export function lvmWith(run: Run, format: typeof makeFileSystem, from: () => Names = names): Backend {
  const device = (group: string, name: string): string => `/dev/${group}/${name}`
  const groupOf = (volume: Volume): string => path.basename(path.dirname(pathOf(volume)))
  return {
    name: 'lvm',
    isUsable: async (_, pool) =>
      hasProgram('lvs') &&
      run('lvs', [pool?.group ?? from().group]).then(
        () => true,
        () => false,
      ),
    async create(site, { size = DEFAULT_SIZE, fstype = 'ext4', pool: told = {}, signal }) {
      const { group = from().group, thinPool: pool = from().pool, volume: name = site.name } = told
      const space =
        pool === '' ? ['--size', `${size}b`, group] : ['--thin', '--virtualsize', `${size}b`, `${group}/${pool}`]
      await run('lvcreate', ['--yes', '--wipesignatures', 'y', '--name', name, ...space], { signal })
      await format(device(group, name), fstype, signal)
      return { type: 'lvm', path: device(group, name), fstype }
    },
    async fork(volume, site, { signal }) {
      const { pool } = from()
      const group = groupOf(volume)
      // A thin snapshot is not activated by itself; a thick one needs room of its own for what changes.
      const kind = pool === '' ? ['--extents', '100%ORIGIN'] : ['--setactivationskip', 'n']
      await run('lvcreate', ['--yes', '--snapshot', ...kind, '--name', site.name, pathOf(volume)], { signal })
      return { type: 'lvm', path: device(group, site.name), fstype: volume.fstype }
    },
    mountArguments: (volume, access) => [
      '-t',
      volume.fstype ?? 'ext4',
      '-o',
      access === 'read' ? 'ro' : 'rw',
      pathOf(volume),
    ],
    async shape(volume) {
      const lvs = ['--noheadings', '--nosuffix', '--units', 'b', '--options', 'lv_size', pathOf(volume)]
      return { size: Number((await run('lvs', lvs)).stdout), fstype: volume.fstype }
    },
    remove: async volume => void (await run('lvremove', ['--yes', pathOf(volume)])),
    async moved(volume, before, to) {
      // One that got a name of its own keeps it as long as its container does.
      if (before.name === to.name) return volume
      const group = groupOf(volume)
      await run('lvrename', [pathOf(volume), device(group, to.name)])
      return { type: 'lvm', path: device(group, to.name), fstype: volume.fstype }
    },
    limit: async (volume, bytes) => void (await run('lvextend', ['--resizefs', '--size', `${bytes}b`, pathOf(volume)])),
  }
}

export const lvm = lvmWith(runProgram, makeFileSystem)
