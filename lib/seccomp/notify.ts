/**
 * System calls of a container answered in JavaScript: those whose rule says `notify`, seccomp_unotify(2).
 *
 * The caller waits until it has an answer. A handler that throws, or answers with something that is no answer, fails the call with
 * ENOSYS, as LXC does without its proxy; the container goes on. Calls that a process received and did not live to answer are given to the
 * next one, so a handler may see a call twice: answer what is safe to repeat.
 */
import { constants } from 'node:os'
import { ContainerError, nearest } from '../errors.ts'
import type { SyscallCall } from '../native/spec.ts'

/** One call that waits for its answer. */
export interface SyscallRequest {
  /** Of the calling thread; 0 when this process cannot see it. */
  readonly pid: number
  /** Its name; `syscall_<number>` when this version knows none. */
  readonly syscall: string
  /** 'x86_64', 'x86', 'aarch64', …, as in a rule. */
  readonly arch: string
  /** All six, as the registers held them; an int is in the low 32 bits. */
  readonly args: readonly bigint[]
  /**
   * Reads the caller's memory. Throws ESRCH when the caller no longer waits and EFAULT when the memory is not there. Another thread of the
   * caller may change it at any moment: read once, and act on what was read. It is no ground for `{ continue: true }`.
   */
  readMemory(address: bigint, length: number): Buffer
  /** Reads up to a NUL, as UTF-8. Throws ENAMETOOLONG when there is none in `max` bytes (default 4096, PATH_MAX). */
  readString(address: bigint, max?: number): string
  /**
   * Shows a file or directory of this host at an absolute path of the caller, without set-user-id. A missing target is made as by the
   * caller. No link of the container leads out of it. Linux 5.12; needs CAP_SYS_ADMIN over the container. Throws ESRCH when the caller no
   * longer waits, and what open_tree(2), openat2(2) and move_mount(2) say.
   */
  mount(source: string, target: string, options?: { readonly?: boolean }): void
}

/**
 * The answer: a return value; an errno, by name or number; `continue` lets the kernel make the call after all, with whatever its arguments
 * are by then, so it grants nothing by itself (Linux 5.5); `fd` puts a copy of a descriptor into the caller and returns its number there
 * (Linux 5.9), `flags` being 0 or O_CLOEXEC.
 */
export type SyscallReply =
  | { return: bigint | number }
  | { errno: string | number }
  | { continue: true }
  | { fd: number; flags?: number }

export type SyscallHandler = (call: SyscallRequest) => Promise<SyscallReply> | SyscallReply

/** The addon's listener. Each method throws a ContainerError; false means that the caller is gone. */
export interface CallListener {
  answer(id: SyscallCall['id'], value: number | bigint, error: number, flags: number): boolean
  inject(id: SyscallCall['id'], descriptor: number, flags: number): boolean
  read(id: SyscallCall['id'], pid: number, address: bigint, length: number): Buffer
  mount(id: SyscallCall['id'], pid: number, source: string, target: string, readOnly: boolean): void
  /** Receives no more. */
  stop(): void
  close(): void
}

export interface NotifyOptions {
  /** Hears what a handler threw; default: a process warning. */
  onError?: (error: unknown, call: SyscallRequest) => void
}

const ERRNOS: Readonly<Record<string, number>> = constants.errno
const MAX_ERRNO = 4095
const FLAG_CONTINUE = 1
const PAGE = 4096n
const PATH_MAX = 4096

/** AUDIT_ARCH_*, linux/audit.h. x32 shares x86-64's; its numbers have bit 30. */
const ARCHITECTURES: ReadonlyMap<number, string> = new Map([
  [0xc000_003e, 'x86_64'],
  [0x4000_0003, 'x86'],
  [0xc000_00b7, 'aarch64'],
  [0x4000_0028, 'arm'],
  [0xc000_00f3, 'riscv64'],
  [0xc000_0102, 'loongarch64'],
  [0xc000_0015, 'ppc64le'],
  [0x8000_0016, 's390x'],
])
const X32_BIT = 0x4000_0000

