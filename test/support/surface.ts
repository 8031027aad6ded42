/** How much of the kernel a process can reach, as the probe finds it: lines that can be compared, and figures that can be put in a table. */
import { CAPABILITIES } from '../../lib/config/capability.ts'
import { ARCH, NUMBERS } from '../seccomp/reading.ts'
import type { Report } from './probe.ts'

export interface Surface {
  /** Why calls could not be tried; then the lists of them are empty. */
  readonly obstacle: string | null
  readonly calls?: readonly number[]
  /** Numbers that no kernel has yet and that the filter lets pass. */
  readonly unknown?: readonly string[]
  readonly families?: readonly string[]
  readonly netlink?: readonly string[]
  readonly conditions?: readonly string[]
  readonly calls32?: number
  readonly callsX32?: number
  readonly writable: readonly string[]
  readonly devices: readonly string[]
  readonly mknod: boolean
  readonly mknodOpens: boolean
  readonly covers: number
  readonly loose: readonly string[]
}

/** Calls by number; those that came after the C library's headers have the same numbers everywhere. */
const CALLS = new Map([...NUMBERS.x86_64].map(([name, number]) => [number, name]))

/** The command line of the prober, for a machine whose numbers are known. */
export const SURFACE: readonly string[] = ['/probe', 'surface', ...[...CALLS.keys()].sort((a, b) => a - b).map(String)]

/** The reason to skip, or false. */
export const otherMachine: string | false = process.arch === 'x64' && ARCH.x86_64 !== undefined ? false : 'needs x86-64'

const FAMILIES: Readonly<Record<string, string>> = {
  '1': 'UNIX',
  '2': 'INET',
  '10': 'INET6',
  '16': 'NETLINK',
  '17': 'PACKET',
}
const NETLINK: Readonly<Record<string, string>> = {
  '0': 'ROUTE',
  '4': 'SOCK_DIAG',
  '12': 'NETFILTER',
  '15': 'KOBJECT_UEVENT',
  '16': 'GENERIC',
}

/** Files that belong to a namespace of the container's own, and come and go with interfaces and kernels, by their directory. */
function place(path: string): string {
  for (const own of ['/proc/sys/net', '/sys/devices/virtual/net', '/sys/fs/cgroup', '/dev/pts']) {
    if (path.startsWith(`${own}/`) && path !== '/dev/pts/ptmx') return `${own}/…`
  }
  return path
}

/** The names in a set of capabilities. */
export function capabilitiesIn(mask: string): string[] {
  const bits = BigInt(`0x${mask}`)
  return CAPABILITIES.filter((_, number) => ((bits >> BigInt(number)) & 1n) === 1n)
}

const SETS = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'] as const

/** One line for each thing that can be reached, sorted. What is a mere count stands last in its line. */
export function linesOf(surface: Surface, report: Report): string[] {
  const named = (what: string, values: readonly string[] = []) => values.map(value => `${what} ${value}`)
  const lines = [
    ...named(
      'call',
      surface.calls?.map(number => CALLS.get(number) ?? String(number)),
    ),
    ...named('unknown call', surface.unknown),
    ...named(
      'family',
      surface.families?.map(family => FAMILIES[family] ?? family),
    ),
    ...named(
      'netlink',
      surface.netlink?.map(protocol => NETLINK[protocol] ?? protocol),
    ),
    ...named('condition', surface.conditions),
    ...named('writable', surface.writable.map(place)),
    ...named('device', surface.devices.map(place)),
    ...named('loose cover', surface.loose),
    ...SETS.flatMap(set => named(set, capabilitiesIn(report.status[set] ?? '0'))),
    ...(surface.mknod ? ['mknod'] : []),
    ...(surface.mknodOpens ? ['mknod and open'] : []),
    `number of 32-bit calls ${surface.calls32 ?? 0}`,
    `number of x32 calls ${surface.callsX32 ?? 0}`,
  ]
  return [...new Set(lines)].sort()
}

const figure = /^(number of .*) (\d+)$/

/** What is in `now` and not in the baseline, and the other way round. A figure that has shrunk is only less. */
export function compareLines(baseline: readonly string[], now: readonly string[]): { more: string[]; less: string[] } {
  const before = new Map(baseline.flatMap(line => (figure.exec(line) ? [[figure.exec(line)?.[1], line] as const] : [])))
  const grown = (line: string) => {
    const [, what, count] = figure.exec(line) ?? []
    if (what === undefined) return !baseline.includes(line)
    const old = before.get(what)
    return old === undefined || Number(count) > Number(figure.exec(old)?.[2])
  }
  const more = now.filter(grown)
  return { more, less: baseline.filter(line => !now.includes(line) && !more.some(one => sameFigure(one, line))) }
}

const sameFigure = (a: string, b: string): boolean =>
  figure.exec(a)?.[1] !== undefined && figure.exec(a)?.[1] === figure.exec(b)?.[1]
