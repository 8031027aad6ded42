/**
 * Mounts of a running container, changed from outside without anything shared beforehand: open_tree(2), setns(2), move_mount(2).
 * Linux 5.2; idmapped ones 5.12.
 */
import type { Running } from './attach.ts'
import { mountLine } from './config/mount_entry.ts'
import { type MountEntry, printMount } from './config/options.ts'
import { ContainerError } from './errors.ts'
import { native } from './native/binding.ts'
import { Monitor } from './native/monitor.ts'
import type { InsideSpec, MountSpec } from './native/spec.ts'
import { resolveMount } from './spec/mount.ts'

/** What is to be done inside; the rest stays as it is. */
export type Changes = Partial<Pick<InsideSpec, 'mounts' | 'unmounts' | 'removals' | 'cgroup'>>

/** Does it, all or nothing as far as mounts go, and lets go of the container. */
export async function changeInside(name: string, verb: string, running: Running, changes: Changes): Promise<void> {
  const { spec, init } = running
  try {
    if (!spec.namespaces.includes('mnt')) {
      throw new ContainerError(
        'ERR_CONTAINER_STATE',
        `Cannot ${verb} container "${name}": it shares the host's mounts`,
        {
          container: name,
          hint: 'give it a mount namespace: remove mnt from lxc.namespace.keep',
        },
      )
    }
    const told: InsideSpec = {
      init: 0,
      user: spec.namespaces.includes('user') || spec.joined.some(({ kind }) => kind === 'user'),
      keepGroups: spec.idmap.denySetgroups,
      cgroup: { hierarchies: [], files: [], devices: [] },
      mounts: [],
      unmounts: [],
      removals: [],
      ...changes,
    }
    const { monitor } = await Monitor.launch('inside', told, [init], { verb, container: name })
    monitor.close()
  } finally {
    native().addon.closeDescriptors([init])
  }
}

/** An entry as `lxc.mount.entry` would say it, made now. Nothing it shows can set ids or be a device, unless it says so. */
export function injected(entry: MountEntry): MountSpec {
  const mount = resolveMount(mountLine.parse(printMount(entry)), [])
  if (mount.idmap !== 'descriptor') return mount
  throw new ContainerError(
    'ERR_CONFIG_UNSUPPORTED',
    `Cannot mount "${entry.target}": ids can only be those of the container`,
    {
      hint: "use idmap: 'container'",
    },
  )
}
