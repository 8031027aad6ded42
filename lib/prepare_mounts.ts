/** What mounts of a config need before the start: open user namespaces, and directories of the host that mounts travel from. */
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { ContainerError } from './errors.ts'

/** User namespaces, open for the time of a start; `slots` are their places among the descriptors that go with the Spec. */
export interface OpenMaps {
  readonly descriptors: readonly number[]
  readonly slots: ReadonlyMap<string, number>
  close(): void
}

/** Opens the files of user namespaces (/proc/PID/ns/user). Throws the errno of open(2). */
export function openMaps(files: readonly string[], first: number): OpenMaps {
  const descriptors: number[] = []
  const close = () => {
    for (const descriptor of descriptors) closeSync(descriptor)
  }
  try {
    for (const file of files) descriptors.push(openSync(file, 'r'))
  } catch (error) {
    close()
    const { code = 'EIO', message, path } = error as NodeJS.ErrnoException
    throw new ContainerError(code, `Cannot open the user namespace of "idmap=${path}": ${message}`, {
      path,
      cause: error,
    })
  }
  return { descriptors, slots: new Map(files.map((file, index) => [file, first + index])), close }
}

/**
 * Makes a directory from which mounts are to travel into a container. They do so only from a shared mount, which the host's
 * own root is under systemd; LXC mounts a tmpfs of its own otherwise, and leaves it behind.
 */
export async function shareDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o711 })
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).trimEnd().split('\n')
  const points = mounts.map(line => line.split(' '))
  const holds = (point: string) => directory === point || directory.startsWith(point === '/' ? '/' : `${point}/`)
  const holder = points
    .filter(([, , , , point = '']) => holds(point))
    .reduce((best, next) => (length(next) >= length(best) ? next : best))
  if (holder.slice(6, holder.indexOf('-')).some(field => field.startsWith('shared:'))) return
  throw new ContainerError(
    'ERR_CONFIG_UNSUPPORTED',
    `Cannot share mounts below ${directory}: ${holder[4]} is not a shared mount`,
    {
      path: directory,
      hint: `make it one: mount --bind ${directory} ${directory} && mount --make-shared ${directory}`,
    },
  )
}

const length = (fields: readonly string[]): number => fields[4]?.length ?? 0
