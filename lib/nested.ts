/**
 * Containers inside a running container, as they look from outside. Nothing is run in there: their configs are read below the container's
 * root, where no link leads out of it, and for three keys only, since an include would be a path of the host's; whether one runs is told by
 * the process table. What a container says of itself is not believed further than that.
 */
import { createHash } from 'node:crypto'
import { fstatSync, readdirSync, readFileSync } from 'node:fs'
import { native } from './native/binding.ts'

export interface Nested {
  readonly name: string
  /** As seen inside. */
  readonly lxcpath: string
  /** Its init, as a pid of the host; undefined when it does not run. */
  readonly pid: number | undefined
  readonly autostart: boolean
  readonly groups: readonly string[]
  readonly unprivileged: boolean
}

/** The containers of a running container's own lxcpath, by name. `processes` is read once for many. */
export function nestedIn(pid: number, processes: readonly Init[] = readInits()): Nested[] {
  const root = `/proc/${pid}/root`
  const lxcpath = valuesOf(readText(root, '/etc/lxc/lxc.conf') ?? '', 'lxc.lxcpath').at(-1) ?? '/var/lib/lxc'
  const outer = processes.find(each => each.pid === pid)
  return listBelow(root, lxcpath).flatMap(name => {
    const config = /^[A-Za-z0-9][\w.-]*$/.test(name) ? readText(root, `${lxcpath}/${name}/config`) : undefined
    if (config === undefined) return []
    const init = outer && processes.find(each => isInitOf(each, outer, name, lxcpath))
    return [
      {
        name,
        lxcpath,
        pid: init?.pid,
        autostart: Number(valuesOf(config, 'lxc.start.auto').at(-1) ?? 0) > 0,
        groups: valuesOf(config, 'lxc.group').flatMap(list => list.split(/\s+/)),
        unprivileged: valuesOf(config, 'lxc.idmap').length > 0,
      },
    ]
  })
}

/** A process that is the first of a pid namespace. */
export interface Init {
  readonly pid: number
  /** How many pid namespaces it is in. */
  readonly depth: number
  readonly cgroups: readonly string[]
}

/** All of them that there are now. */
export function readInits(): Init[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(name => {
      try {
        const status = readFileSync(`/proc/${name}/status`, 'utf8')
        const pids = /^NSpid:\s+(.*)$/m.exec(status)?.[1]?.split(/\s+/) ?? []
        if (pids.at(-1) !== '1') return []
        const cgroups = readFileSync(`/proc/${name}/cgroup`, 'utf8').trim().split('\n')
        return [
          { pid: Number(name), depth: pids.length, cgroups: cgroups.map(line => line.replace(/\/init\.scope$/, '')) },
        ]
      } catch {
        // It has ended meanwhile.
        return []
      }
    })
}

/** One namespace further in, and in a cgroup below the outer one's that is named as this library or LXC names them. */
function isInitOf(init: Init, outer: Init, name: string, lxcpath: string): boolean {
  if (init.depth !== outer.depth + 1) return false
  const hash = createHash('sha256').update(lxcpath).digest('hex').slice(0, 8)
  const tags = [`/caisson.${name}.${hash}`, `/lxc.payload.${name}`, `/lxc/${name}`]
  return init.cgroups.some(line => {
    const above = outer.cgroups.find(each => each !== line && line.startsWith(each))
    const below = above === undefined ? '' : `${line.slice(above.length)}/`
    return tags.some(tag => below.includes(`${tag}/`))
  })
}

function valuesOf(text: string, key: string): string[] {
  const line = new RegExp(`^\\s*${key.replaceAll('.', '\\.')}\\s*=\\s*(\\S.*?)\\s*$`, 'gm')
  return [...text.matchAll(line)].map(([, value = '']) => value)
}

/** What a container has put in the place of a file or a directory is none, and is passed over. */
function below<T>(root: string, path: string, read: (descriptor: number) => T): T | undefined {
  const opened = native().addon.openBelow(root, path)
  if (typeof opened !== 'number') return undefined
  try {
    return read(opened)
  } finally {
    native().addon.closeDescriptors([opened])
  }
}

/** A config is small; one that is not is none. */
const LARGEST = 1 << 20

const readText = (root: string, path: string): string | undefined =>
  below(root, path, descriptor => {
    const info = fstatSync(descriptor)
    return info.isFile() && info.size <= LARGEST ? readFileSync(descriptor, 'utf8') : undefined
  })

const listBelow = (root: string, path: string): string[] =>
  below(root, path, descriptor =>
    fstatSync(descriptor).isDirectory() ? readdirSync(`/proc/self/fd/${descriptor}`).toSorted() : [],
  ) ?? []
