/**
 * Landlock: the domain of an application sandbox, landlock(7). A second layer that is independent of the first: it holds with the mount
 * layer switched off. A system container cannot have one, since a process in a domain may not mount.
 */
import type { LandlockSpec, MountSpec } from '../native/spec.ts'

/** LANDLOCK_ACCESS_FS_*; what the kernel's ABI does not know the monitor leaves out. */
export const RIGHT = {
  execute: 1 << 0,
  writeFile: 1 << 1,
  readFile: 1 << 2,
  readDir: 1 << 3,
  removeDir: 1 << 4,
  removeFile: 1 << 5,
  makeDir: 1 << 7,
  makeReg: 1 << 8,
  makeSock: 1 << 9,
  makeFifo: 1 << 10,
  makeSym: 1 << 12,
  refer: 1 << 13,
  truncate: 1 << 14,
  ioctlDev: 1 << 15,
} as const

/** All of them, block and character devices among them: handled, that is refused where no rule grants it. */
export const ALL_FILES = (1 << 16) - 1
/** Bind and connect of TCP, ABI 4. */
export const ALL_NETWORK = 3
/** Abstract unix sockets and signals stay within the domain, ABI 6. */
export const ALL_SCOPES = 3

export const READ = RIGHT.execute | RIGHT.readFile | RIGHT.readDir
/** No device nodes: those that are there may be used, none may be made. */
export const WRITE =
  READ |
  RIGHT.writeFile |
  RIGHT.removeDir |
  RIGHT.removeFile |
  RIGHT.makeDir |
  RIGHT.makeReg |
  RIGHT.makeSock |
  RIGHT.makeFifo |
  RIGHT.makeSym |
  RIGHT.refer |
  RIGHT.truncate
const DEVICES = RIGHT.readFile | RIGHT.readDir | RIGHT.writeFile | RIGHT.truncate | RIGHT.ioctlDev

/** MOUNT_ATTR_RDONLY */
const READ_ONLY = 1n

export interface DomainOptions {
  /** The root itself can be written. */
  readonly writableRoot: boolean
  readonly mounts: readonly Pick<MountSpec, 'target' | 'attributes'>[]
  /** The sandbox has a network; without one there is no TCP to refuse. */
  readonly network: boolean
  /** TCP ports that may be bound or connected to; absent: all. */
  readonly ports?: { readonly bind: readonly number[]; readonly connect: readonly number[] } | undefined
  /** A kernel without Landlock is an error. */
  readonly required?: boolean
}

/** The mount table once more, as rights. */
export function resolveDomain(options: DomainOptions): LandlockSpec {
  const paths = [
    { path: '/', access: options.writableRoot ? WRITE : READ },
    { path: '/dev', access: DEVICES },
    { path: '/dev/shm', access: WRITE },
    { path: '/dev/mqueue', access: WRITE },
    { path: '/proc', access: READ | RIGHT.writeFile | RIGHT.truncate },
    ...options.mounts.map(({ target, attributes }) => ({
      path: `/${target.replace(/^\/+/, '')}`,
      access: (BigInt(attributes) & READ_ONLY) === 0n ? WRITE : READ,
    })),
  ]
  const { ports } = options
  const granted = new Map<number, number>()
  for (const port of ports?.bind ?? []) granted.set(port, 1)
  for (const port of ports?.connect ?? []) granted.set(port, (granted.get(port) ?? 0) | 2)
  return {
    handledAccess: ALL_FILES,
    handledNetwork: ports === undefined && options.network ? 0 : ALL_NETWORK,
    scoped: ALL_SCOPES,
    paths,
    ports: [...granted].map(([port, access]) => ({ port, access })),
    required: options.required ?? false,
  }
}
