/** Architecture names: they choose the personality(2) of the container, 32-bit or not. */
import { type Kind, word } from './kinds.ts'

const BITS_32 = [
  'arm',
  'armel',
  'armhf',
  'armv7l',
  'athlon',
  'i386',
  'i486',
  'i586',
  'i686',
  'linux32',
  'mips',
  'mipsel',
  'ppc',
  'powerpc',
  'x32',
  'x86',
] as const

const BITS_64 = [
  'aarch64',
  'amd64',
  'arm64',
  'linux64',
  'loongarch64',
  'loong64',
  'mips64',
  'mips64el',
  'ppc64',
  'ppc64el',
  'ppc64le',
  'powerpc64',
  'riscv64',
  's390x',
  'x86_64',
] as const

export type Architecture = (typeof BITS_32)[number] | (typeof BITS_64)[number]

/** One of LXC's 31 names. */
export const architecture: Kind<Architecture, Architecture> = word<Architecture>(...BITS_32, ...BITS_64)

/** The personality(2) an architecture asks for: PER_LINUX32 (8) or PER_LINUX (0). */
export function personality(name: Architecture): 0 | 8 {
  return (BITS_32 as readonly string[]).includes(name) ? 8 : 0
}
