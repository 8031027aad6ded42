/** Namespaces that a container takes over from a process or another container (lxc.namespace.share.*). namespaces(7), setns(2) */
import { closeSync, openSync } from 'node:fs'
import type { Config } from './config/config.ts'
import type { NamespaceName } from './config/namespace.ts'
import { ContainerError } from './errors.ts'
import { Monitor } from './native/monitor.ts'
import type { NamespaceJoin } from './native/spec.ts'
import { type Place, placeOf, validateName } from './store.ts'

export interface Shared {
  /** Slots count from the first of `descriptors`. */
  readonly joined: readonly NamespaceJoin[]
  readonly descriptors: readonly number[]
  /** Closes our copies; to be called when the start has ended. */
  release(): void
}

/** Opens what the config names. Throws ERR_CONTAINER_NOT_RUNNING, or the kernel's reason why a process cannot be looked at. */
export async function openShared(config: Config, place: Place): Promise<Shared> {
  const joined: NamespaceJoin[] = []
  const descriptors: number[] = []
  const release = () => {
    for (const descriptor of descriptors.splice(0)) closeSync(descriptor)
  }
  try {
    for (const { name, value } of config.entries('lxc.namespace.share')) {
      const word = name.slice('lxc.namespace.share.'.length)
      const kind = (word === 'mount' ? 'mnt' : word) as NamespaceName
      const pid = await findPid(String(value), place)
      joined.push({ kind, descriptor: descriptors.push(openNamespace(pid, kind, name)) - 1 })
    }
  } catch (error) {
    release()
    throw error
  }
  return { joined, descriptors, release }
}

function openNamespace(pid: number, kind: NamespaceName, key: string): number {
  try {
    return openSync(`/proc/${pid}/ns/${kind}`, 'r')
  } catch (cause) {
    const { code = 'EIO', message } = cause as NodeJS.ErrnoException
    throw new ContainerError(code, `Cannot share the ${kind} namespace of process ${pid}: ${message}`, {
      hint: `${key} names a process that lives, or a container that runs`,
      cause,
    })
  }
}

/** A pid, a container's name in the same lxcpath, or the path of one. */
async function findPid(value: string, place: Place): Promise<number> {
  if (/^\d+$/.test(value)) return Number(value)
  const slash = value.lastIndexOf('/')
  const name = value.slice(slash + 1)
  validateName(name)
  const other = placeOf(name, slash > 0 ? value.slice(0, slash) : place.lxcpath)
  const action = { verb: 'share a namespace of', container: name }
  const monitor = Monitor.connect(`${other.runDir}/socket`, action)
  if (monitor === undefined) {
    throw new ContainerError(
      'ERR_CONTAINER_NOT_RUNNING',
      `Cannot share a namespace of container "${name}": it is not running`,
      { container: place.name, hint: `start "${name}" first` },
    )
  }
  try {
    return (await monitor.request('state', action)).report.pid
  } finally {
    monitor.close()
  }
}
