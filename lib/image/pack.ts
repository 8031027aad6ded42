/** Packs a tree into a tar archive, with all that belongs to it, as the container sees it. */
import { open } from 'node:fs/promises'
import { confine, WORK } from '../confine/confine.ts'
import type { Shift } from '../host/shift.ts'

export type Compression = 'none' | 'gzip' | 'zstd' | 'xz'

const COMPRESSORS: Readonly<Record<Compression, readonly string[]>> = {
  none: [],
  gzip: ['--use-compress-program=gzip -n'],
  zstd: ['--use-compress-program=zstd -3 -q -T0'],
  xz: ['--use-compress-program=xz -T0'],
}

export const EXTENSIONS: Readonly<Record<Compression, string>> = {
  none: 'tar',
  gzip: 'tar.gz',
  zstd: 'tar.zst',
  xz: 'tar.xz',
}

/** Sockets cannot be packed and are made anew; what is mounted in the tree is not part of it. */
const CREATE = [
  '--create',
  '--file=-',
  `--directory=${WORK}`,
  '--format=posix',
  '--numeric-owner',
  '--sort=name',
  '--sparse',
  '--one-file-system',
  '--xattrs',
  '--xattrs-include=user.*',
  '--xattrs-include=security.capability',
  '--xattrs-include=system.posix_acl_*',
  '--xattrs-exclude=user.overlay.*',
  '--pax-option=delete=atime,delete=ctime',
  '--warning=no-file-ignored',
]

/** Packs what is in a directory into a new file. With `shift`, owners are those of the container's view. */
export async function packTree(
  tree: string,
  to: string,
  options: {
    compression: Compression
    shift?: readonly Shift[] | undefined
    signal?: AbortSignal | undefined
    mode?: number
    /** The process through whose mounts the tree is seen. */
    through?: number | undefined
  },
): Promise<void> {
  const file = await open(to, 'wx', options.mode ?? 0o600)
  try {
    // Confined although the tree may be trusted: in the user namespace its ids and capabilities read as they are inside,
    // and a link that is swapped while tar walks leads nowhere.
    const tar = await confine('tar', [...CREATE, ...COMPRESSORS[options.compression], '.'], {
      directory: tree,
      through: options.through,
      readonly: true,
      shift: options.shift,
      signal: options.signal,
      stdout: file.fd,
    })
    await tar.done
    await file.sync()
  } finally {
    await file.close()
  }
}
