/** `btrfs`: a subvolume. A fork is a snapshot; a limit is a quota group's (btrfs-qgroup(8)). */
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { hasProgram, runProgram } from '../native/program.ts'
import { followLinks, pathOf, rebase } from './path.ts'
import type { Backend } from './storage.ts'

/** BTRFS_SUPER_MAGIC, linux/magic.h. */
const MAGIC = 0x9123683e

export const btrfs: Backend = {
  name: 'btrfs',
  isUsable: async directory => (await statfs(directory)).type === MAGIC && hasProgram('btrfs'),
  async create(site, { size, signal }) {
    const path = join(site.directory, 'rootfs')
    await runProgram('btrfs', ['subvolume', 'create', path], { signal })
    if (size !== undefined) await limit(path, size)
    return { type: 'btrfs', path }
  },
  async fork(from, site, { size, signal }) {
    const path = join(site.directory, 'rootfs')
    await runProgram('btrfs', ['subvolume', 'snapshot', pathOf(from), path], { signal })
    if (size !== undefined) await limit(path, size)
    return { type: 'btrfs', path }
  },
  directory: volume => followLinks(pathOf(volume)),
  mountArguments: volume => ['--bind', followLinks(pathOf(volume))],
  async remove(volume) {
    const path = pathOf(volume)
    for (const inner of (await subvolumesIn(path)).sort().reverse()) {
      await runProgram('btrfs', ['subvolume', 'delete', inner])
    }
    await runProgram('btrfs', ['subvolume', 'delete', path])
  },
  moved: async (volume, from, to) => ({ type: 'btrfs', path: rebase(pathOf(volume), from.directory, to.directory) }),
  limit: (volume, bytes) => limit(pathOf(volume), bytes),
}

/** Subvolumes that the container made; they are listed as the file system sees them, and so by their last part in common. */
async function subvolumesIn(path: string): Promise<string[]> {
  const { stdout } = await runProgram('btrfs', ['subvolume', 'list', '-o', path])
  const own = `/${path.split('/').slice(-2).join('/')}/`
  return [...stdout.matchAll(/ path (.+)$/gm)].flatMap(([, listed]) => {
    const at = `/${listed}`.lastIndexOf(own)
    return at < 0 ? [] : [`${path}/${`/${listed}`.slice(at + own.length)}`]
  })
}

async function limit(path: string, bytes: number): Promise<void> {
  // Enabling what is enabled is no error; the first time it counts the file system once.
  await runProgram('btrfs', ['quota', 'enable', path])
  await runProgram('btrfs', ['qgroup', 'limit', String(bytes), path])
}
