/** The static payload of test/probe, and what it reports. */
import { fileURLToPath } from 'node:url'

/** The program on the host; in a root file system made here it is /probe. */
export const probe: string = fileURLToPath(new URL('../../build/test/probe', import.meta.url))

export interface Mount {
  readonly id: string
  readonly parent: string
  readonly device: string
  readonly root: string
  readonly point: string
  readonly options: string
  readonly optional: readonly string[]
  readonly type: string
  readonly source: string
  readonly super: string
}

/** What a process sees of itself. Text from /proc is as the kernel wrote it; -1 stands for "unlimited" and "none". */
export interface Report {
  readonly argv: readonly string[]
  readonly pid: number
  readonly ppid: number
  readonly pgid: number
  readonly sid: number
  /** Real, effective, saved. */
  readonly uid: readonly [number, number, number]
  readonly gid: readonly [number, number, number]
  readonly groups: readonly number[]
  readonly terminal: {
    readonly stdin: string | null
    readonly controlling: boolean
    readonly rows?: number
    readonly columns?: number
    readonly foreground: number
  }
  readonly umask: number
  /** The session keyring's serial. */
  readonly keyring: number
  readonly securebits: number
  readonly noNewPrivs: number
  readonly dumpable: number
  readonly deathSignal: number
  readonly personality: number
  readonly nice: number
  readonly cwd: string | null
  readonly hostname: string
  readonly domainname: string
  readonly release: string
  readonly machine: string
  /** The LSM label. */
  readonly label: string | null
  readonly oomScoreAdj: string | null
  /** The name of pid 1. */
  readonly init: string | null
  /** /proc/self/status, by its own names: CapEff, NoNewPrivs, Seccomp, SigBlk, … */
  readonly status: Readonly<Record<string, string>>
  /** Rows of inside, outside, count. */
  readonly uidMap: readonly (readonly [number, number, number])[]
  readonly gidMap: readonly (readonly [number, number, number])[]
  readonly setgroups: string | null
  readonly namespaces: Readonly<Record<string, string>>
  readonly fds: Readonly<Record<string, string>>
  readonly cgroup: readonly string[]
  readonly mounts: readonly Mount[]
  /** Soft and hard. */
  readonly limits: Readonly<Record<string, readonly [number, number]>>
  readonly env: Readonly<Record<string, string>>
}

export function parseReport(text: string): Report {
  return JSON.parse(text) as Report
}
