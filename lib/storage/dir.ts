/** `dir`: a directory. A copy shares extents where the file system can; a fork is an overlay on it, as in LXC. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { overlayOn } from './overlay.ts'
import { followLinks, pathOf, rebase } from './path.ts'
import { removeDirectory } from './remove.ts'
import type { Backend } from './storage.ts'

export const dir: Backend = {
  name: 'dir',
  isUsable: async () => true,
  async create(site) {
    const path = join(site.directory, 'rootfs')
    await mkdir(path, { mode: 0o755 })
    return { type: 'dir', path }
  },
  forksDepend: true,
  fork: (from, site) => overlayOn([followLinks(pathOf(from))], site),
  directory: volume => followLinks(pathOf(volume)),
  mountArguments: volume => ['--bind', followLinks(pathOf(volume))],
  remove: volume => removeDirectory(pathOf(volume)),
  moved: async (volume, from, to) => ({ type: 'dir', path: rebase(pathOf(volume), from.directory, to.directory) }),
}
