/**
 * A template makes the root file system of a new container and says which config lines it needs.
 *
 * It fills a directory that exists, is empty, and is not yet visible as a container; whoever calls it publishes the
 * directory by a rename or throws it away, so a template neither cleans up nor takes back.
 */
import { throwIfAborted } from '../abort.ts'
import { ContainerError, refuseUnknown } from '../errors.ts'
import type { Shift } from '../host/shift.ts'
import type { ImageRecord } from './record.ts'
import type { ImageStore } from './store.ts'

/** What is going on in a long operation. `done` and `total` are bytes unless the phase says otherwise. */
export interface Progress {
  readonly phase: string
  readonly done: number
  readonly total?: number
}

export interface TemplateContext {
  /** The name of the container to be. */
  readonly name: string
  /** The directory to fill: it exists and is empty. */
  readonly rootfs: string
  /**
   * How owners are written to disk. Absent (the default): as they are inside, uid 0 as 0, to be shown through an
   * idmapped mount. Present: shifted, for file systems that cannot be mounted so.
   */
  readonly shift?: readonly Shift[] | undefined
  /** Whether the container will have a user namespace; images may carry other config for these. */
  readonly unprivileged?: boolean | undefined
  /** The template's own options; unknown ones are refused. */
  readonly options: Readonly<Record<string, unknown>>
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

export interface TemplateResult {
  /** `lxc.*` lines in LXC's text form, in order; `lxc.rootfs.path` and `lxc.uts.name` are the caller's. */
  readonly config: readonly (readonly [key: string, value: string])[]
  /** Words of the image's author to whoever made the container. */
  readonly message?: string
  /** An fstab that belongs beside the config, for `lxc.mount.fstab`. */
  readonly fstab?: string
}

/** The driver interface; one object for each way to come by a root file system. */
export interface Template {
  readonly name: string
  /** The names of the options it knows. */
  readonly options: readonly string[]
  create(context: TemplateContext): Promise<TemplateResult>
  /** Of templates that unpack an image: which one, brought into the store if need be. `rootfs` is not used. */
  image?(context: TemplateContext): Promise<{ readonly store: ImageStore; readonly image: ImageRecord }>
}

/** Runs a template after checking its options. */
export async function createRootfs(template: Template, context: TemplateContext): Promise<TemplateResult> {
  refuseUnknown(context.options, template.options, `the template "${template.name}"`)
  throwIfAborted(context.signal, `create "${context.name}"`)
  return template.create(context)
}

/** Reads an option that must be a string when it is there. */
export function stringOption(context: TemplateContext, name: string): string | undefined {
  const value = context.options[name]
  if (value === undefined || typeof value === 'string') return value
  throw new ContainerError(
    'ERR_INVALID_OPTION',
    `Cannot use option "${name}": it must be a string, not ${typeof value}`,
  )
}

/** Reads an option that must be a string and must be there. */
export function requiredOption(context: TemplateContext, name: string, meaning: string): string {
  const value = stringOption(context, name)
  if (value !== undefined && value !== '') return value
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot create "${context.name}": option "${name}" is missing`, {
    hint: `"${name}" is ${meaning}`,
  })
}
