/** Namespaces and id maps: what is created, what is kept, and whose ids stand for which. */
import type { Config } from '../config/config.ts'
import type { IdMapLine } from '../config/idmap.ts'
import { ContainerError } from '../errors.ts'
import type { Host } from '../host/host.ts'
import type { IdRange } from '../host/users.ts'
import type { IdMap, IdMapExtent, StartSpec } from '../native/spec.ts'

/** The kernel takes at most 340 extents in one map, user_namespaces(7). */
const MOST_EXTENTS = 340

/** The id maps of a config; empty maps mean no user namespace. Throws ERR_CONFIG_VALUE or ERR_ID_NOT_GRANTED. */
export function resolveIdMap(config: Config, host: Host): IdMap {
  const lines = config.value('lxc.idmap')
  const uids = extents(lines, 'uid')
  const gids = extents(lines, 'gid')
  if ((uids.length === 0) !== (gids.length === 0)) {
    throw new ContainerError(
      'ERR_CONFIG_CONFLICT',
      `Cannot map ids: there is no "${uids.length === 0 ? 'u' : 'g'}" line`,
      {
        hint: 'lxc.idmap needs lines for users (u) and for groups (g)',
      },
    )
  }
  const map: IdMap = { uids, gids, newuidmap: '', newgidmap: '', denySetgroups: false }
  if (uids.length === 0) return map
  if (host.root) return { ...map, ownerUid: onHost(uids, 0), ownerGid: onHost(gids, 0) }
  if (isOwn(uids, host.uid) && isOwn(gids, host.gid)) return { ...map, denySetgroups: true }
  demandGranted(uids, host.subuids, host.uid, 'u', host.user)
  demandGranted(gids, host.subgids, host.gid, 'g', host.user)
  return {
    ...map,
    newuidmap: demandTool(host.newuidmap, 'newuidmap'),
    newgidmap: demandTool(host.newgidmap, 'newgidmap'),
  }
}

/** The host id that is `id` inside; undefined when it is not mapped. */
export function onHost(map: readonly IdMapExtent[], id: number): number | undefined {
  const extent = map.find(({ container, range }) => id >= container && id < container + range)
  return extent === undefined ? undefined : extent.host + id - extent.container
}

function extents(lines: readonly IdMapLine[], type: 'uid' | 'gid'): IdMapExtent[] {
  const mine = lines
    .filter(line => line.type === type)
    .map(({ container, host, range }) => ({ container, host, range }))
  refuseOverlap(mine, type, 'container')
  refuseOverlap(mine, type, 'host')
  if (mine.length > 0 && onHost(mine, 0) === undefined) {
    throw new ContainerError('ERR_CONFIG_VALUE', `Cannot map ${type}s: ${type} 0 of the container is not mapped`, {
      hint: `add a line such as "lxc.idmap = ${type[0]} 0 100000 65536": the first process begins as root inside`,
    })
  }
  if (mine.length > MOST_EXTENTS) {
    throw new ContainerError(
      'ERR_CONFIG_VALUE',
      `Cannot map ${type}s: ${mine.length} extents, the kernel takes ${MOST_EXTENTS}`,
    )
  }
  return mine
}

function refuseOverlap(map: readonly IdMapExtent[], type: string, side: 'container' | 'host'): void {
  const sorted = map.toSorted((a, b) => a[side] - b[side])
  for (const [i, extent] of sorted.entries()) {
    const before = sorted[i - 1]
    if (before === undefined || before[side] + before.range <= extent[side]) continue
    throw new ContainerError(
      'ERR_CONFIG_VALUE',
      `Cannot map ${type}s: "${print(before)}" and "${print(extent)}" overlap on the side of the ${side}`,
      { hint: 'each id may stand in one extent only' },
    )
  }
}

function print({ container, host, range }: IdMapExtent): string {
  return `${container} ${host} ${range}`
}

function isOwn(map: readonly IdMapExtent[], id: number): boolean {
  return map.length === 1 && map[0]?.host === id && map[0].range === 1
}

function demandGranted(
  map: readonly IdMapExtent[],
  granted: readonly IdRange[],
  own: number,
  letter: string,
  user: string,
): void {
  for (const extent of map) {
    const { host, range } = extent
    if (host === own && range === 1) continue
    if (granted.some(({ first, count }) => host >= first && host + range <= first + count)) continue
    const file = letter === 'u' ? '/etc/subuid' : '/etc/subgid'
    throw new ContainerError(
      'ERR_ID_NOT_GRANTED',
      `Cannot use id map "${letter} ${print(extent)}": not granted to "${user}"`,
      {
        hint: `${file} grants ${user} ${granted.length === 0 ? 'nothing' : granted.map(one => `${one.first}–${one.first + one.count - 1}`).join(', ')}; the map needs ${host}–${host + range - 1}`,
      },
    )
  }
}

function demandTool(path: string | undefined, name: string): string {
  if (path !== undefined) return path
  throw new ContainerError('ERR_TOOL_MISSING', `Cannot map ids: ${name} is not installed`, {
    hint: 'install the package "uidmap"',
  })
}

const ALL: readonly StartSpec['namespaces'][number][] = ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup', 'time']

/** The namespaces that are created (lxc.namespace.clone, .keep). */
export function resolveNamespaces(config: Config, map: IdMap): StartSpec['namespaces'] {
  const chosen = config.value('lxc.namespace.clone')
  const kept = config.value('lxc.namespace.keep')
  if (chosen.length > 0 && kept.length > 0) {
    throw new ContainerError(
      'ERR_CONFIG_CONFLICT',
      'Cannot choose namespaces: lxc.namespace.clone and lxc.namespace.keep are both set',
      {
        hint: 'name either those to make or those to keep',
        ...config.where('lxc.namespace.keep'),
      },
    )
  }
  const hasNetwork = config.interfaces().some(index => config.value(`lxc.net.${index}.type`) === 'none')
  return ALL.filter(kind => {
    if (kind === 'user') return map.uids.length > 0
    if (kind === 'time') return config.has('lxc.time.offset.boot') || config.has('lxc.time.offset.monotonic')
    if (kind === 'net' && hasNetwork) return false
    return chosen.length > 0 ? chosen.includes(kind) : !kept.includes(kind)
  })
}
