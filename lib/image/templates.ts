/** The templates by name: the one place that knows them all. */
import { existsSync } from 'node:fs'
import { ContainerError, nearest } from '../errors.ts'
import { debootstrap, mmdebstrap } from './builder.ts'
import { busybox } from './busybox.ts'
import { directory } from './directory.ts'
import { downloadTemplate } from './download.ts'
import { external, TEMPLATE_DIRECTORY } from './external.ts'
import { host } from './host.ts'
import { local } from './local.ts'
import { ociTemplate } from './ocitemplate.ts'
import type { Template } from './template.ts'

const TEMPLATES: readonly Template[] = [
  busybox,
  debootstrap,
  directory,
  downloadTemplate,
  host,
  local,
  mmdebstrap,
  ociTemplate,
]

/**
 * The template of that name; a path is that of a template program, and `lxc-<name>` is looked for where LXC has its own.
 * Throws ERR_TEMPLATE with the nearest known name.
 */
export function findTemplate(name: string): Template {
  if (name.startsWith('/')) return external(name)
  const template = TEMPLATES.find(candidate => candidate.name === name)
  if (template !== undefined) return template
  const program = `${TEMPLATE_DIRECTORY}/lxc-${name}`
  if (/^[\w.-]+$/.test(name) && existsSync(program)) return external(program)
  const names = TEMPLATES.map(candidate => candidate.name)
  const near = nearest(name, names)
  throw new ContainerError('ERR_TEMPLATE', `Unknown template "${name}"`, {
    hint: near === undefined ? `known templates: ${names.join(', ')}` : `did you mean "${near}"?`,
  })
}
