/** Starting a container: the config is resolved, the ledger written, the monitor launched. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Callbacks } from './callbacks.ts'
import type { Config } from './config/config.ts'
import { globalConfig } from './config/global.ts'
import { type MountLine, parseFstab } from './config/mount_entry.ts'
import { markStarted, unmark, wasStarted } from './ephemeral.ts'
import { ContainerError } from './errors.ts'
import { compileFilter } from './filter.ts'
import { hostParts } from './host/host.ts'
import { findUserScope, type UserScope } from './host/user_scope.ts'
import { entriesOf, writeLedger } from './ledger.ts'
import type { Waiting } from './lock.ts'
import { logged } from './log.ts'
import { loadProfile } from './lsm/apparmor.ts'
import { chooseLabels, type Labels } from './lsm/label.ts'
import { openShared } from './namespaces.ts'
import { type Answer, Monitor } from './native/monitor.ts'
import type { Report, StartSpec, TraceEntry } from './native/spec.ts'
import { openMaps, shareDirectory } from './prepare_mounts.ts'
import { prepareNetwork } from './prepare_network.ts'
import { isMonitored, recoverPlace, removeIfEnded } from './recover.ts'
import { onHost } from './spec/idmap.ts'
import { foreignMaps, type Resolved, type StartRequest, sharedMounts, specParts } from './spec/spec.ts'
import { makeRunDir, type Place } from './store.ts'
import { inTurns } from './turns.ts'

/** What a start adds to the config. */
export type StartOptions = Pick<
  StartRequest,
  'foreground' | 'command' | 'minimalInit' | 'terminal' | 'stdio' | 'trace'
> & {
  /** Told which host ids the program will have, before it starts. */
  own?: (uid: number | undefined, gid: number | undefined) => void
  /** Hooks that are functions of this process. */
  hooks?: Callbacks | undefined
}

export interface StartedContainer {
  /** The launch channel; while it is open a foreground container lives. */
  readonly monitor: Monitor
  readonly answer: Answer
  readonly trace: readonly TraceEntry[]
  readonly notes: readonly string[]
}

/** Starts the container of a place. Whatever fails has been undone when the promise rejects. */
export async function start(
  place: Place,
  config: Config,
  options: StartOptions,
  descriptors: readonly number[],
  waiting: Waiting,
): Promise<StartedContainer> {
  makeRunDir(place)
  const isOver = wasStarted(place)
  await recoverPlace(place)
  if (isOver) {
    await removeIfEnded(place)
    throw ended(place)
  }
  return logged(place, config, () => begin(place, config, options, descriptors, waiting))
}

async function begin(
  place: Place,
  config: Config,
  options: StartOptions,
  descriptors: readonly number[],
  waiting: Waiting,
): Promise<StartedContainer> {
  const fstab = await readFstab(config)
  for (const { source } of sharedMounts(config)) await shareDirectory(source)
  const shared = await openShared(config, place)
  try {
    const maps = openMaps(foreignMaps(config, fstab), descriptors.length + shared.descriptors.length)
    try {
      const joined = shared.joined.map(join => ({ ...join, descriptor: join.descriptor + descriptors.length }))
      const callbacks = options.hooks?.points ?? []
      const request = { ...options, callbacks, fstab, userNamespaces: maps.slots, joined }
      const { spec, notes, labels, bootId, scope } = await prepare(place, config, request)
      options.own?.(onHost(spec.idmap.uids, spec.process.uid), onHost(spec.idmap.gids, spec.process.gid))
      writeLedger(place, bootId, entriesOf(spec))
      await loadProfile(labels.apparmor, path.join(place.directory, 'apparmor'))
      const travelling = [...descriptors, ...shared.descriptors, ...maps.descriptors]
      if (config.value('lxc.ephemeral')) await markStarted(place)
      const { monitor, answer } = await launch(spec, travelling, place, { hooks: options.hooks, scope }, waiting)
      return { monitor, answer, trace: options.trace ? answer.report.trace : [], notes }
    } finally {
      maps.close()
    }
  } finally {
    shared.release()
  }
}

/** Who answers when the monitor asks. */
interface Answering {
  readonly hooks: Callbacks | undefined
  readonly scope: UserScope | undefined
}

