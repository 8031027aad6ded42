/** The templates `mmdebstrap` and `debootstrap`: a Debian system from its packages. */

import { randomUUID } from 'node:crypto'
import { chmod, mkdir, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ContainerError } from '../errors.ts'
import { copyShifted } from '../storage/copy.ts'
import { removeDirectory } from '../storage/remove.ts'
import { runFamily } from './family.ts'
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
    // Where it builds: the users that apt and a user namespace work as must get there.
    const work = await mkdtemp(join(tmpdir(), 'caisson-mmdebstrap-'))
    try {
      await chmod(work, 0o711)
      const more = plan.mirror === undefined ? [] : [plan.mirror]
      context.onProgress?.({ phase: 'packages', done: 0 })
      await runFamily('mmdebstrap', ['--format=tar', ...plan.options, '--', plan.suite, '-', ...more], {
        stdio: ['ignore', file.fd, 'pipe'],
        env: { ...proxies(), TMPDIR: work },
        signal: context.signal,
      })
      const { shift, signal, onProgress } = context
      await unpack(file, context.rootfs, { shift, signal, onProgress })
    } finally {
      await file.close()
      await rm(archive, { force: true })
      await removeDirectory(work)
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
      await runFamily('debootstrap', [...plan.options, plan.suite, target, ...more], { env: proxies(), signal })
      if (shift !== undefined) await copyShifted(target, rootfs, { to: shift }, { signal })
    } finally {
      if (target !== rootfs) await rm(target, { recursive: true, force: true })
    }
    return { config: [['lxc.arch', kernelArchitecture(plan.arch)]] }
  },
}

function planOf(context: TemplateContext): Plan {
  const arch = debianArchitecture(stringOption(context, 'arch') ?? hostArchitecture())
  const value = (name: string): string | undefined => {
    const text = stringOption(context, name)
    // Values stand behind `--name=`, but the suite and the mirror alone, and debootstrap knows no `--`: none can become an option.
    if (text === undefined || /^(?!-)[\w.,:+~/@=?%&!()*-]+$/.test(text)) return text
    throw new ContainerError('ERR_INVALID_OPTION', `Cannot create "${context.name}": "${name}" is "${text}"`)
  }
  requiredOption(context, 'suite', 'the release, such as "bookworm"')
  const suite = value('suite') as string
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
