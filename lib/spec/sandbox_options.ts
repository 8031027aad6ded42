/** What a sandbox is made of, and what of it is refused before anything is made. */
import path from 'node:path'
import type { Limits } from '../config/limits.ts'
import { ContainerError, refuseUnknown } from '../errors.ts'

/** What a sandbox is made of. Everything has a default: the host's programs, read-only, and nothing else. */
export interface SandboxOptions {
  /**
   * 'host' (default): the host's programs and libraries; 'empty': nothing; a directory that holds a root file system; or an image of a
   * store by alias or fingerprint, unpacked once. All read-only.
   */
  rootfs?: 'host' | 'empty' | (string & {}) | { image: string; store?: string }
  /** Host paths to show inside, read-only unless `write`; without a target at the same path. Ids on disk are the ids inside. */
  bind?: readonly (string | { source: string; target?: string; write?: boolean })[]
  /** Empty writable places; bytes or '64M' (the default size). /tmp is one unless it is given here. */
  tmpfs?: readonly (string | { target: string; size?: number | string })[]
  /** 'pid' (default): /proc shows processes only; 'full': the whole of it, with what tells of the host covered. ps(1) and the JVM want it. */
  proc?: 'pid' | 'full'
  /** Default 'sandbox'. */
  hostname?: string
  /** Default: 256 processes; memory is counted and not limited. */
  limits?: Limits
  /** Default: an own network with nothing but lo. `[{ type: 'none' }]` is the host's network. */
  network?: readonly ({ type: 'none' } | { type: 'empty' })[]
  /** 'default': the app profile's filter; false: none. */
  seccomp?: 'default' | false
  /** Default: none. Those kept are rights inside only. */
  capabilities?: { keep: readonly string[] }
  /** Beside PATH and HOME. */
  environment?: Record<string, string>
}

/** The same when an image has become a directory. */
export type DirectoryOptions = Omit<SandboxOptions, 'rootfs'> & { rootfs?: string }

export const SANDBOX_OPTIONS = [
  'rootfs',
  'bind',
  'tmpfs',
  'proc',
  'hostname',
  'limits',
  'network',
  'seccomp',
  'capabilities',
  'environment',
] as const satisfies readonly (keyof SandboxOptions)[]

export const invalid = (what: string, hint: string) =>
  new ContainerError('ERR_INVALID_OPTION', `Cannot make a sandbox: ${what}`, { hint })

const quoted = (value: unknown) => (typeof value === 'number' ? String(value) : JSON.stringify(value))

/** Refuses what is unknown, of another type, or outside its domain. Throws ERR_INVALID_OPTION. */
export function checkSandbox(options: SandboxOptions): void {
  checkWords(options)
  for (const name of ['bind', 'tmpfs', 'network'] as const) {
    if (options[name] === undefined || Array.isArray(options[name])) continue
    throw invalid(`${name} is ${quoted(options[name])}`, `give a list: ${name}: [ … ]`)
  }
  for (const one of options.bind ?? []) checkBind(one)
  for (const one of options.tmpfs ?? []) checkTmpfs(one)
  checkNetwork(options.network)
  if (options.capabilities !== undefined) {
    refuseUnknown(options.capabilities, ['keep'], 'capabilities of a sandbox')
    if (!isStrings(options.capabilities.keep))
      throw invalid('capabilities.keep is no list', "write { keep: ['chown'] }")
  }
  checkEnvironment(options.environment, 'environment')
}

function checkWords({ proc, seccomp, hostname, rootfs }: SandboxOptions): void {
  if (proc !== undefined && proc !== 'pid' && proc !== 'full')
    throw invalid(`proc is ${quoted(proc)}`, "give 'pid' or 'full'")
  if (seccomp !== undefined && seccomp !== 'default' && seccomp !== false) {
    throw invalid(`seccomp is ${quoted(seccomp)}`, "give 'default', or false for no filter")
  }
  if (
    hostname !== undefined &&
    !(typeof hostname === 'string' && /^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$/.test(hostname))
  ) {
    throw invalid(`the hostname is ${quoted(hostname)}`, 'at most 64 letters, digits, "." and "-", hostname(7)')
  }
  if (rootfs !== undefined && typeof rootfs !== 'string') checkImage(rootfs)
}

