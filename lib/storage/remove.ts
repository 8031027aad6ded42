/** Removing the files of volumes. */
import { discard } from '../confine/ownership.ts'
import { runProgram } from '../native/program.ts'

/** Removes a tree without following links, and without entering another file system that is mounted in it. */
export async function removeDirectory(path: string): Promise<void> {
  // Deep trees: rm(1) goes by descriptors, and needs no stack for depth.
  const remove = () => runProgram('rm', ['-rf', '--one-file-system', '--', path])
  await remove().catch(async error => {
    // Files of a user's container belong to subordinate ids.
    if (!(await discard(path))) throw error
  })
}
