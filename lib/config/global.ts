/**
 * The global config, lxc.conf: where containers live, and what new ones begin with.
 *
 * Root has /etc/lxc/lxc.conf; everybody else has ~/.config/lxc/lxc.conf and nothing of root's, as in LXC. The first line
 * of a key counts; lines that are not of these keys say nothing. Unlike LXC, which reads once for each thread and keeps
 * the values for ever, every call reads anew.
 */
import { readFileSync } from 'node:fs'
import { ContainerError, nearest } from '../errors.ts'
import { unreadable } from './file.ts'
import { GLOBAL_KEYS } from './keys.ts'
import { simplify } from './kinds.ts'
import { locate } from './mistake.ts'
import type { GlobalKey } from './names.ts'
import { readValues } from './state.ts'

/** Who asks. */
export interface Caller {
  readonly uid: number
  /** The home directory; / when it is not known. */
  readonly home?: string | undefined
}

/** Where a caller's files are. */
export interface GlobalPaths {
  readonly file: string
  readonly lxcpath: string
  readonly defaultConfig: string
}

/** The files of root, or those below an ordinary user's home. */
export function globalPaths({ uid, home = '/' }: Caller): GlobalPaths {
  if (uid === 0) {
    return { file: '/etc/lxc/lxc.conf', lxcpath: '/var/lib/lxc', defaultConfig: '/etc/lxc/default.conf' }
  }
  return {
    file: simplify(`${home}/.config/lxc/lxc.conf`),
    lxcpath: simplify(`${home}/.local/share/lxc`),
    defaultConfig: simplify(`${home}/.config/lxc/default.conf`),
  }
}

/** The global keys of a text, with the defaults of a caller. Throws ERR_CONFIG_VALUE with file and line. */
export function readGlobal(text: string, paths: GlobalPaths): Map<GlobalKey, string> {
  const values = new Map<GlobalKey, string>()
  for (const [index, raw] of text.split('\n').entries()) {
    const match = /^[ \t]*(lxc\.[\w.]+)[ \t]*=[ \t]*(.*?)[ \t\r]*$/.exec(raw)
    const [, key, value] = (match ?? []) as unknown as [unknown, GlobalKey, string]
    if (match === null || value === '' || !Object.hasOwn(GLOBAL_KEYS, key) || values.has(key)) continue
    const bare = value.replace(/^(['"])(.*)\1$/, '$2')
    check(key, bare, { file: paths.file, line: index + 1, column: raw.indexOf(value) + 1 })
    values.set(key, key === 'lxc.lxcpath' ? simplify(bare) : bare)
  }
  return withDefaults(values, paths)
}

function check(key: GlobalKey, value: string, place: { file: string; line: number; column: number }): void {
  try {
    readValues(GLOBAL_KEYS[key], value)
  } catch (error) {
    throw locate(error, `Cannot set "${key}"`, place)
  }
}

function withDefaults(values: Map<GlobalKey, string>, paths: GlobalPaths): Map<GlobalKey, string> {
  const defaults = new Map<GlobalKey, string>([
    ['lxc.lxcpath', paths.lxcpath],
    ['lxc.default_config', paths.defaultConfig],
  ])
  for (const key of Object.keys(GLOBAL_KEYS) as GlobalKey[]) {
    const value = values.get(key) ?? defaults.get(key) ?? GLOBAL_KEYS[key].default
    if (typeof value === 'string') values.set(key, value)
  }
  return values
}

/**
 * The value of a global key: of the caller's lxc.conf, or its default; undefined when it has neither.
 * Throws ERR_CONFIG_UNKNOWN_KEY, ERR_CONFIG_VALUE, or the reason why the file is unreadable; a missing file is none.
 */
export function globalConfig(key: GlobalKey, caller: Caller = currentCaller()): string | undefined {
  if (!Object.hasOwn(GLOBAL_KEYS, key)) {
    const near = nearest(key, Object.keys(GLOBAL_KEYS))
    throw new ContainerError('ERR_CONFIG_UNKNOWN_KEY', `There is no global key "${key}"`, {
      hint: near === undefined ? `global keys: ${Object.keys(GLOBAL_KEYS).join(', ')}` : `did you mean "${near}"?`,
    })
  }
  const paths = globalPaths(caller)
  return readGlobal(readIfThere(paths.file), paths).get(key)
}

function currentCaller(): Caller {
  return { uid: process.geteuid?.() ?? 0, home: process.env.HOME }
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw unreadable(file, error as NodeJS.ErrnoException)
  }
}
