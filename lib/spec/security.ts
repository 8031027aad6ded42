/** Capabilities and covered paths: the system profile, and what a config says beyond it. */
import { CAPABILITIES, type CapabilityName } from '../config/capability.ts'
import type { Config } from '../config/config.ts'
import { ContainerError } from '../errors.ts'
import type { CapabilitySpec } from '../native/spec.ts'

/** What no system container needs, and what would reach beyond it: not even in its own user namespace. */
export const SYSTEM_DROPPED: readonly CapabilityName[] = [
  'sys_module',
  'sys_rawio',
  'sys_time',
  'mac_admin',
  'mac_override',
  'syslog',
  'bpf',
  'perfmon',
  'wake_alarm',
  'block_suspend',
  'audit_control',
  'audit_read',
  'sys_pacct',
]

const bit = (capability: number): bigint => 1n << BigInt(capability)

/** A mask of capabilities by name. */
export function maskOf(names: readonly CapabilityName[]): bigint {
  return names.reduce((mask, name) => mask | bit(CAPABILITIES.indexOf(name)), 0n)
}

/** The sets of init: lxc.cap.keep, or all without lxc.cap.drop, or the system profile. */
export function resolveCapabilities(config: Config, lastCapability: number, uid: number): CapabilitySpec {
  const all = bit(lastCapability + 1) - 1n
  const kept = config.value('lxc.cap.keep')
  const dropped = config.value('lxc.cap.drop')
  if (kept.length > 0 && dropped.length > 0) {
    throw new ContainerError(
      'ERR_CONFIG_CONFLICT',
      'Cannot choose capabilities: lxc.cap.keep and lxc.cap.drop are both set',
      {
        hint: 'name either those to keep or those to drop',
        ...config.where('lxc.cap.keep'),
      },
    )
  }
  const sum = (list: readonly (number | 'none')[]) =>
    list.reduce<bigint>((mask, one) => (one === 'none' ? mask : mask | bit(one)), 0n)
  const drop = dropped.length > 0 ? sum(dropped) : maskOf(SYSTEM_DROPPED)
  const bounding = kept.length > 0 ? sum(kept) & all : all & ~drop
  const own = uid === 0 ? bounding : 0n
  return { bounding, permitted: own, effective: own, ambient: 0, securebits: 0 }
}

/** Files and directories that tell of the host, or let its hardware be touched. */
export const MASKED: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/iomem',
  '/proc/ioports',
  '/proc/kallsyms',
  '/proc/kcore',
  '/proc/keys',
  '/proc/kmsg',
  '/proc/kpagecgroup',
  '/proc/kpagecount',
  '/proc/kpageflags',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/slabinfo',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/vmallocinfo',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
  '/sys/fs/bpf',
  '/sys/fs/pstore',
  '/sys/fs/selinux',
  '/sys/kernel/debug',
  '/sys/kernel/security',
  '/sys/kernel/slab',
  '/sys/kernel/tracing',
]

export const READ_ONLY: readonly string[] = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/pressure']
