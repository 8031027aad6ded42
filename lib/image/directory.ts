/** The template `directory`: a copy of a root file system that stands unpacked in a directory of the host. */
import { stat } from 'node:fs/promises'
import { ContainerError } from '../errors.ts'
import { copyShifted, copyTree } from '../storage/copy.ts'
import { requiredOption, type Template, type TemplateContext, type TemplateResult } from './template.ts'

/** Options: `path`, the directory; its owners are taken to be those of the container's view. */
export const directory: Template = {
  name: 'directory',
  options: ['path'],
  async create(context: TemplateContext): Promise<TemplateResult> {
    const path = requiredOption(context, 'path', 'the directory to copy')
    if (
      !(await stat(path).then(
        s => s.isDirectory(),
        () => false,
      ))
    ) {
      throw new ContainerError('ERR_ROOTFS_MISSING', `Cannot create "${context.name}": "${path}" is not a directory`, {
        path,
      })
    }
    const { rootfs, shift, signal, onProgress } = context
    onProgress?.({ phase: 'copy', done: 0 })
    if (shift === undefined) await copyTree(path, rootfs, { signal })
    else
      await copyShifted(path, rootfs, { to: shift }, { signal, onBytes: done => onProgress?.({ phase: 'copy', done }) })
    return { config: [] }
  },
}
