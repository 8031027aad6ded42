/** Ranges of host ids, one for each container and disjoint, recorded for all lxcpaths of a user in one place. */
import { access, mkdir, open, readFile, rename } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'
import { ContainerError } from './errors.ts'
import type { Host } from './host/host.ts'
import { findFree, type IdRange, ROOT_POOL, readAllSubordinateIds } from './host/users.ts'
import { type Waiting, withLock } from './lock.ts'

/** As many ids as a distribution uses: system users, users, and `nobody` (65534). */
export const RANGE = 65_536

interface Grant extends IdRange {
  /** The directory of the container that has it. */
  readonly directory: string
  /** Where the container is being made; while either directory is there the range is taken. */
  readonly making: string
}

/** Root's record survives reboots, as the files of containers do; a user's lies in their own data directory. */
function recordDirectory(host: Host): string {
  if (host.root) return '/var/lib/caisson'
  return path.join(process.env.XDG_DATA_HOME ?? path.join(homedir(), '.local/share'), 'caisson')
}

/** What may be handed out: root's own subordinate ids or a pool far above everybody's; a user's own grants. */
function pools(host: Host): readonly IdRange[] {
  if (!host.root) return intersect(host.subuids, host.subgids)
  return host.subuids.length > 0 && host.subgids.length > 0 ? intersect(host.subuids, host.subgids) : [ROOT_POOL]
}

function intersect(a: readonly IdRange[], b: readonly IdRange[]): IdRange[] {
  return a.flatMap(one =>
    b.flatMap(other => {
      const first = Math.max(one.first, other.first)
      const end = Math.min(one.first + one.count, other.first + other.count)
      return end > first ? [{ first, count: end - first }] : []
    }),
  )
}

/**
 * Takes a free range for a container and records it. A range whose container is gone is free again. A user with one grant of 65,536 ids
 * has one range: their containers share it, as they do with LXC. Throws ERR_NO_SUBORDINATE_IDS.
 */
export async function allocateIds(host: Host, directory: string, making: string, waiting: Waiting): Promise<IdRange> {
  return withRecord(host, waiting, async all => {
    const grants = all.filter(grant => grant.directory !== directory)
    const used: readonly IdRange[] = [...grants, ...(host.root ? othersIds(host) : [])]
    const available = pools(host)
    const first =
      findFree(available, used, RANGE) ?? (host.root ? undefined : available.find(pool => pool.count >= RANGE)?.first)
    if (first === undefined) throw noIds(host, available)
    const grant: Grant = { first, count: RANGE, directory, making }
    return { grants: [...grants, grant], result: grant }
  })
}

/** Gives back what a container had. */
export async function releaseIds(host: Host, directory: string, waiting: Waiting): Promise<void> {
  await withRecord(host, waiting, async grants => ({
    grants: grants.filter(grant => grant.directory !== directory),
    result: undefined,
  }))
}

/** Moves a grant to another directory, that of a renamed container. Called before the rename: both names hold it. */
export async function moveIds(host: Host, from: string, to: string, waiting: Waiting): Promise<void> {
  await withRecord(host, waiting, async grants => ({
    grants: grants.map(grant => (grant.directory === from ? { ...grant, directory: to, making: from } : grant)),
    result: undefined,
  }))
}

/** Root does not take what the files grant to users. */
function othersIds(host: Host): IdRange[] {
  const own = new Set([...host.subuids, ...host.subgids].map(({ first }) => first))
  return [...readAllSubordinateIds('/etc/subuid'), ...readAllSubordinateIds('/etc/subgid')].filter(
    ({ first }) => !own.has(first),
  )
}

function noIds(host: Host, available: readonly IdRange[]): ContainerError {
  const state =
    available.length === 0 ? `"${host.user}" has none in /etc/subuid and /etc/subgid` : 'all ranges are taken'
  return new ContainerError('ERR_NO_SUBORDINATE_IDS', `Cannot find ${RANGE} free subordinate ids: ${state}`, {
    hint: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${host.user}`,
  })
}

async function withRecord<T>(
  host: Host,
  waiting: Waiting,
  act: (grants: readonly Grant[]) => Promise<{ grants: readonly Grant[]; result: T }>,
): Promise<T> {
  const directory = recordDirectory(host)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  return withLock(path.join(directory, 'ids.lock'), 'allocate ids', waiting, async () => {
    const file = path.join(directory, 'ids.json')
    const { grants, result } = await act(await living(await readGrants(file)))
    await using handle = await open(`${file}.new`, 'w', 0o600)
    await handle.writeFile(`${JSON.stringify({ version: 1, grants }, null, 1)}\n`)
    await handle.sync()
    await rename(`${file}.new`, file)
    return result
  })
}

async function readGrants(file: string): Promise<readonly Grant[]> {
  try {
    return (JSON.parse(await readFile(file, 'utf8')) as { grants: readonly Grant[] }).grants
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

async function living(grants: readonly Grant[]): Promise<readonly Grant[]> {
  const exists = (directory: string) =>
    access(directory).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
    )
  const there = await Promise.all(
    grants.map(async ({ directory, making }) => (await exists(directory)) || exists(making)),
  )
  return grants.filter((_, index) => there[index])
}
