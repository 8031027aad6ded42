/** Classic BPF as the kernel runs it on a system call: net/core/filter.c reduced to what seccomp_check_filter() lets through. */
import { endianness } from 'node:os'

/** One call, as struct seccomp_data shows it to a filter. */
export interface Call {
  /** AUDIT_ARCH_*. */
  readonly arch: number
  readonly nr: number
  readonly args: readonly bigint[]
}

/** One struct sock_filter. */
interface Instruction {
  readonly code: number
  readonly jt: number
  readonly jf: number
  readonly k: number
}

const LD_W_ABS = 0x20
const ALU_AND_K = 0x54
const JA = 0x05
const RET_K = 0x06
const JUMPS: Readonly<Record<number, (a: number, k: number) => boolean>> = {
  21: (a, k) => a === k,
  37: (a, k) => a > k,
  53: (a, k) => a >= k,
  69: (a, k) => (a & k) !== 0,
}
const SIZE = 8

/** The instructions of a program in this machine's byte order. */
export function disassemble(program: Buffer): Instruction[] {
  const little = endianness() === 'LE'
  return Array.from({ length: program.length / SIZE }, (_, i) => ({
    code: little ? program.readUInt16LE(i * SIZE) : program.readUInt16BE(i * SIZE),
    jt: program[i * SIZE + 2] as number,
    jf: program[i * SIZE + 3] as number,
    k: little ? program.readUInt32LE(i * SIZE + 4) : program.readUInt32BE(i * SIZE + 4),
  }))
}

/** What the program returns for a call, a SECCOMP_RET_* with its data, and after how many instructions. */
export function evaluate(program: readonly Instruction[], call: Call): { value: number; steps: number } {
  const data = seccompData(call)
  let accumulator = 0
  let at = 0
  for (let steps = 1; ; steps++) {
    const step = program[at]
    if (step === undefined) throw new Error(`the program runs over its end at ${at}`)
    at++
    if (step.code === RET_K) return { value: step.k, steps }
    if (step.code === LD_W_ABS) {
      if (step.k % 4 !== 0 || step.k > 60) throw new Error(`a load from offset ${step.k}`)
      accumulator = data[step.k / 4] as number
    } else if (step.code === ALU_AND_K) accumulator = (accumulator & step.k) >>> 0
    else if (step.code === JA) at += step.k
    else {
      const jump = JUMPS[step.code]
      if (jump === undefined) throw new Error(`instruction ${step.code} at ${at - 1}`)
      at += jump(accumulator, step.k) ? step.jt : step.jf
    }
  }
}

/** struct seccomp_data in 32-bit words: nr, arch, instruction pointer, six arguments. */
function seccompData(call: Call): Uint32Array {
  const words = new Uint32Array(16)
  words[0] = call.nr
  words[1] = call.arch
  const [low, high] = endianness() === 'LE' ? [0, 1] : [1, 0]
  call.args.forEach((argument, i) => {
    words[4 + 2 * i + low] = Number(argument & 0xffff_ffffn)
    words[4 + 2 * i + high] = Number(argument >> 32n)
  })
  return words
}
