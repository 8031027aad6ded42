/** System call tables: their names in LXC policies, in typed rules and in libseccomp, and which of them a host runs. */
import { nearest } from '../errors.ts'

/** libseccomp's name → the other names it goes by: LXC's section, the kernel's, Node's, Debian's. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  x86: ['i386', 'i486', 'i586', 'i686', 'ia32'],
  x32: [],
  x86_64: ['amd64', 'x64'],
  arm: ['armhf', 'armel', 'armv7l'],
  aarch64: ['arm64'],
  loongarch64: ['loong64'],
  mips: [],
  mips64: [],
  mips64n32: [],
  mipsel: [],
  mipsel64: [],
  mipsel64n32: [],
  ppc: ['powerpc'],
  ppc64: ['powerpc64'],
  ppc64le: ['ppc64el', 'powerpc64le'],
  riscv64: [],
  s390: [],
  s390x: [],
}

/** What a kernel of this architecture runs besides its own programs. */
const PARTNERS: Readonly<Record<string, readonly string[]>> = {
  x86_64: ['x86', 'x32'],
  aarch64: ['arm'],
  ppc64: ['ppc'],
  mips64: ['mips', 'mips64n32'],
  mipsel64: ['mipsel', 'mipsel64n32'],
  s390x: ['s390'],
}

const NAMES = new Map(
  Object.entries(ALIASES).flatMap(([name, aliases]) => [name, ...aliases].map(alias => [alias, name] as const)),
)

/** libseccomp's name of an architecture given by any of its names, in lower case; undefined when there is none. */
export function architectureOf(name: string): string | undefined {
  return NAMES.get(name)
}

/** The known name nearest to a mistyped one. */
export function nearestArchitecture(name: string): string | undefined {
  return nearest(name, NAMES.keys())
}

/** What a host can run: its own architecture first. Without an argument: this host. */
export function runnable(host: string = process.arch): readonly string[] {
  const own = architectureOf(host) ?? host
  return [own, ...(PARTNERS[own] ?? [])]
}

/** What a filter covers unless told otherwise: all that runs here but x32, which nothing uses and whose calls are killed. */
export function covered(host: string = process.arch): string[] {
  return runnable(host).filter(name => name !== 'x32')
}
