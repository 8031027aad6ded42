// Cgroups of our own on this host, of whichever version it has, without a container around.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { Config } from '../../lib/config/config.ts'
import { hierarchyWith, readCgroups } from '../../lib/host/cgroups.ts'
import { containerDirectory, type Running } from '../../lib/resources.ts'
import { resolveCgroup } from '../../lib/spec/cgroup.ts'

export const host = readCgroups()

/** The reason to skip what needs a controller, or false. */
export const without = (controller: string): string | false =>
  hierarchyWith(host, controller) === undefined ? `no ${controller} controller` : false

/** A container's cgroups without a container, with one process in them. */
export async function running(
  t: Test,
  program: string,
): Promise<{ running: Running; child: ChildProcess; file(name: string): string }> {
  const directory = `caisson.unit${process.pid}`
  const { spec } = resolveCgroup(new Config(), host, {
    directory,
    owner: { uid: 0, gid: 0 },
    root: true,
    exists: existsSync,
  })
  for (const hierarchy of spec.hierarchies) {
    const path = containerDirectory(hierarchy)
    const parent = path.slice(0, path.lastIndexOf('/'))
    if (hierarchy.version === 2)
      for (const name of hierarchy.controllers) writeFileSync(`${parent}/cgroup.subtree_control`, `+${name}`)
    mkdirSync(path)
    if (hierarchy.version === 1 && hierarchy.controllers.includes('cpuset')) {
      for (const name of ['cpuset.cpus', 'cpuset.mems'])
        writeFileSync(`${path}/${name}`, readFileSync(`${parent}/${name}`))
    }
  }
  const child = spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'ignore', 'ignore'] })
  for (const hierarchy of spec.hierarchies)
    writeFileSync(`${containerDirectory(hierarchy)}/cgroup.procs`, `${child.pid}`)
  t.teardown(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    for (const hierarchy of spec.hierarchies) await removed(containerDirectory(hierarchy))
  })
  const file = (name: string) =>
    spec.hierarchies.map(one => `${containerDirectory(one)}/${name}`).find(existsSync) ?? name
  return { running: { name: 'unit', cgroup: spec, host }, child, file }
}

async function removed(path: string): Promise<void> {
  for (let tries = 0; existsSync(path); tries++) {
    try {
      rmdirSync(path)
    } catch (error) {
      if (tries > 4000) throw error
      await sleep(5)
    }
  }
}
