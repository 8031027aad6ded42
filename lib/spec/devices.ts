/**
 * Which devices a container may use: one list of rules, held by an eBPF program on the v2 hierarchy or by devices.allow and
 * devices.deny of the v1 one. The last rule that matches decides; what no rule matches is refused.
 */
import type { Entry } from '../config/config.ts'
import { deviceRule } from '../config/device_rule.ts'
import { at } from '../config/mistake.ts'
import { ContainerError } from '../errors.ts'
import type { CgroupFile, CgroupHierarchy, DeviceRule } from '../native/spec.ts'

/** The nodes of a container's /dev and its own ptys; no kmsg, fuse, tun, loop, kvm (security.md §2.2, H2, H5). */
const DEFAULTS = [
  'c 1:3 rwm', // null
  'c 1:5 rwm', // zero
  'c 1:7 rwm', // full
  'c 1:8 rwm', // random
  'c 1:9 rwm', // urandom
  'c 5:0 rwm', // tty
  'c 5:1 rwm', // console
  'c 5:2 rwm', // ptmx
  'c 136:* rwm', // ptys
] as const

/** They are the same for every container. */
let defaults: readonly DeviceRule[] | undefined

const DENY_ALL: DeviceRule = { allow: false, type: 97, major: -1, minor: -1, access: 'rwm' }

/** The list of the defaults and, after them, of the config's own rules; `deny = a` and `allow = a` begin anew. */
export function deviceRules(entries: readonly Entry[]): DeviceRule[] {
  defaults ??= [DENY_ALL, ...DEFAULTS.map(text => ruleOf(true, text))]
  const rules = [...defaults]
  // Of a config for both versions one family is enough: both say the same.
  const family = entries.some(({ name }) => name.startsWith('lxc.cgroup2.devices.')) ? 'lxc.cgroup2.' : 'lxc.cgroup.'
  for (const entry of entries) {
    const list = entry.name.startsWith(family)
      ? /^devices\.(allow|deny)$/.exec(entry.name.slice(family.length))?.[1]
      : undefined
    if (list !== undefined) rules.push(readRule(list === 'allow', entry))
  }
  const restart = rules.findLastIndex(({ type, access }) => type === DENY_ALL.type && access === 'rwm')
  return rules.slice(restart)
}

function ruleOf(allow: boolean, text: string): DeviceRule {
  const { type, major, minor, access } = deviceRule.parse(text)
  return { allow, type: type.charCodeAt(0), major, minor, access }
}

function readRule(allow: boolean, entry: Entry): DeviceRule {
  try {
    return ruleOf(allow, String(entry.value))
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error
    const place = { file: entry.line.file, line: entry.line.number }
    throw new ContainerError(
      'ERR_CONFIG_VALUE',
      `${at(place)}Cannot set "${entry.name}": ${error.message.split('\n')[0]}`,
      { hint: error.hint, ...place },
    )
  }
}

/** A rule as v1 reads it. */
export function printRule({ type, major, minor, access }: DeviceRule): string {
  return deviceRule.print({ type: String.fromCharCode(type) as 'a' | 'b' | 'c', major, minor, access })
}

export interface DevicePlacement {
  readonly rules: readonly DeviceRule[]
  readonly files: readonly CgroupFile[]
  readonly note?: string
}

/** Where the rules are held: v1's devices hierarchy where it is mounted, else the program of the v2 one. */
export function deviceFiles(
  rules: readonly DeviceRule[],
  hierarchies: readonly CgroupHierarchy[],
  root: boolean,
): DevicePlacement {
  const [first] = rules
  if (rules.length === 1 && first?.allow === true) return { rules: [], files: [] } // everything is allowed
  const v1 = hierarchies.findIndex(({ controllers }) => controllers.includes('devices'))
  if (root && v1 >= 0) return { rules: [], files: rules.map(rule => fileOf(v1, rule)) }
  if (root && hierarchies.some(({ version }) => version === 2)) return { rules, files: [] }
  // Both take CAP_SYS_ADMIN outside. In a user namespace the kernel itself refuses mknod(2), and mounts that it made open no device.
  return { rules: [], files: [], note: 'device rules do not hold: they take the rights of root on the host' }
}

function fileOf(hierarchy: number, rule: DeviceRule): CgroupFile {
  const all = rule.type === DENY_ALL.type && rule.access === 'rwm'
  const value = all ? 'a' : printRule(rule)
  return {
    hierarchy,
    name: `devices.${rule.allow ? 'allow' : 'deny'}`,
    value,
    optional: false,
    fallbackName: '',
    fallbackValue: '',
  }
}
