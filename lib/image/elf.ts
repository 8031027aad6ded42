/** Reads as much of an ELF header as tells for which machine a program is and whether it needs a dynamic linker. */
import { open } from 'node:fs/promises'

export interface ElfHeader {
  /** The kernel's name of the machine, as in `lxc.arch`; `machine <n>` when it is not in the table. */
  readonly machine: string
  /** No PT_INTERP: it runs in an empty root. */
  readonly isStatic: boolean
}

const PT_INTERP = 3
const HEADER_BYTES = 4096

/** e_machine of elf(5) → uname -m. */
const MACHINES: Readonly<Record<number, string>> = {
  3: 'i686',
  8: 'mips',
  20: 'ppc',
  21: 'ppc64le',
  22: 's390x',
  40: 'armv7l',
  62: 'x86_64',
  183: 'aarch64',
  243: 'riscv64',
  258: 'loongarch64',
}

/** The ELF header of a regular file; undefined when it has none. */
export async function readElf(path: string): Promise<ElfHeader | undefined> {
  const file = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0)
    return parseElf(buffer.subarray(0, bytesRead))
  } finally {
    await file.close()
  }
}

/** The same of bytes; the program headers are expected in the first 4 KiB, where every linker puts them. */
export function parseElf(bytes: Buffer): ElfHeader | undefined {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) return undefined
  const wide = bytes[4] === 2
  const little = bytes[5] === 1
  const u16 = (at: number): number => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at))
  const u32 = (at: number): number => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at))
  // e_phoff is 64 bits wide in ELF64; its upper half is zero in every file we can look into.
  const table = wide ? u32(little ? 32 : 36) : u32(28)
  const size = u16(wide ? 54 : 42)
  const count = u16(wide ? 56 : 44)
  let isStatic = true
  for (let i = 0; i < count; i++) {
    const at = table + i * size
    if (at + 4 > bytes.length) return undefined
    if (u32(at) === PT_INTERP) isStatic = false
  }
  return { machine: MACHINES[u16(18)] ?? `machine ${u16(18)}`, isStatic }
}
