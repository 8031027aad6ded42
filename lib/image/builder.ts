/** The templates `mmdebstrap` and `debootstrap`: a Debian system from its packages. */

import { randomUUID } from 'node:crypto'
import { mkdir, open, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ContainerError } from '../errors.ts'
import { runProgram } from '../native/program.ts'
import { copyShifted } from '../storage/copy.ts'
import { debianArchitecture, hostArchitecture, kernelArchitecture } from './metadata.ts'
import { requiredOption, stringOption, type Template, type TemplateContext, type TemplateResult } from './template.ts'
import { unpack } from './unpack.ts'

interface Plan {
  readonly suite: string
  readonly mirror: string | undefined
  readonly arch: string
  /** Options that both programs understand alike. */
  readonly options: readonly string[]
}

const OPTIONS = ['suite', 'mirror', 'arch', 'variant', 'include', 'components', 'keyring']

/**
 * Options: `suite` (required), `mirror`, `arch`, `variant` ('minbase'), `include` (packages, by commas), `components`,
 * `keyring`. The archive is unpacked like any other, so that ids are shifted when asked and nothing stays half made.
 */
export const mmdebstrap: Template = {
  name: 'mmdebstrap',
  options: OPTIONS,
  async create(context: TemplateContext): Promise<TemplateResult> {
    const plan = planOf(context)
    const archive = join(dirname(context.rootfs), `.${randomUUID()}.tar`)
    const file = await open(archive, 'wx+', 0o600)
    try {
      const more = plan.mirror === undefined ? [] : [plan.mirror]
      context.onProgress?.({ phase: 'packages', done: 0 })
      await runProgram('mmdebstrap', ['--format=tar', ...plan.options, '--', plan.suite, '-', ...more], {
        stdio: ['ignore', file.fd, 'pipe'],
        env: proxies(),
        signal: context.signal,
      })
      const { shift, signal, onProgress } = context
      await unpack(file, context.rootfs, { shift, signal, onProgress })
    } finally {
      await file.close()
      await rm(archive, { force: true })
    }
    return { config: [['lxc.arch', kernelArchitecture(plan.arch)]] }
  },
}

/** The same by debootstrap(8), which needs root and is two to three times slower. */
export const debootstrap: Template = {
  name: 'debootstrap',
  options: OPTIONS,
  async create(context: TemplateContext): Promise<TemplateResult> {
    const plan = planOf(context)
    const { shift, signal, rootfs } = context
    const target = shift === undefined ? rootfs : join(dirname(rootfs), `.${randomUUID()}`)
    try {
      if (shift !== undefined) await mkdir(target, { mode: 0o755 })
      const more = plan.mirror === undefined ? [] : [plan.mirror]
      context.onProgress?.({ phase: 'packages', done: 0 })
      await runProgram('debootstrap', [...plan.options, '--', plan.suite, target, ...more], { env: proxies(), signal })
      if (shift !== undefined) await copyShifted(target, rootfs, { to: shift }, { signal })
    } finally {
      if (target !== rootfs) await rm(target, { recursive: true, force: true })
    }
    return { config: [['lxc.arch', kernelArchitecture(plan.arch)]] }
  },
}

function planOf(context: TemplateContext): Plan {
  const suite = requiredOption(context, 'suite', 'the release, such as "bookworm"')
  const arch = debianArchitecture(stringOption(context, 'arch') ?? hostArchitecture())
  const value = (name: string): string | undefined => {
    const text = stringOption(context, name)
    // Values stand behind `--name=`, and the suite and mirror behind `--`: none can become an option.
    if (text === undefined || /^[\w.,:+~/@=?%&!()*-]+$/.test(text)) return text
    throw new ContainerError('ERR_INVALID_OPTION', `Cannot create "${context.name}": "${name}" is "${text}"`)
  }
  const options = [`--arch=${arch}`, `--variant=${value('variant') ?? 'minbase'}`]
  for (const name of ['include', 'components', 'keyring']) {
    const text = value(name)
    if (text !== undefined) options.push(`--${name}=${text}`)
  }
  return { suite, arch, mirror: value('mirror'), options }
}

/** Package managers read these, and only these, of the caller's environment. */
function proxies(): Record<string, string> {
  const names = ['http_proxy', 'https_proxy', 'ftp_proxy', 'no_proxy']
  return Object.fromEntries(
    names.flatMap(name => (process.env[name] === undefined ? [] : [[name, process.env[name] as string]])),
  )
}
