/** The descriptors 0, 1 and 2 of a program inside: real pipes, which /dev/stdout can open anew, files, or the caller's own. */
import { fchownSync } from 'node:fs'
import { ContainerError } from './errors.ts'
import { check, native } from './native/binding.ts'
import type { Ends } from './process.ts'
import type { AttachOptions, Stdio } from './process_options.ts'

/** Theirs go to the program by slot, ours to the handle; both are made before the program is. */
export interface Wiring {
  readonly ends: Ends
  /** Descriptors that travel with the Spec. */
  readonly descriptors: number[]
  /** Slots of 0, 1 and 2; -1: none. */
  readonly slots: readonly [number, number, number]
  /** Gives their pipes to the host ids of the program's user, who may then open /dev/stdout anew. Only root can, and need. */
  own(uid: number | undefined, gid: number | undefined): void
  /** Closes our copies of their ends; to be called as soon as the program has been launched, or has failed to. */
  release(): void
}

const NAMES = ['stdin', 'stdout', 'stderr'] as const

/** Wires a program. `taken` slots come first in the list of descriptors. */
export function wire(options: AttachOptions, taken: readonly number[] = []): Wiring {
  const wanted = (Array.isArray(options.stdio) ? options.stdio : Array(3).fill(options.stdio ?? 'pipe')) as [
    Stdio,
    Stdio,
    Stdio,
  ]
  const ends: { -readonly [K in keyof Ends]: Ends[K] } = { stdin: undefined, stdout: undefined, stderr: undefined }
  const theirs: number[] = []
  const descriptors = [...taken]
  if (options.tty) return { ends, descriptors, slots: [-1, -1, -1], own: () => undefined, release: () => undefined }
  const slots: number[] = []
  for (const [index, stdio] of wanted.entries())
    slots.push(stdio === 'stdout' && index === 2 ? (slots[1] as number) : slotOf(stdio, index))
  function slotOf(stdio: Stdio, index: number): number {
    const descriptor = descriptorOf(stdio, index)
    if (descriptor !== 'pipe') return descriptor < 0 ? -1 : descriptors.push(descriptor) - 1
    const [reader, writer] = check(native().addon.makePipe(), { verb: 'make a pipe' })
    const [own, other] = index === 0 ? [writer, reader] : [reader, writer]
    ends[NAMES[index] as (typeof NAMES)[number]] = own
    theirs.push(other)
    return descriptors.push(other) - 1
  }
  return {
    ends,
    descriptors,
    slots: slots as [number, number, number],
    own: (uid, gid) => {
      if (process.geteuid?.() !== 0 || uid === undefined || gid === undefined) return
      for (const descriptor of theirs) fchownSync(descriptor, uid, gid)
    },
    release: () => native().addon.closeDescriptors(theirs),
  }
}

function descriptorOf(stdio: Stdio, index: number): number | 'pipe' {
  if (stdio === 'pipe') return 'pipe'
  if (stdio === 'ignore') return -1
  if (stdio === 'inherit') return index
  if (typeof stdio === 'number' && Number.isInteger(stdio) && stdio >= 0) return stdio
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot use ${JSON.stringify(stdio)} as ${NAMES[index]}`, {
    hint: "stdio is 'pipe', 'inherit', 'ignore' or the number of an open descriptor",
  })
}
