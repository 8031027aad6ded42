/**
 * Compiled filters, each made once. A program depends on its policy and the compiler alone, so it is kept by their content: in memory,
 * and in a directory of the caller's own below the run directory, since compiling a default profile takes 7 ms and reading it back 0.1.
 *
 * The directory is trusted like the run directory itself: it is used only while it belongs to this user and nobody else may write there.
 */
import { createHash, randomUUID } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { geteuid } from 'node:process'
import type { SeccompPolicy, SeccompProgram } from './statements.ts'

export type Compile = (policy: SeccompPolicy) => SeccompProgram

export interface FilterCacheOptions {
  /** Where programs are kept across processes; without it they are kept in memory only. */
  directory?: string
  /** Changes when the compiler does: programs of another compiler are never found. */
  compiler: string
}

const MOST_IN_MEMORY = 64
const MOST_ON_DISK = 256
const DIGEST_BYTES = 32

/** A compiler that remembers. */
export class FilterCache {
  readonly #compile: Compile
  readonly #compiler: string
  readonly #directory: string | undefined
  readonly #programs = new Map<string, SeccompProgram>()

  constructor(compile: Compile, options: FilterCacheOptions) {
    this.#compile = compile
    this.#compiler = options.compiler
    this.#directory = options.directory
  }

  compile(policy: SeccompPolicy): SeccompProgram {
    const key = contentOf(policy)
    const known = this.#programs.get(key)
    if (known !== undefined) return known
    const made = this.#load(key) ?? this.#store(key, this.#compile(policy))
    if (this.#programs.size >= MOST_IN_MEMORY) this.#programs.delete(this.#programs.keys().next().value as string)
    this.#programs.set(key, made)
    return made
  }

  #file(key: string): string | undefined {
    if (this.#directory === undefined || !isOwn(this.#directory)) return undefined
    return join(this.#directory, createHash('sha256').update(`${this.#compiler}\0${key}`).digest('hex'))
  }

  /** What another process stored; undefined when there is nothing, or when it is damaged. */
  #load(key: string): SeccompProgram | undefined {
    const file = this.#file(key)
    if (file === undefined) return undefined
    try {
      const bytes = readFileSync(file)
      const body = bytes.subarray(DIGEST_BYTES)
      if (!digestOf(body).equals(bytes.subarray(0, DIGEST_BYTES))) return undefined
      const names = body.readUInt32LE(0)
      const unknown: string[] = JSON.parse(body.toString('utf8', 4, 4 + names))
      return { program: body.subarray(4 + names), unknown }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  #store(key: string, made: SeccompProgram): SeccompProgram {
    const file = this.#file(key)
    if (file === undefined || this.#directory === undefined) return made
    const names = Buffer.from(JSON.stringify(made.unknown))
    const size = Buffer.alloc(4)
    size.writeUInt32LE(names.length)
    const body = Buffer.concat([size, names, made.program])
    const stored = readdirSync(this.#directory)
    if (stored.length >= MOST_ON_DISK) for (const name of stored) rmSync(join(this.#directory, name), { force: true })
    const aside = `${file}.${randomUUID()}`
    writeFileSync(aside, Buffer.concat([digestOf(body), body]), { mode: 0o600, flag: 'wx' })
    renameSync(aside, file)
    return made
  }
}

/** The policy as a text that differs whenever its meaning may. */
function contentOf(policy: SeccompPolicy): string {
  const { defaultAction, badArchitectureAction, architectures, rules } = policy
  const rows = rules.map(rule => [
    rule.syscalls,
    rule.action,
    rule.conditions.map(({ index, comparison, value, mask }) => `${index}${comparison}${value}&${mask}`),
    rule.architectures,
  ])
  return JSON.stringify([defaultAction, badArchitectureAction, architectures, rows])
}

function digestOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** Makes the directory if need be; false when another user owns it or may write there. */
function isOwn(directory: string): boolean {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const status = lstatSync(directory)
  return status.isDirectory() && status.uid === geteuid?.() && (status.mode & 0o022) === 0
}
