/** The project's files as text, and the shape that a rule has. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Source {
  /** From the project's root: `addon/kernel/mount.cc`. */
  readonly path: string
  readonly text: string
}

/** Looks at all files and says what is wrong, a line for each: `path: what`. */
export type Rule = (sources: readonly Source[]) => string[]

export const checkout = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '')

/** What git tracks or would track. */
export function readSources(): Source[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: checkout,
    encoding: 'utf8',
  })
  return listed
    .split('\n')
    .filter(path => path !== '' && existsSync(join(checkout, path)))
    .map(path => ({ path, text: readFileSync(join(checkout, path), 'utf8') }))
}

export const lineCount = (text: string): number => text.split('\n').length - 1

/** Lines that are not blank and not comment alone: what is explained at length is not long. */
export const codeLines = (text: string): number =>
  text.split('\n').filter(line => !/^\s*(\/\/|\/?\*|$)/.test(line)).length
