/** SELinux: the contexts of init and of its keyring (lxc.selinux.*). selinux(8) */
import { existsSync } from 'node:fs'
import type { Config } from '../config/config.ts'
import { ContainerError } from '../errors.ts'

/** LXC's word for "leave it as it is". */
const UNCHANGED = 'unconfined_t'

export interface SelinuxChoice {
  readonly selinux: string
  readonly selinuxKeyring: string
}

/** Whether this kernel runs SELinux with its file system in reach. */
export const runsSelinux = (): boolean => existsSync('/sys/fs/selinux/enforce')

/** Throws ERR_FEATURE_MISSING for a context that nothing would enforce. */
export function refuseWithoutSelinux(context: string): void {
  if (runsSelinux()) return
  throw new ContainerError(
    'ERR_FEATURE_MISSING',
    `Cannot use the SELinux context "${context}": this kernel does not run SELinux`,
    { hint: 'boot with security=selinux selinux=1, or leave the context out' },
  )
}

/** Throws ERR_FEATURE_MISSING when a context is asked for and the kernel does not run SELinux: nothing starts with less than that. */
export function chooseContext(config: Config, runs = runsSelinux()): SelinuxChoice {
  const [init, keyring] = (['lxc.selinux.context', 'lxc.selinux.context.keyring'] as const).map(key => {
    const context = config.value(key)
    if (context === undefined || context === UNCHANGED) return ''
    if (runs) return context
    throw new ContainerError(
      'ERR_FEATURE_MISSING',
      `Cannot use the SELinux context "${context}": this kernel does not run SELinux`,
      {
        hint: `boot with security=selinux selinux=1, or remove ${key}`,
        ...config.where(key),
      },
    )
  }) as [string, string]
  return { selinux: init, selinuxKeyring: keyring === '' ? init : keyring }
}
