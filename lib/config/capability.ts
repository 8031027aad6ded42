/** Capability names, lower-case and without `CAP_`. capabilities(7) */
import { didYouMean, type Kind, quote, whole } from './kinds.ts'
import { mistake } from './mistake.ts'

/** In the kernel's order: the index is the number. The last, checkpoint_restore, came with kernel 5.9. */
export const CAPABILITIES = [
  'chown',
  'dac_override',
  'dac_read_search',
  'fowner',
  'fsetid',
  'kill',
  'setgid',
  'setuid',
  'setpcap',
  'linux_immutable',
  'net_bind_service',
  'net_broadcast',
  'net_admin',
  'net_raw',
  'ipc_lock',
  'ipc_owner',
  'sys_module',
  'sys_rawio',
  'sys_chroot',
  'sys_ptrace',
  'sys_pacct',
  'sys_admin',
  'sys_boot',
  'sys_nice',
  'sys_resource',
  'sys_time',
  'sys_tty_config',
  'mknod',
  'lease',
  'audit_write',
  'audit_control',
  'setfcap',
  'mac_override',
  'mac_admin',
  'syslog',
  'wake_alarm',
  'block_suspend',
  'audit_read',
  'perfmon',
  'bpf',
  'checkpoint_restore',
] as const

export type CapabilityName = (typeof CAPABILITIES)[number]
const number = whole(0, 63)

function capabilityNumber(value: string, words: readonly string[]): number {
  const index = (CAPABILITIES as readonly string[]).indexOf(value)
  if (index >= 0) return index
  if (/^[0-9]/.test(value)) return number.parse(value)
  const plain = value.toLowerCase().replace(/^cap_/, '')
  const hint = words.includes(plain) ? `write "${plain}"` : didYouMean(plain, words)
  throw mistake(`${quote(value)} is not a capability`, hint)
}

const name = (value: number): string => CAPABILITIES[value] ?? String(value)

/** A capability by name or number; its value is the kernel's number. */
export const capability: Kind<number, CapabilityName | `${number}`> = {
  describe: 'a capability, lower-case without CAP_, or its number',
  words: CAPABILITIES,
  verbatim: true,
  parse: value => capabilityNumber(value, CAPABILITIES),
  print: name,
}

const KEPT = ['none', ...CAPABILITIES] as const

/** A capability to keep; `none` forgets those named before, and alone keeps no capability at all. */
export const keptCapability: Kind<number | 'none', CapabilityName | 'none' | `${number}`> = {
  describe: 'a capability, lower-case without CAP_, its number, or none',
  words: KEPT,
  verbatim: true,
  parse: value => (value === 'none' ? value : capabilityNumber(value, KEPT)),
  print: value => (value === 'none' ? value : name(value)),
}
