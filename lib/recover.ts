/**
 * Cleaning up after a killed monitor or a killed program: idempotent, and safe beside running containers.
 *
 * A container is alive while its monitor holds the lock of its run directory. A ledger without that lock tells of a monitor that was
 * killed, and names all that it may have left. A directory of a container that was being made belongs to its maker while the maker holds
 * the lock beside it.
 */
import { existsSync } from 'node:fs'
import { readdir, readFile, rmdir, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { adopt, isInitAlive } from './adopt.ts'
import { emptyCgroup } from './confine/ownership.ts'
import { removeEnded, wasStarted } from './ephemeral.ts'
import { ContainerError, refuseUnknown } from './errors.ts'
import { removeOrphans } from './interfaces.ts'
import { type Ledger, type LedgerEntry, readLedger, SESSION } from './ledger.ts'
import { isLocked, tryLock, tryLockAgain } from './lock.ts'
import { unloadProfile } from './lsm/apparmor.ts'
import { native } from './native/binding.ts'
import { Monitor } from './native/monitor.ts'
import { endHelper } from './network/user.ts'
import { recoverLinks } from './orphans.ts'
import { makeRunDir, type Place, placeOf, removeRunDir, resolveLxcpath, runRoot } from './store.ts'
import { CREATION, removeTree } from './tree.ts'

/** What was removed. */
export interface Recovered {
  readonly what: string
  readonly name: string
}

/**
 * Cleans up all containers, or those of one lxcpath. What lives without a monitor, because it was meant to, gets a new one. A run directory
 * whose ledger is damaged is left as it is and keeps no other from being cleaned up: after all of them, its error is thrown (ERR_PROTOCOL; of
 * several one that has them all as its `cleanup`).
 */
export async function recover(options: { path?: string } = {}): Promise<readonly Recovered[]> {
  refuseUnknown(options, ['path'], 'recover')
  const only = options.path === undefined ? undefined : resolveLxcpath(options.path)
  const lxcpath = only ?? resolveLxcpath(undefined)
  const runDirs =
    only === undefined ? await runDirectories() : await directoriesBelow(path.dirname(placeOf('any', only).runDir))
  return eachOf([
    ...runDirs.map(runDir => () => recoverDirectory(runDir)),
    async () => (await recoverLinks(lxcpath)).map(name => ({ what: 'links', name })),
    () => forgetGone(lxcpath),
    () => recoverEphemeral(lxcpath),
    () => recoverCreations(lxcpath),
  ])
}

/** Does all of it, one after the other, and throws the failures after the last. */
async function eachOf(acts: readonly (() => Promise<readonly Recovered[]>)[]): Promise<Recovered[]> {
  const recovered: Recovered[] = []
  const failures: unknown[] = []
  for (const act of acts) {
    try {
      recovered.push(...(await act()))
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length === 1) throw failures[0]
  if (failures.length > 1) {
    const { code = 'ERR_PROTOCOL' } = failures[0] as { code?: string }
    const state = `${failures.length} things failed, the rest is done`
    throw new ContainerError(code, `Cannot recover all: ${state}`, {
      hint: 'each is told of in `cleanup`',
      cause: failures[0],
      cleanup: failures,
    })
  }
  return recovered
}

/** Cleans up by the ledger of a run directory, unless whoever starts or destroys it at this moment does. */
async function recoverDirectory(runDir: string): Promise<readonly Recovered[]> {
  const lock = await tryLockAgain(path.join(runDir, 'operation'), 'recover').catch(gone)
  if (lock === undefined) return []
  try {
    const ledger = readLedger(runDir)
    return ledger === undefined ? [] : await recoverRun(runDir, ledger)
  } finally {
    native().addon.closeDescriptors([lock])
  }
}

/** The records of how containers ended that are there no more: nobody will ask. */
async function forgetGone(lxcpath: string): Promise<readonly Recovered[]> {
  for (const name of await readdir(path.dirname(placeOf('any', lxcpath).runDir)).catch(absent)) {
    const place = placeOf(name, lxcpath)
    if (existsSync(place.directory) || existsSync(path.join(place.runDir, 'ledger.json'))) continue
    const lock = tryLock(path.join(place.runDir, 'operation'), 'recover')
    if (lock === undefined) continue
    try {
      if (!isMonitored(place.runDir)) await removeRunDir(place)
    } finally {
      native().addon.closeDescriptors([lock])
    }
  }
  return []
}

/** Ephemeral containers that were started, and whose end nobody saw: by a power cut there is no ledger either. */
async function recoverEphemeral(lxcpath: string): Promise<Recovered[]> {
  const recovered: Recovered[] = []
  for (const name of await readdir(lxcpath).catch(absent)) {
    const place = placeOf(name, lxcpath)
    // One whose ledger could not be recovered keeps it: it names what is left.
    if (name.startsWith('.') || !wasStarted(place) || existsSync(path.join(place.runDir, 'ledger.json'))) continue
    makeRunDir(place)
    const lock = tryLock(path.join(place.runDir, 'operation'), 'recover')
    if (lock === undefined) continue
    try {
      if (await removeIfEnded(place)) recovered.push({ what: 'ephemeral', name: place.directory })
    } finally {
      native().addon.closeDescriptors([lock])
    }
  }
  return recovered
}

/** Removes an ephemeral container that has ended, with its run directory. Called under its operation lock. */
export async function removeIfEnded(place: Place): Promise<boolean> {
  if (isMonitored(place.runDir) || isInitAlive(place.runDir)) return false
  const isRemoved = await removeEnded(place)
  if (isRemoved || !existsSync(place.directory)) await removeRunDir(place)
  return isRemoved
}

/** The same for one container. */
export async function recoverPlace(place: Place): Promise<readonly Recovered[]> {
  const ledger = readLedger(place.runDir)
  return ledger === undefined ? [] : recoverRun(place.runDir, ledger)
}

/** Whether a monitor holds the run directory. */
export function isMonitored(runDir: string): boolean {
  return isLocked(path.join(runDir, 'lock'))
}

async function runDirectories(): Promise<string[]> {
  return (await Promise.all((await directoriesBelow(runRoot())).map(directoriesBelow))).flat()
}

async function directoriesBelow(directory: string): Promise<string[]> {
  return (await readdir(directory, { withFileTypes: true }).catch(absent))
    .filter(entry => entry.isDirectory())
    .map(({ name }) => path.join(directory, name))
}

function absent(error: NodeJS.ErrnoException): never[] {
  if (error.code === 'ENOENT') return []
  throw error
}

/** Its owner has removed the directory meanwhile. */
function gone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

/** The lock of a monitor that has ended: one that was killed, and listens no longer, may have it for a moment more. */
async function lockEnded(runDir: string): Promise<number | undefined> {
  const file = path.join(runDir, 'lock')
  const lock = tryLock(file, 'recover')
  if (lock !== undefined || path.basename(runDir) === SESSION) return lock
  const monitor = Monitor.connect(path.join(runDir, 'socket'), { verb: 'recover' })
  monitor?.close()
  return monitor === undefined ? tryLockAgain(file, 'recover') : undefined
}

/** Removes what a ledger names, while holding the monitor's lock so that nobody starts meanwhile. */
async function recoverRun(runDir: string, ledger: Ledger): Promise<Recovered[]> {
  if (isInitAlive(runDir))
    return (await adopt(placeOf(ledger.name, ledger.lxcpath))) ? [{ what: 'adopted', name: ledger.name }] : []
  const lock = await lockEnded(runDir)
  if (lock === undefined) return []
  try {
    const recovered: Recovered[] = []
    for (const entry of ledger.entries.toReversed()) {
      if (await REMOVERS[entry.kind](entry.path, ledger)) recovered.push({ what: entry.kind, name: entry.path })
    }
    for (const name of ['socket', 'init', 'spec', 'ledger.json']) await unlink(path.join(runDir, name)).catch(absent)
    const place = placeOf(ledger.name, ledger.lxcpath)
    if (ledger.lxcpath !== '' && (await removeEnded(place)))
      recovered.push({ what: 'ephemeral', name: place.directory })
    // A session is of one process: nobody comes back to its directory.
    if (path.basename(runDir) === SESSION) await removeTree(path.dirname(runDir))
    return recovered
  } finally {
    native().addon.closeDescriptors([lock])
  }
}

/** Cleans up after the sandboxes of programs that were killed. */
export async function recoverSessions(): Promise<void> {
  const sessions = (await runDirectories()).filter(runDir => path.basename(runDir) === SESSION)
  const recoverSession = async (runDir: string) => {
    const ledger = readLedger(runDir)
    return ledger === undefined ? [] : recoverRun(runDir, ledger)
  }
  await eachOf(sessions.map(runDir => () => recoverSession(runDir)))
}

type Remover = (path: string, ledger: Ledger) => Promise<boolean>

/** How each kind of thing is removed; false when it was gone already. */
const REMOVERS: Readonly<Record<LedgerEntry['kind'], Remover>> = {
  cgroup: removeCgroup,
  cgroups: removeCgroups,
  slice: removeEmpty,
  links: (pin, container) => removeOrphans(container, pin),
  helper: directory => endHelper(directory),
  apparmor: async name => unloadProfile(name),
}

async function removeCgroups(pattern: string): Promise<boolean> {
  const [parent, suffix] = [path.dirname(pattern), path.basename(pattern).slice(1)]
  const own = (name: string) => name.startsWith('caisson.') && name.endsWith(suffix)
  const names = (await readdir(parent).catch(absent)).filter(own)
  const removed = await Promise.all(names.map(name => removeCgroup(path.join(parent, name))))
  return removed.includes(true)
}

function refused(entry: string, state: string): ContainerError {
  return new ContainerError('ERR_PROTOCOL', `Cannot remove what a ledger names: ${JSON.stringify(entry)}: ${state}`, {
    path: entry,
    hint: 'the ledger is damaged, or of another version of the library: remove by hand what is left, then its directory',
  })
}

/** A directory that other containers may use: it goes with the last of them. */
async function removeEmpty(directory: string): Promise<boolean> {
  try {
    await rmdir(directory)
    return true
  } catch (error) {
    if (['ENOENT', 'EBUSY', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

/** How long killed processes may take to leave a cgroup. */
const PATIENCE_MS = 5_000

/** Kills what still lives in a cgroup and removes it with all below it. */
async function removeCgroup(directory: string): Promise<boolean> {
  if (!existsSync(directory)) return false
  // All that lives in a cgroup is killed: the top of a hierarchy, where the whole host may live, is never a container's.
  if (!existsSync(path.join(directory, '..', 'cgroup.procs'))) throw refused(directory, 'it is no cgroup below another')
  if ((await processesBelow(directory)).some(pid => pid === 1 || pid === process.pid))
    throw refused(directory, 'the host lives in it, or this program')
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    await killCgroup(directory)
    try {
      await removeCgroupTree(directory)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || Date.now() > deadline) throw error
      await sleep(5)
    }
  }
}

async function killCgroup(directory: string): Promise<void> {
  if (existsSync(path.join(directory, 'cgroup.kill'))) return writeFile(path.join(directory, 'cgroup.kill'), '1')
  const freezer = path.join(directory, 'freezer.state')
  for (const pid of await processesBelow(directory)) killByPid(pid)
  if (existsSync(freezer)) await writeFile(freezer, 'THAWED')
}

/** v1 has no cgroup.kill: a pid that was read from the cgroup is a process of the container, or a moment later nobody. */
function killByPid(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function processesBelow(directory: string): Promise<number[]> {
  const own = (await readFile(path.join(directory, 'cgroup.procs'), 'utf8').catch(() => ''))
    .split('\n')
    .filter(line => line !== '')
    .map(Number)
  const children = (await readdir(directory, { withFileTypes: true }).catch(absent)).filter(entry =>
    entry.isDirectory(),
  )
  const below = await Promise.all(children.map(({ name }) => processesBelow(path.join(directory, name))))
  return [...own, ...below.flat()].filter(pid => pid > 0)
}

async function removeCgroupTree(directory: string): Promise<void> {
  await removeCgroupBelow(directory).catch(async (error: NodeJS.ErrnoException) => {
    // A user's container has made cgroups with its own ids.
    if (error.code !== 'EACCES' || !(await emptyCgroup(directory))) throw error
  })
  await rmdir(directory)
}

async function removeCgroupBelow(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue
    await removeCgroupBelow(path.join(directory, entry.name))
    await rmdir(path.join(directory, entry.name))
  }
}

/** Removes what is left of containers whose making was killed. */
async function recoverCreations(lxcpath: string): Promise<Recovered[]> {
  const recovered: Recovered[] = []
  for (const entry of await readdir(lxcpath, { withFileTypes: true }).catch(absent)) {
    if (!entry.isDirectory() || !entry.name.startsWith(CREATION)) continue
    const directory = path.join(lxcpath, entry.name)
    const lock = await tryLockAgain(path.join(directory, 'lock'), 'recover').catch(gone)
    if (lock === undefined) continue
    try {
      await removeTree(directory)
      recovered.push({ what: 'creation', name: directory })
    } finally {
      native().addon.closeDescriptors([lock])
    }
  }
  return recovered
}
