/**
 * A template program of LXC, by LXC's calling convention:
 * `TEMPLATE --path=LXCPATH/NAME --name=NAME --rootfs=ROOTFS [arguments]`. It fills the root file system and appends lines to
 * the file `config` in its path. It runs as whoever calls, as it does under lxc-create: it must be trusted.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ContainerError } from '../errors.ts'
import { findProgram } from '../native/program.ts'
import { copyShifted } from '../storage/copy.ts'
import { runFamily } from './family.ts'
import type { Template, TemplateContext, TemplateResult } from './template.ts'

/** Where LXC's packages put templates; `lxc-<name>` is looked for there. */
export const TEMPLATE_DIRECTORY = '/usr/share/lxc/templates'

/** Of the caller's environment: what LXC documents for templates, and proxies. */
const PASSED = /^(https?_proxy|ftp_proxy|no_proxy|LXC_CACHE_PATH|MIRROR|SECURITY_MIRROR|BUSYBOX_EXE)$/

/** The template that a program is. Its only option, `args`, are the arguments after `--` of lxc-create. */
export function external(program: string): Template {
  return {
    name: basename(program).replace(/^lxc-/, ''),
    options: ['args'],
    create: context => runTemplate(findProgram(program), context),
  }
}

async function runTemplate(program: string, context: TemplateContext): Promise<TemplateResult> {
  const directory = join(dirname(context.rootfs), `.${randomUUID()}`)
  const rootfs = join(directory, 'rootfs')
  await mkdir(rootfs, { recursive: true })
  try {
    await writeFile(join(directory, 'config'), '')
    const named = [`--path=${directory}`, `--name=${context.name}`, `--rootfs=${rootfs}`]
    context.onProgress?.({ phase: 'template', done: 0 })
    await runFamily(program, [...named, ...argumentsOf(context)], { env: environment(), signal: context.signal })
    const text = await readFile(join(directory, 'config'), 'utf8')
    if (context.shift === undefined) {
      await rmdir(context.rootfs)
      await rename(rootfs, context.rootfs)
    } else await copyShifted(rootfs, context.rootfs, { to: context.shift }, { signal: context.signal })
    return { config: linesOf(text.replaceAll(rootfs, context.rootfs)) }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function argumentsOf(context: TemplateContext): readonly string[] {
  const args = context.options.args ?? []
  if (Array.isArray(args) && args.every(arg => typeof arg === 'string')) return args
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot create "${context.name}": "args" must be a list of strings`)
}

/** The lines it wrote, but those that only the caller can know. */
function linesOf(text: string): (readonly [string, string])[] {
  return text.split('\n').flatMap(line => {
    const [, key, value] = /^\s*(lxc\.[\w.-]+)\s*=\s*(.*?)\s*$/.exec(line) ?? []
    if (
      key === undefined ||
      value === undefined ||
      ['lxc.rootfs.path', 'lxc.rootfs', 'lxc.uts.name', 'lxc.utsname'].includes(key)
    )
      return []
    return [[key, value] as const]
  })
}

function environment(): Record<string, string> {
  const entries = Object.entries(process.env).filter(([name, value]) => PASSED.test(name) && value !== undefined)
  return Object.fromEntries(entries) as Record<string, string>
}
