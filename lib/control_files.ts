/** The control files of a container's cgroups, as `container.cgroup`. */
import { changeRule } from './devices.ts'
import type { Handle } from './handle.ts'
import { readControl, writeControl } from './resources.ts'

/**
 * Files of its cgroups by name ('memory.max', 'pids.current'), on whichever hierarchy has them. 'devices.allow' and 'devices.deny' can be
 * written everywhere: on v2 the program of the rules is replaced.
 */
export class ControlFiles {
  readonly #handle: () => Handle

  /** The container may get another place. */
  constructor(handle: () => Handle) {
    this.#handle = handle
  }

  async get(file: string): Promise<string> {
    return readControl((await this.#handle().measured('read a cgroup file of')).cgroups, file)
  }

  async set(file: string, value: string): Promise<void> {
    const handle = this.#handle()
    const list = /^devices\.(allow|deny)$/.exec(file)?.[1] as 'allow' | 'deny' | undefined
    const verb = 'write a cgroup file of'
    if (list !== undefined) return changeRule(handle.place, await handle.running(verb), list, value)
    return writeControl((await handle.measured(verb)).cgroups, file, value)
  }
}
