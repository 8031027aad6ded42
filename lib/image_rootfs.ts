/** An image as the root of sandboxes: its tree in the store, unpacked once, and held as long as this process lives. */
import type { Host } from './host/host.ts'
import { holdTree } from './image/holders.ts'
import { ImageStore } from './image/store.ts'
import { treeOf } from './image/trees.ts'
import type { Session } from './session.ts'
import type { DirectoryOptions, SandboxOptions } from './spec/sandbox_options.ts'

/** The same options with a directory in place of an image. Throws ERR_IMAGE_NOT_FOUND, ERR_IMAGE, ERR_ABORTED. */
export async function onTree(
  options: SandboxOptions,
  { host, session }: { host: Host; session: Session },
  signal?: AbortSignal,
): Promise<DirectoryOptions> {
  const { rootfs, ...rest } = options
  if (rootfs === undefined) return rest
  if (typeof rootfs === 'string') return { ...rest, rootfs }
  const store = await ImageStore.open(rootfs.store)
  const image = await store.get(rootfs.image)
  // Root shows the tree through the id map of each sandbox; others have one id, and the tree is all theirs.
  const own = (type: 'uid' | 'gid') => ({ type, container: 0, host: host[type], range: 1 })
  const tree = await treeOf(store, image, { shift: host.root ? undefined : [own('uid'), own('gid')], signal })
  await holdTree(tree, session.directory)
  return { ...rest, rootfs: tree }
}
