/** Which containers stand on a tree of the store: a file for each in `users/` beside it, which holds the container's path. */
import { createHash } from 'node:crypto'
import { access, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ifMissing } from '../host/file.ts'

/** A container that is being made has its directory soon after. */
const MAKING_MS = 3_600_000

/** Notes that the container of a directory stands on a tree, so that the tree stays as long as it. */
export async function holdTree(rootfs: string, container: string): Promise<void> {
  await writeFile(join(rootfs, '../users', userName(container)), container, { mode: 0o600 })
}

/** Takes that back. */
export async function releaseTree(rootfs: string, container: string): Promise<void> {
  await rm(join(rootfs, '../users', userName(container)), { force: true })
}

/** Whether a path is the root file system of a tree of some store. */
export function isTree(rootfs: string): boolean {
  return /\/trees\/[0-9a-f]{64}(-[0-9a-f]{16})?\/rootfs$/.test(rootfs)
}

/** The directories of the containers that stand on a tree; one whose container was removed by hand counts no more. */
export async function holdersOf(tree: string): Promise<string[]> {
  const names = (await readdir(join(tree, 'users')).catch(ifMissing)) ?? []
  const holders = await Promise.all(
    names.map(async name => {
      const path = join(tree, 'users', name)
      const container = await readFile(path, 'utf8')
      const isThere = await access(container).then(
        () => true,
        () => false,
      )
      return isThere || Date.now() - (await stat(path)).mtimeMs < MAKING_MS ? [container] : []
    }),
  )
  return holders.flat()
}

function userName(container: string): string {
  return createHash('sha256').update(container).digest('hex').slice(0, 32)
}
