/**
 * Storage of root file systems behind one interface: what a backend must know to make, show, fork and remove one.
 *
 * A volume is what stands in `lxc.rootfs.path`. Everything a backend makes for a container lies in the container's directory
 * where it can, so that renaming that directory moves it; what lies elsewhere (a dataset, a logical volume) says so.
 */

import type { FileSystem, RootfsPath } from '../config/rootfs.ts'

/** Its file system, where it is a device or an image, comes with it (default ext4): nothing is guessed from what it holds. */
export type Volume = RootfsPath & { readonly fstype?: FileSystem | undefined }

/** Where a volume is made. */
export interface Site {
  /** The container's directory; it exists. */
  readonly directory: string
  readonly name: string
}

/** Where a volume lies that is in no directory; what is left out is as lxc.conf says (lxc.bdev.*). */
export interface Pool {
  /** LVM: the volume group, its thin pool ('' for none), and the name of the volume (default: the container's). */
  readonly group?: string | undefined
  readonly thinPool?: string | undefined
  readonly volume?: string | undefined
  /** ZFS: the dataset below which the container's is made. */
  readonly parent?: string | undefined
}

export interface VolumeOptions {
  readonly pool?: Pool | undefined
  /** Bytes; needed by loop and lvm (default 1 GiB, as LXC's), a limit where the backend can hold one. */
  readonly size?: number | undefined
  /** The file system of loop and lvm; default ext4. */
  readonly fstype?: FileSystem | undefined
  readonly signal?: AbortSignal | undefined
}

export interface Backend {
  readonly name: 'dir' | 'overlay' | 'btrfs' | 'loop' | 'lvm' | 'zfs'
  /** Whether it can be used for containers in that directory, on this host, now. */
  isUsable(directory: string, pool?: Pool): Promise<boolean>
  /** Makes an empty one. */
  create(site: Site, options: VolumeOptions): Promise<Volume>
  /** Makes one that begins as `from` is, at no cost but that of what changes; absent: it cannot. `from` must not change. */
  /** A fork needs its source to stay as it is; else the two are independent from the first moment. */
  readonly forksDepend?: boolean
  fork?(from: Volume, site: Site, options: VolumeOptions): Promise<Volume>
  /** Where the files can be seen without mounting anything. */
  directory?(volume: Volume): string | undefined
  /** The mount(8) arguments that show it, but the target, in a mount namespace of its own. */
  mountArguments(volume: Volume, access: 'read' | 'write'): readonly string[]
  /** What another one like it must be made with. */
  shape?(volume: Volume): Promise<Pick<VolumeOptions, 'size' | 'fstype'>>
  remove(volume: Volume, options?: { signal?: AbortSignal | undefined }): Promise<void>
  /** The volume after its container's directory has been renamed. */
  moved(volume: Volume, from: Site, to: Site): Promise<Volume>
  /** Sets the most it may hold, in bytes; absent: it cannot. */
  limit?(volume: Volume, bytes: number): Promise<void>
}

export type BackendName = Backend['name']

/** The default of LXC for `--fssize`. */
export const DEFAULT_SIZE = 1024 ** 3
