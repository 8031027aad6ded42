/**
 * A scope of the user's own systemd for one container: a cgroup that is delegated to the user, wherever the calling program lives. By busctl(1),
 * org.freedesktop.systemd1(5). Only systemd may move a process there, so it is told the monitor's pid while that waits.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { ContainerError } from '../errors.ts'
import { hasProgram, runProgram } from '../native/program.ts'
import { type CgroupHost, directoryOf, type Hierarchy, parseMembership } from './cgroups.ts'

/** Where systemd's manager is on its bus. */
const MANAGER = ['org.freedesktop.systemd1', '/org/freedesktop/systemd1', 'org.freedesktop.systemd1.Manager'] as const

/** A healthy manager answers in milliseconds; one that does not answer is none. */
const PATIENCE_MS = 5000

export interface UserScope {
  readonly unit: string
  /** The cgroups of this host, with the scope as the place for containers in the v2 hierarchy. */
  readonly cgroups: CgroupHost
  /** Has the scope made around a process. Resolves when the process is in it. */
  enter(pid: number): Promise<void>
}

/** What busctl(1) needs to find the user's bus; undefined when there is none. */
function busOf(environment: NodeJS.ProcessEnv): Record<string, string> | undefined {
  const { XDG_RUNTIME_DIR: runtime, DBUS_SESSION_BUS_ADDRESS: address } = environment
  if (runtime === undefined || !(address || existsSync(`${runtime}/bus`))) return undefined
  return { XDG_RUNTIME_DIR: runtime, ...(address ? { DBUS_SESSION_BUS_ADDRESS: address } : {}) }
}

/**
 * The scope that a container of this user can have; undefined without a v2 hierarchy, a user manager or busctl. `name` becomes part of the
 * unit's, with some digits that no other start has.
 */
export async function findUserScope(
  host: CgroupHost,
  name: string,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<UserScope | undefined> {
  const bus = busOf(environment)
  const unified = host.hierarchies.find(({ version }) => version === 2)
  if (bus === undefined || unified === undefined || !hasProgram('busctl')) return undefined
  const call = (...words: readonly string[]) =>
    runProgram('busctl', ['--user', ...words], { env: bus, signal: AbortSignal.timeout(PATIENCE_MS) })
  const top = await call('get-property', ...MANAGER, 'ControlGroup').then(
    ({ stdout }) => /^s "\/?(.*)"\n$/.exec(stdout)?.[1],
    () => undefined, // nobody answers: there is no manager
  )
  if (top === undefined || !existsSync(directoryOf(unified.mount, top, 'cgroup.procs'))) return undefined
  const unit = `${name}-${randomBytes(4).toString('hex')}.scope`
  const path = directoryOf(top, 'app.slice', unit)
  const place = { top, path, scope: directoryOf(unified.mount, path) }
  return {
    unit,
    cgroups: { ...host, hierarchies: host.hierarchies.map(one => (one === unified ? within(one, place) : one)) },
    enter: async pid => {
      const properties = ['PIDs', 'au', '1', String(pid), 'Delegate', 'b', 'true', 'Slice', 's', 'app.slice']
      const words = ['StartTransientUnit', 'ssa(sv)a(sa(sv))', unit, 'fail', '4', ...properties]
      await call('call', ...MANAGER, ...words, 'CollectMode', 's', 'inactive-or-failed', '0').catch(error => {
        throw refused(unit, (error as Error).message, error)
      })
      await arrival(pid, unit)
    },
  }
}

function within(
  unified: Hierarchy,
  { top, path, scope }: { readonly top: string; readonly path: string; readonly scope: string },
): Hierarchy {
  const controllers = readFileSync(directoryOf(unified.mount, top, 'cgroup.controllers'), 'utf8')
    .trim()
    .split(' ')
  return { ...unified, base: { path, controllers: controllers.filter(Boolean), crowded: false, scope } }
}

/** The answer to the call comes before the move. */
async function arrival(pid: number, unit: string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS
  while (Date.now() < deadline) {
    const own = parseMembership(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).get('')
    if (own?.endsWith(`/${unit}`)) return
    await sleep(5)
  }
  throw refused(unit, 'systemd has not moved the monitor into it')
}

function refused(unit: string, why: string, cause?: unknown): ContainerError {
  return new ContainerError('ERR_NO_CGROUP', `Cannot make the scope ${unit}: ${why}`, {
    step: 'scope.enter',
    hint: 'systemctl --user status says how the user manager is; without XDG_RUNTIME_DIR it is not asked',
    cause,
  })
}
