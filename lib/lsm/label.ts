/** The labels of a container, from its config and from what the kernel runs: chosen before a start, in force from init's exec on. */
import type { Config } from '../config/config.ts'
import type { SecuritySpec } from '../native/spec.ts'
import { type AppArmorChoice, chooseProfile } from './apparmor.ts'
import { chooseContext } from './selinux.ts'

export interface Labels {
  readonly spec: Pick<SecuritySpec, 'apparmor' | 'apparmorProfile' | 'apparmorNamespace' | 'selinux' | 'selinuxKeyring'>
  /** What has to be loaded before the monitor is launched. */
  readonly apparmor: AppArmorChoice
}

/** `tag` is the container's, caisson.NAME.HASH. Throws ERR_FEATURE_MISSING for what is asked for and cannot be had. */
export function chooseLabels(config: Config, tag: string): Labels {
  const apparmor = chooseProfile(config, tag, config.value('lxc.idmap').length > 0)
  return {
    apparmor,
    spec: {
      apparmor: apparmor.label,
      apparmorProfile: apparmor.profile?.name ?? '',
      apparmorNamespace: apparmor.profile?.namespace ?? '',
      ...chooseContext(config),
    },
  }
}
