/** What is somebody else's: one sentence that says whose it is, and as whom it would go. */
import { accessSync, constants, statSync } from 'node:fs'
import path from 'node:path'
import { ContainerError } from './errors.ts'

/** An error of the file system as an error of `cannot` ("Cannot open container …"); one that is not about rights stays as it is. */
export function explainRights(error: unknown, cannot: string, file: string, container?: string): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (error instanceof ContainerError || (code !== 'EACCES' && code !== 'EPERM')) return error
  return new ContainerError(code, `${cannot}: permission denied for ${file}`, {
    path: file,
    container,
    hint: `${ownerOf(file)} may: run this as that user, or keep containers of your own in another lxcpath`,
    cause: error,
  })
}

/** Throws where this user may not change the directory, before anything of it is changed. */
export function demandRights(cannot: string, directory: string, container: string): void {
  try {
    accessSync(directory, constants.W_OK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') throw explainRights(error, cannot, directory, container)
  }
}

/** Who owns the file, or the nearest directory above it of which that can be seen. */
function ownerOf(file: string): string {
  try {
    const { uid } = statSync(file)
    return uid === 0 ? 'root' : `its owner, uid ${uid},`
  } catch {
    return file === '/' ? 'root' : ownerOf(path.dirname(file))
  }
}
