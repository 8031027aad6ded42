/** What tests of whole lives need: the tools of the package, servers of the probe, and patience. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Container } from '../../lib/index.ts'
import { probe } from './probe.ts'
import { until } from './until.ts'

/** The checkout. */
export const project = fileURLToPath(new URL('../..', import.meta.url))

/** A tool of the package, as users run it. */
export function tool(lxcpath: string, name: string, ...args: string[]) {
  const program = join(project, `dist/bin/lxc-${name}.js`)
  const env = { PATH: process.env.PATH, HOME: '/root' }
  return spawnSync(process.execPath, [program, '-P', lxcpath, ...args], { cwd: project, env, encoding: 'utf8' })
}

/** The monitor of a running container: the parent of its init. */
export async function monitorOf(container: Container): Promise<number> {
  const stat = readFileSync(`/proc/${await container.initPid()}/stat`, 'utf8')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

/** A program of the tests that serves a socket, and the lines it prints. */
export async function serve(t: Test, ...args: string[]): Promise<{ server: ChildProcess; lines: string[] }> {
  const server = spawn(probe, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => server.kill('SIGKILL'))
  const lines: string[] = []
  createInterface({ input: server.stdout }).on('line', line => lines.push(line))
  await until(() => lines.shift() === 'listening', 'it listens')
  return { server, lines }
}