/** Answers calls by `handler` until disposed of, or until the container has no process left. Calls under way are still answered. */
export function answerCalls(
  open: (deliver: (call: SyscallCall | null) => void) => CallListener,
  handler: SyscallHandler,
  options: NotifyOptions = {},
): Disposable {
  const onError = options.onError ?? ((error: unknown) => process.emitWarning(error as Error))
  let waiting = 0
  let stopped = false
  const stop = () => {
    if (!stopped) listener.stop()
    stopped = true
    if (waiting === 0) listener.close()
  }
  const listener = open(call => {
    if (call === null) return stop()
    waiting++
    void answer(listener, handler, call, onError).finally(() => {
      waiting--
      if (stopped) stop()
    })
  })
  return { [Symbol.dispose]: stop }
}

async function answer(
  listener: CallListener,
  handler: SyscallHandler,
  call: SyscallCall,
  onError: (error: unknown, call: SyscallRequest) => void,
): Promise<void> {
  const request = requestOf(listener, call)
  try {
    send(listener, call.id, await handler(request))
  } catch (error) {
    listener.answer(call.id, 0, -constants.errno.ENOSYS, 0)
    onError(error, request)
  }
}

function requestOf(listener: CallListener, call: SyscallCall): SyscallRequest {
  const { id, pid, name, number } = call
  const x32 = (number & X32_BIT) !== 0 && number > 0
  const arch = ARCHITECTURES.get(call.architecture) ?? `0x${call.architecture.toString(16)}`
  const readMemory = (address: bigint, length: number) => listener.read(id, pid, address, length)
  return {
    pid,
    syscall: name === '' ? `syscall_${number}` : name,
    arch: arch === 'x86_64' && x32 ? 'x32' : arch,
    args: call.arguments.map(BigInt),
    readMemory,
    readString: (address, max = PATH_MAX) => readString(readMemory, address, max),
    mount: (source, target, options = {}) => listener.mount(id, pid, source, target, options.readonly ?? false),
  }
}

/** In pieces that end where a page does: what follows the NUL need not be mapped. */
function readString(read: SyscallRequest['readMemory'], address: bigint, max: number): string {
  const pieces: Buffer[] = []
  for (let got = 0; got < max; ) {
    const at = address + BigInt(got)
    const piece = read(at, Math.min(Number(PAGE - (at % PAGE)), max - got))
    const end = piece.indexOf(0)
    pieces.push(end < 0 ? piece : piece.subarray(0, end))
    if (end >= 0) return Buffer.concat(pieces).toString()
    got += piece.length
  }
  throw new ContainerError('ENAMETOOLONG', `Cannot read a string of the caller: no NUL in ${max} bytes`)
}

/** Tells the kernel. False when the caller is gone, which is nobody's mistake. */
function send(listener: CallListener, id: number | bigint, reply: SyscallReply): boolean {
  if ('return' in reply) return listener.answer(id, BigInt.asIntN(64, BigInt(reply.return)), 0, 0)
  if ('errno' in reply) return listener.answer(id, 0, -errnoOf(reply.errno), 0)
  if ('fd' in reply) return listener.inject(id, reply.fd, reply.flags ?? 0)
  if (reply.continue === true) return listener.answer(id, 0, 0, FLAG_CONTINUE)
  throw new ContainerError(
    'ERR_INVALID_OPTION',
    'Cannot answer a system call: the handler gave no return, errno, fd or continue',
  )
}

function errnoOf(errno: string | number): number {
  const number = typeof errno === 'string' ? ERRNOS[errno] : errno
  if (number !== undefined && Number.isInteger(number) && number >= 1 && number <= MAX_ERRNO) return number
  const near = typeof errno === 'string' ? nearest(errno, Object.keys(ERRNOS)) : undefined
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot answer a system call: "${errno}" is no errno`, {
    hint: near === undefined ? undefined : `did you mean "${near}"?`,
  })
}
