/**
 * The ledger: what a container has outside of itself, written down before any of it is made, so that whoever finds it without a living
 * monitor can remove all of it. Its source is the Spec, and all names in it are deterministic; the monitor deletes it when it has undone
 * everything.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { ContainerError } from './errors.ts'
import type { StartSpec } from './native/spec.ts'
import { type Place, placeOf } from './store.ts'

/**
 * The path of a `helper`, which carries a user's traffic, is the run directory. `links` are all interfaces that carry the container's tag; its path is where its namespace is kept. The path of `cgroups` ends with
 * `*` and the end of the names of all directories that are meant.
 */
export type LedgerEntry = {
  readonly kind: 'cgroup' | 'cgroups' | 'slice' | 'links' | 'helper' | 'apparmor'
  readonly path: string
  /** The config has chosen the name (lxc.cgroup.dir.container, lxc.cgroup.pattern): without this, a cgroup is named `caisson.*`. */
  readonly chosen?: true
}

export interface Ledger {
  readonly version: 1
  readonly bootId: string
  readonly name: string
  readonly lxcpath: string
  readonly entries: readonly LedgerEntry[]
}

/** What a Spec will make outside the container, in the order of making. */
export function entriesOf(spec: StartSpec): LedgerEntry[] {
  const { apparmorProfile } = spec.security
  const profiles = apparmorProfile === '' ? [] : [{ kind: 'apparmor' as const, path: apparmorProfile }]
  const links = spec.links.length === 0 ? [] : [{ kind: 'links' as const, path: path.join(spec.runDir, 'net') }]
  const helpers = spec.links.some(({ kind, downPrograms }) => kind === 'user' && downPrograms.length > 0)
    ? [{ kind: 'helper' as const, path: spec.runDir }]
    : []
  const cgroups = spec.cgroup.hierarchies.flatMap(({ mount, base, path: own, monitorBase, monitor }) => [
    ...cgroupEntries(path.posix.join(mount, base), own),
    ...cgroupEntries(path.posix.join(mount, monitorBase), monitor),
  ])
  return [...profiles, ...links, ...helpers, ...cgroups]
}

/** A cgroup, and before it the directories on the way, which another container may share. */
function cgroupEntries(base: string, own: string): LedgerEntry[] {
  if (own === '') return []
  const parts = own.split('/')
  const slices = parts.slice(1).map((_, index) => path.posix.join(base, ...parts.slice(0, index + 1)))
  return [
    ...slices.map(slice => ({ kind: 'slice' as const, path: slice })),
    {
      kind: 'cgroup' as const,
      path: path.posix.join(base, own),
      ...(parts.at(-1)?.startsWith('caisson.') ? {} : { chosen: true as const }),
    },
  ]
}

/** Writes the ledger of a start: aside, and renamed, in memory (/run). It survives every process; a reboot it need not survive. */
export function writeLedger(place: Place, bootId: string, entries: readonly LedgerEntry[]): void {
  // Named in a ledger it would be emptied, and what lives in it killed.
  const foreign = entries.find(({ kind, path, chosen }) => kind === 'cgroup' && chosen && existsSync(path))
  if (foreign !== undefined) {
    throw new ContainerError('EEXIST', `Cannot start container "${place.name}": its cgroup ${foreign.path} exists`, {
      container: place.name,
      step: 'cgroup.create',
      path: foreign.path,
      hint: 'the config names it (lxc.cgroup.dir.*, lxc.cgroup.pattern) and something else uses it: choose another name',
    })
  }
  const ledger: Ledger = { version: 1, bootId, name: place.name, lxcpath: place.lxcpath, entries }
  const file = path.join(place.runDir, 'ledger.json')
  writeFileSync(`${file}.new`, `${JSON.stringify(ledger, null, 1)}\n`, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/** The ledger of a run directory; undefined when there is none. Throws ERR_PROTOCOL when it is damaged or says what no ledger may say. */
export function readLedger(runDir: string): Ledger | undefined {
  const file = path.join(runDir, 'ledger.json')
  const text = textOf(file)
  if (text === undefined) return undefined
  const ledger = parsed(text, file)
  if (ledger?.version !== 1) throw unreadable(file, 'it is of another version of the library')
  if (!isOf(ledger, runDir)) throw unreadable(file, 'it is not the ledger of this run directory')
  if (!Array.isArray(ledger.entries)) throw unreadable(file, 'it has no entries')
  for (const entry of ledger.entries) {
    if (!isAllowed(entry, runDir)) throw unreadable(file, `it may not name ${JSON.stringify(entry)}`)
  }
  return ledger as Ledger
}

/** The monitor may delete it at any moment; most often there is none, which costs no exception. */
function textOf(file: string): string | undefined {
  if (!existsSync(file)) return undefined
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function parsed(text: string, file: string): Partial<Ledger> | null {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw unreadable(file, 'it is not JSON', cause)
  }
}

/** The name of a session's run directory. */
export const SESSION = 'sandboxes'

/** What is removed with a ledger lies below its name and lxcpath: they have to be those that the run directory is named after. */
function isOf({ name, lxcpath }: Partial<Ledger>, runDir: string): boolean {
  if (typeof name !== 'string' || typeof lxcpath !== 'string' || name !== path.basename(runDir)) return false
  return lxcpath === '' ? name === SESSION : path.isAbsolute(lxcpath) && placeOf(name, lxcpath).runDir === runDir
}

/** What an entry of each kind may say. All of a ledger is looked at before anything is removed. */
const ALLOWED: Readonly<Record<LedgerEntry['kind'], (entry: LedgerEntry, runDir: string) => boolean>> = {
  cgroup: entry => isPlain(entry.path) && (entry.chosen === true || path.basename(entry.path).startsWith('caisson.')),
  cgroups: (entry, runDir) =>
    isPlain(entry.path) && path.basename(entry.path) === `*.${path.basename(path.dirname(runDir))}`,
  slice: entry => isPlain(entry.path),
  links: (entry, runDir) => entry.path === path.join(runDir, 'net'),
  helper: (entry, runDir) => entry.path === runDir,
  apparmor: entry => entry.path !== '',
}

function isAllowed(entry: LedgerEntry, runDir: string): boolean {
  if (typeof entry?.path !== 'string' || !Object.hasOwn(ALLOWED, entry.kind)) return false
  return ALLOWED[entry.kind](entry, runDir)
}

/** Absolute, and without a way up: what it names is where it seems to be. */
function isPlain(name: string): boolean {
  return path.isAbsolute(name) && !name.includes('\0') && path.normalize(name) === name
}

function unreadable(file: string, state: string, cause?: unknown): ContainerError {
  return new ContainerError('ERR_PROTOCOL', `Cannot read the ledger ${JSON.stringify(file)}: ${state}`, {
    path: file,
    hint: 'the ledger is damaged, or of another version of the library: remove by hand what is left, then its directory',
    ...(cause === undefined ? {} : { cause }),
  })
}
