/**
 * What a kernel has, told by the files that it shows anybody. The host is read through `KernelFiles`, so that a test can show it any other
 * host.
 */
import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'

export interface KernelFiles {
  /** The text of a file; undefined when it can't be read. */
  read(path: string): string | undefined
  exists(path: string): boolean
  /** uname(2): `6.1.0-13-amd64`. */
  readonly release: string
}

export const KERNEL: KernelFiles = {
  read: path => {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      return undefined
    }
  },
  exists: existsSync,
  release: release(),
}

/** A part of the kernel that may be a module: its name, and a function that only it has. */
export interface Part {
  readonly module: string
  readonly symbol: string
}

/** Whether it runs, or would once it is asked for (then only root can have it loaded). */
export type Presence = 'running' | 'loadable' | 'missing'

/** Tells for each part: loaded or built in, lying in /lib/modules, or neither. */
export function presenceOf(files: KernelFiles, parts: readonly Part[]): ReadonlyMap<string, Presence> {
  const directory = `/lib/modules/${files.release}`
  const builtin = files.read(`${directory}/modules.builtin`) ?? ''
  const loadable = files.read(`${directory}/modules.dep`) ?? ''
  // Names of functions are there for everybody; their addresses are not.
  const symbols = files.read('/proc/kallsyms') ?? ''
  const listed = (list: string, module: string) => new RegExp(`/${module.replaceAll('_', '[-_]')}\\.ko`).test(list)
  return new Map(
    parts.map(({ module, symbol }): [string, Presence] => {
      if (files.exists(`/sys/module/${module}`) || listed(builtin, module)) return [module, 'running']
      if (new RegExp(` ${symbol}\\b`).test(symbols)) return [module, 'running']
      return [module, listed(loadable, module) ? 'loadable' : 'missing']
    }),
  )
}
