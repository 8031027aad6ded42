/** Sandboxes that are made before anybody knows what they will run. Pure. */
import type { StartSpec } from '../native/spec.ts'
import type { SandboxRequest } from './sandbox.ts'

/** The part of a sandbox that can be made before anybody knows what it will run; it gets a name, a tag and ids of its own. */
export function aheadOf(
  spec: StartSpec,
  { name, tag, ids }: Pick<SandboxRequest, 'name' | 'tag'> & { ids: number },
): StartSpec {
  const extent = { container: 0, host: ids, range: 65_536 }
  return {
    ...spec,
    name,
    ahead: true,
    idmap: { ...spec.idmap, uids: [extent], gids: [extent], ownerUid: ids, ownerGid: ids },
    cgroup: { hierarchies: spec.cgroup.hierarchies.map(one => ({ ...one, path: tag })), files: [], devices: [] },
    rootfs: { ...spec.rootfs, path: '', idmapped: false, empty: true, links: [], files: [] },
    mounts: [],
    console: { ...spec.console, input: -1, output: -1, error: -1 },
    hostname: '',
    security: { ...spec.security, seccomp: new Uint8Array() },
    process: { ...spec.process, argv: [], environment: [], rlimits: [] },
  }
}

/** What two sandboxes have alike when one that was made ahead can become either. */
export function kindOf({ namespaces, idmap, cgroup, security }: StartSpec): string {
  const hierarchies = cgroup.hierarchies.map(({ path: _, ...one }) => one)
  return JSON.stringify([namespaces, idmap.uids.length, idmap.ownerUid !== undefined, security.keyring, hierarchies])
}
