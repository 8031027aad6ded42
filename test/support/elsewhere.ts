/** Programs of other Node processes: they import what is built into dist/, so that they start at once. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

const library = new URL('../../dist/index.js', import.meta.url).href

/** The command line of a program that has the library's exports as `caisson`. */
export function elsewhere(code: string): [string, ...string[]] {
  return [process.execPath, '--input-type=module', '-e', `import * as caisson from ${JSON.stringify(library)}\n${code}`]
}

/** Runs one to its end and gives what it prints. */
export function runElsewhere(code: string): string {
  const [node, ...args] = elsewhere(code)
  return execFileSync(node, args, { encoding: 'utf8', env: { PATH: process.env.PATH } })
}

/** Of a process that may have ended meanwhile. */
export function commandLine(pid: string | number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

/** Of all its threads: monitors are started by one that is not the first. */
export function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap(task => childrenOfThread(pid, task))
}

/** A thread may end between the look at the directory and this one. */
function childrenOfThread(pid: number, task: string): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** The monitors that a process has started, without the nursery that some come from and helpers that are soon gone. */
export function monitorsOf(pid: number): number[] {
  const lasting = /^caisson-monitor\0(?!nursery|link|inside|attach|confine|view)/
  return childrenOf(pid).filter(child => lasting.test(commandLine(child)))
}