/** Nothing of a start that failed is left, and so the mark is not either. */
async function launch(
  spec: StartSpec,
  descriptors: readonly number[],
  place: Place,
  { hooks, scope }: Answering,
  waiting: Waiting,
) {
  let refusal: unknown
  const answer = async (report: Report) => {
    if (report.step !== 'scope.enter') return hooks?.answer(report, place)
    await scope?.enter(report.pid).catch(error => {
      refusal = error
      throw error
    })
  }
  try {
    const action = { verb: 'start', container: place.name }
    return await withDeadline(Monitor.launch('start', spec, [...descriptors], action, answer), place, waiting)
  } catch (error) {
    if (!isMonitored(place.runDir)) await unmark(place)
    throw refusal ?? hooks?.explain(error, place) ?? error
  }
}

function ended(place: Place): ContainerError {
  return new ContainerError(
    'ERR_CONTAINER_NOT_FOUND',
    `Cannot start container "${place.name}": it was ephemeral, and has ended`,
    { container: place.name },
  )
}

/** Config → Spec, with what the config refers to read. */
async function prepare(
  place: Place,
  config: Config,
  options: StartOptions & Pick<StartRequest, 'fstab' | 'userNamespaces' | 'joined' | 'callbacks'>,
): Promise<Resolved & { readonly labels: Labels; readonly bootId: string; readonly scope: UserScope | undefined }> {
  const filter = await compileFilter(config)
  const labels = chooseLabels(config, place.tag)
  const found = await inTurns(hostParts())
  const isRelative = config.value('lxc.cgroup.relative')
  const scope = found.root || isRelative ? undefined : await findUserScope(found.cgroups, place.tag)
  const host = scope === undefined ? found : { ...found, cgroups: scope.cgroups }
  const network = await prepareNetwork(config, { ...place, root: host.root })
  const request = {
    ...options,
    network,
    name: place.name,
    lxcpath: place.lxcpath,
    runDir: place.runDir,
    tag: place.tag,
    configFile: place.configFile,
    filter,
    labels: labels.spec,
    exists: existsSync,
    environment: process.env,
    cgroups: { pattern: globalConfig('lxc.cgroup.pattern'), use: globalConfig('lxc.cgroup.use') },
  }
  const resolved = await inTurns(specParts(config, host, request))
  return { ...resolved, labels, bootId: host.bootId, scope }
}

async function readFstab(config: Config): Promise<MountLine[]> {
  const file = config.value('lxc.mount.fstab')
  if (file === undefined) return []
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ContainerError(error.code ?? 'EIO', `Cannot read the fstab ${file}: ${error.message}`, {
      path: file,
      cause: error,
    })
  })
  return parseFstab(text, (error, line) => {
    throw new ContainerError(
      'ERR_CONFIG_VALUE',
      `Cannot read line ${line} of the fstab ${file}: ${(error as Error).message}`,
      { file, line },
    )
  })
}

/** A start that takes too long, or is no longer wanted, is ended by ending its monitor; what is left is recovered. */
async function withDeadline<T extends { monitor: Monitor }>(
  launched: Promise<T>,
  place: Place,
  { timeout, signal }: Waiting,
): Promise<T> {
  if (timeout === undefined && signal === undefined) return launched
  let stop: (error: ContainerError) => void = () => undefined
  const stopped = new Promise<never>((_, reject) => {
    stop = reject
  })
  const subject = `Cannot start container ${JSON.stringify(place.name)}`
  const details = { container: place.name }
  const timer =
    timeout === undefined
      ? undefined
      : setTimeout(
          () => stop(new ContainerError('ERR_TIMEOUT', `${subject}: it took longer than ${timeout} ms`, details)),
          timeout,
        )
  const abort = () =>
    stop(new ContainerError('ERR_ABORTED', `${subject}: aborted`, { ...details, cause: signal?.reason }))
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([launched, stopped])
  } catch (error) {
    // Started after all, a moment too late: it ends as if it had been stopped by force.
    launched.then(
      ({ monitor }) =>
        monitor
          .request('kill', { verb: 'stop', container: place.name })
          .catch(() => undefined)
          .finally(() => monitor.close()),
      () => undefined,
    )
    throw error
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}
