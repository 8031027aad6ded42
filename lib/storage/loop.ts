/** `loop`: a file with a file system in it, `rootdev` in the container's directory. It holds a size and nothing more. */
import { open, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ContainerError } from '../errors.ts'
import { hasProgram, runProgram } from '../native/program.ts'
import { pathOf, rebase } from './path.ts'
import { type Backend, DEFAULT_SIZE } from './storage.ts'

/** mkfs options that make an image small and quick: tables are written when needed. */
const MKFS: Readonly<Record<string, readonly string[]>> = {
  ext4: ['-q', '-F', '-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0'],
  btrfs: ['-q', '-f', '-K'],
  xfs: ['-q', '-f', '-K'],
}

export const loop: Backend = {
  name: 'loop',
  isUsable: async () => process.geteuid?.() === 0 && hasProgram('mkfs.ext4'),
  async create(site, { size = DEFAULT_SIZE, fstype = 'ext4', signal }) {
    const path = join(site.directory, 'rootdev')
    const file = await open(path, 'wx', 0o600)
    try {
      await file.truncate(size)
    } finally {
      await file.close()
    }
    await makeFileSystem(path, fstype, signal)
    return { type: 'loop', path, fstype }
  },
  // mount(8) finds the device and asks the kernel to free it with the mount (LO_FLAGS_AUTOCLEAR).
  mountArguments: (volume, access) => {
    const options = `loop,${access === 'read' ? 'ro' : 'rw'}`
    return ['-t', volume.fstype ?? 'ext4', '-o', options, pathOf(volume)]
  },
  shape: async volume => ({ size: (await stat(pathOf(volume))).size, fstype: volume.fstype }),
  remove: volume => rm(pathOf(volume), { force: true }),
  moved: async (volume, from, to) => {
    const { fstype } = volume
    return { type: 'loop', path: rebase(pathOf(volume), from.directory, to.directory), fstype }
  },
}

/** Makes a file system of that type. The type is never guessed from what an image holds (M12). */
export async function makeFileSystem(device: string, fstype: string, signal?: AbortSignal): Promise<void> {
  const options = MKFS[fstype]
  if (options === undefined) {
    throw new ContainerError('ERR_INVALID_OPTION', `Cannot make a file system of type "${fstype}"`, {
      hint: `known are ${Object.keys(MKFS).join(', ')}`,
    })
  }
  await runProgram(`mkfs.${fstype}`, [...options, device], { signal })
}