function checkImage(rootfs: unknown): void {
  if (rootfs === null || typeof rootfs !== 'object')
    throw invalid(`rootfs is ${quoted(rootfs)}`, "give 'host', 'empty', a directory, or { image: 'alias' }")
  refuseUnknown(rootfs, ['image', 'store'], 'the rootfs of a sandbox')
  const { image, store } = rootfs as { image?: unknown; store?: unknown }
  if (typeof image !== 'string' || image === '')
    throw invalid(`the image of its rootfs is ${quoted(image)}`, 'give an alias or a fingerprint: { image: … }')
  if (store !== undefined && (typeof store !== 'string' || !path.isAbsolute(store)))
    throw invalid(`the store of its image is ${quoted(store)}`, 'give the absolute path of a store: images.path')
}

function isStrings(list: unknown): boolean {
  return Array.isArray(list) && list.every(one => typeof one === 'string')
}

/** Names without "=", and neither they nor the values with NUL, environ(7). */
export function checkEnvironment(environment: unknown, what: string): void {
  for (const [name, value] of Object.entries(environment ?? {})) {
    if (name !== '' && !/[=\0]/.test(name) && typeof value === 'string' && !value.includes('\0')) continue
    throw new ContainerError(
      'ERR_INVALID_OPTION',
      `Cannot run: ${JSON.stringify(name)} of ${what} is not an environment variable`,
      {
        hint: 'names are without "=", values are strings, and neither holds NUL; leave out what is undefined',
      },
    )
  }
}

function checkBind(bind: unknown): void {
  const given = typeof bind === 'string' ? { source: bind } : bind
  if (given === null || typeof given !== 'object')
    throw invalid(`a bind is ${quoted(bind)}`, 'give a path, or { source, target, write }')
  refuseUnknown(given, ['source', 'target', 'write'], 'a bind')
  const { source, target = source, write } = given as { source?: unknown; target?: unknown; write?: unknown }
  if (typeof source !== 'string' || !path.isAbsolute(source) || source.includes('\0')) {
    throw invalid(`the bind of ${quoted(source)} is not of an absolute path`, 'use path.resolve()')
  }
  if (write !== undefined && typeof write !== 'boolean')
    throw invalid(`write of the bind of ${source} is ${quoted(write)}`, 'give true or false')
  if (/^\/proc(\/|$)/.test(path.posix.normalize(source))) {
    throw invalid(
      `${source} would show the processes of the host`,
      "a sandbox has its own /proc; proc: 'full' shows all of it",
    )
  }
  targetOf(target, `the bind of ${source}`)
}

function checkTmpfs(tmpfs: unknown): void {
  const given = typeof tmpfs === 'string' ? { target: tmpfs } : tmpfs
  if (given === null || typeof given !== 'object')
    throw invalid(`a tmpfs is ${quoted(tmpfs)}`, 'give a path, or { target, size }')
  refuseUnknown(given, ['target', 'size'], 'a tmpfs')
  const { target, size } = given as { target?: unknown; size?: unknown }
  targetOf(target, 'a tmpfs')
  if (size !== undefined) sizeOf(size)
}

/** As tmpfs(5) writes it. There 0 would be no limit at all. */
export function sizeOf(size: unknown): string {
  const bytes = String(size)
  if (/^0*[1-9]\d{0,15}[kKmMgG]?$/.test(bytes)) return bytes.toLowerCase()
  throw invalid(`a tmpfs has the size ${quoted(size)}`, "write bytes, '512K', '64M' or '1G'")
}

/** A target as a path below the root. /proc and /dev are the sandbox's own: hidden, it would not be confined as it says it is. */
export function targetOf(target: unknown, what: string): string {
  const clean = typeof target === 'string' ? path.posix.normalize(target).replace(/\/+$/, '') : ''
  if (typeof target !== 'string' || !path.isAbsolute(target) || target.includes('\0') || clean === '') {
    throw invalid(`${what} has the target ${quoted(target)}`, 'a target is an absolute path below the root')
  }
  if (/^\/proc(\/|$)|^\/dev$/.test(clean)) {
    throw invalid(
      `${what} has the target ${quoted(target)}`,
      '/proc and /dev are the sandbox’s own: choose another target',
    )
  }
  return clean.replace(/^\/+/, '')
}

function checkNetwork(network: SandboxOptions['network']): void {
  for (const one of network ?? []) {
    if (one !== null && typeof one === 'object' && ['empty', 'none'].includes(one.type))
      refuseUnknown(one, ['type'], 'a network of a sandbox')
    else
      throw invalid(
        `the network ${JSON.stringify(network)} is for containers`,
        "a sandbox has { type: 'empty' } or 'none'",
      )
  }
  if (network !== undefined && network.length > 1)
    throw invalid('it has more than one network', "give [{ type: 'none' }] or leave it out")
}
