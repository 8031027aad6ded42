/**
 * Names of LXC before 2.1, which dropped out in 3.0: they are read under their new names, and written so.
 * lxc-update-config(1)
 */
import { mistake } from './mistake.ts'

/** Old name → new name. */
export const RENAMED: Readonly<Record<string, string>> = {
  'lxc.aa_allow_incomplete': 'lxc.apparmor.allow_incomplete',
  'lxc.aa_profile': 'lxc.apparmor.profile',
  'lxc.console': 'lxc.console.path',
  'lxc.devttydir': 'lxc.tty.dir',
  'lxc.haltsignal': 'lxc.signal.halt',
  'lxc.id_map': 'lxc.idmap',
  'lxc.init_cmd': 'lxc.init.cmd',
  'lxc.init_gid': 'lxc.init.gid',
  'lxc.init_uid': 'lxc.init.uid',
  'lxc.limit': 'lxc.prlimit',
  'lxc.logfile': 'lxc.log.file',
  'lxc.loglevel': 'lxc.log.level',
  'lxc.mount': 'lxc.mount.fstab',
  'lxc.network': 'lxc.net',
  'lxc.pts': 'lxc.pty.max',
  'lxc.rebootsignal': 'lxc.signal.reboot',
  'lxc.rootfs': 'lxc.rootfs.path',
  'lxc.se_context': 'lxc.selinux.context',
  'lxc.seccomp': 'lxc.seccomp.profile',
  'lxc.stopsignal': 'lxc.signal.stop',
  'lxc.syslog': 'lxc.log.syslog',
  'lxc.tty': 'lxc.tty.max',
  'lxc.utsname': 'lxc.uts.name',
}

/** Old names that mean nothing any more, and why. */
export const DROPPED: Readonly<Record<string, string>> = {
  'lxc.kmsg': 'containers have no /dev/kmsg since LXC 2.0',
  'lxc.rootfs.backend': 'the storage type stands before the path, lxc.rootfs.path = TYPE:PATH',
  'lxc.pivotdir': 'the old root is not put into a directory any more',
}

/** What became of a setting: a new name and value, or nothing and the reason. */
export type Translated = { readonly key: string; readonly value: string } | { readonly dropped: string }

/** Reads the settings of one config in order; old network keys have no number and old storage types a line of their own. */
export class LegacyNames {
  #interface = -1
  #highest = -1
  #backend: string | undefined

  /** Undefined for a setting whose name is not an old one. */
  translate(key: string, value: string): Translated | undefined {
    const index = /^lxc\.net\.([0-9]+)\./.exec(key)?.[1]
    if (index !== undefined) this.#highest = Math.max(this.#highest, Number(index))
    if (Object.hasOwn(DROPPED, key)) return { dropped: DROPPED[key] as string }
    if (key.startsWith('lxc.network.')) return this.#network(key.slice('lxc.network.'.length), value)
    if (key.startsWith('lxc.limit.')) return { key: key.replace('lxc.limit.', 'lxc.prlimit.'), value }
    const renamed = Object.hasOwn(RENAMED, key) ? (RENAMED[key] as string) : undefined
    const path = renamed ?? key
    if (path === 'lxc.rootfs.path' && this.#backend !== undefined)
      return { key: path, value: this.#withStorageType(value) }
    return renamed === undefined ? undefined : { key: renamed, value }
  }

  /** `lxc.rootfs.backend` may stand behind the path it is about, so it is looked for first. */
  findStorageType(text: string): void {
    const lines = [...text.matchAll(/^[ \t]*lxc\.rootfs\.backend[ \t]*=[ \t]*([a-z]+)/gm)]
    this.#backend = lines.at(-1)?.[1] ?? this.#backend
  }

  #withStorageType(path: string): string {
    return this.#backend === undefined || path === '' || /^[a-z]+:/.test(path) ? path : `${this.#backend}:${path}`
  }

  #network(rest: string, value: string): Translated {
    const numbered = /^([0-9]+)(?:\.(.+))?$/.exec(rest)
    if (numbered !== null) return { key: interfaceKey(Number(numbered[1]), numbered[2]), value }
    if (rest === 'type') {
      this.#interface = this.#highest + 1
      this.#highest = this.#interface
    }
    if (this.#interface < 0) {
      throw mistake(
        `"lxc.network.${rest}" stands before any "lxc.network.type"`,
        'lxc.network.type begins an interface',
      )
    }
    return { key: interfaceKey(this.#interface, rest), value }
  }
}

function interfaceKey(index: number, rest: string | undefined): string {
  const subkey = rest === 'ipv4' || rest === 'ipv6' ? `${rest}.address` : rest
  return subkey === undefined ? `lxc.net.${index}` : `lxc.net.${index}.${subkey}`
}
