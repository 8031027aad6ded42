/**
 * A cgroup for one program of a sandbox: its own limits, its own counts, and a way to kill it with all that it started. It lies below
 * the sandbox's, and goes with it when this process is killed. Everything here is a few system calls on cgroupfs, done at once.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { compileLimits, type LimitHost, type Limits } from './config/limits.ts'
import { type CgroupHost, directoryOf } from './host/cgroups.ts'
import type { CgroupHierarchy, CgroupSpec } from './native/spec.ts'
import type { Usage } from './process.ts'
import { placeFiles } from './spec/controls.ts'

/** How long killed processes may take to leave. */
const PATIENCE_MS = 5_000

export interface Counted {
  readonly oomKilled: boolean
  readonly pidsLimitHit: boolean
  readonly usage?: Usage
}

export class Subgroup {
  readonly #hierarchies: readonly CgroupHierarchy[]

  /** Makes it below the cgroups of a sandbox. Throws ERR_INVALID_OPTION, ERR_NO_CGROUP. */
  constructor(sandbox: CgroupSpec, name: string, limits: Limits, host: CgroupHost, hardware: LimitHost) {
    this.#hierarchies = sandbox.hierarchies.map(one => ({ ...one, path: `${one.path}/${name}`, inner: '' }))
    const root = process.geteuid?.() === 0
    const settings = compileLimits(limits, hardware).map(setting => ({
      ...setting,
      version: 2 as const,
      key: setting.file,
      place: {},
    }))
    const files = placeFiles(settings, host, this.#hierarchies, root)
    for (const hierarchy of this.#hierarchies) mkdirSync(directory(hierarchy))
    for (const file of files) {
      writeFileSync(`${directory(this.#hierarchies[file.hierarchy] as CgroupHierarchy)}/${file.name}`, file.value)
    }
  }

  /** For an AttachSpec. */
  get spec(): CgroupSpec {
    return { hierarchies: [...this.#hierarchies], files: [], devices: [] }
  }

  /** There is no hierarchy: nothing is counted, and nothing killed. */
  get empty(): boolean {
    return this.#hierarchies.length === 0
  }

  /** Kills all that lives in it. */
  kill(): void {
    const unified = this.#hierarchies.find(({ version }) => version === 2)
    const file = unified === undefined ? undefined : `${directory(unified)}/cgroup.kill`
    if (file !== undefined && existsSync(file)) {
      writeFileSync(file, '1')
      return
    }
    // v1 kills one by one: nobody may be born meanwhile.
    const pids = this.#hierarchies.find(({ controllers }) => controllers.includes('pids'))
    if (pids !== undefined && existsSync(directory(pids))) writeFileSync(`${directory(pids)}/pids.max`, '0')
    for (const hierarchy of this.#hierarchies) {
      for (const pid of (read(hierarchy, 'cgroup.procs') ?? '').split('\n').filter(Boolean)) end(Number(pid))
    }
  }

  count(): Counted {
    const cpu = keyed(this.#read(2, 'cpu.stat'), 'usage_usec')
    const memory = this.#number(['memory.peak', 'memory.max_usage_in_bytes'])
    const pids = this.#number(['pids.peak'])
    const ooms = keyed(this.#any(['memory.events', 'memory.oom_control']), 'oom_kill') ?? 0
    const refused = keyed(this.#any(['pids.events']), 'max') ?? 0
    return {
      oomKilled: ooms > 0,
      pidsLimitHit: refused > 0,
      ...(cpu === undefined || memory === undefined
        ? {}
        : { usage: { cpuUsec: cpu, memoryPeak: memory, ...(pids === undefined ? {} : { pidsPeak: pids }) } }),
    }
  }

  /** Kills what is left and removes it. */
  async remove(): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS
    for (let pause = 0; !this.#removeOnce(Date.now() > deadline); pause = Math.min(pause + 1, 20)) {
      this.kill()
      await sleep(pause)
    }
  }

  #removeOnce(last: boolean): boolean {
    try {
      for (const hierarchy of this.#hierarchies) removeDirectory(directory(hierarchy))
      return true
    } catch (error) {
      if (last || (error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
      return false
    }
  }

  #read(version: number, file: string): string | undefined {
    const found = this.#hierarchies.find(one => one.version === version)
    return found === undefined ? undefined : read(found, file)
  }

  #any(files: readonly string[]): string | undefined {
    for (const file of files) {
      for (const hierarchy of this.#hierarchies) {
        const text = read(hierarchy, file)
        if (text !== undefined) return text
      }
    }
    return undefined
  }

  #number(files: readonly string[]): number | undefined {
    const text = this.#any(files)
    return text === undefined ? undefined : Number(text)
  }
}

function directory({ mount, base, path }: CgroupHierarchy): string {
  return directoryOf(mount, base, path)
}

/** A counter that this kernel does not have reads as undefined. */
function read(hierarchy: CgroupHierarchy, file: string): string | undefined {
  try {
    return readFileSync(`${directory(hierarchy)}/${file}`, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

function keyed(text: string | undefined, key: string): number | undefined {
  const line = text?.split('\n').find(one => one.startsWith(`${key} `))
  return line === undefined ? undefined : Number(line.slice(key.length + 1))
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** What is gone already was removed with the sandbox. */
function removeDirectory(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (!['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}
