/**
 * What the host looks like from outside all containers, so that a test can say: it is as it was.
 *
 * Names that carry the tag of another lxcpath (`caisson.<name>.<tag>`, `/run/caisson/<tag>/…`) are left out when a tag is
 * given, since other tests may be running on the same machine.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

export type Host = Readonly<Record<string, readonly string[]>>

/** The reason to skip what only root can do, or false. */
export const needsRoot: string | false = process.geteuid?.() === 0 ? false : 'needs root'

/** Of root and of who has XDG_RUNTIME_DIR, or below /tmp of who has not; then the tag of the lxcpath. */
const RUN_DIRECTORY = /\/caisson(?:-\d+)?\/([0-9a-f]{8})/

const read = (path: string): string => attempt(() => readFileSync(path, 'utf8'), '')
const list = (path: string): string[] => attempt(() => readdirSync(path), [])
const target = (path: string): string => attempt(() => readlinkSync(path), '')
const lines = (path: string): string[] => read(path).split('\n').filter(Boolean)

/** What is looked at may go away while it is being looked at. */
function attempt<T>(look: () => T, otherwise: T): T {
  try {
    return look()
  } catch {
    return otherwise
  }
}

/** proc(5): the mount's id, parent and peer group differ from boot to boot and say nothing here. */
function mounts(): string[] {
  return lines('/proc/self/mountinfo').map(line => {
    const [, , , root, point] = line.split(' ')
    const [type, source] = line.slice(line.indexOf(' - ') + 3).split(' ')
    return `${point} (${type} ${source}${root === '/' ? '' : ` ${root}`})`
  })
}

function links(): string[] {
  return list('/sys/class/net').map(name => `${name} #${read(`/sys/class/net/${name}/ifindex`).trim()}`)
}

function cgroups(directory = '/sys/fs/cgroup'): string[] {
  const below = attempt(() => readdirSync(directory, { withFileTypes: true }), [])
  return below.flatMap(entry => {
    if (!entry.isDirectory()) return []
    const path = join(directory, entry.name)
    return [path, ...cgroups(path)]
  })
}

function loops(): string[] {
  return list('/sys/block')
    .map(name => [name, read(`/sys/block/${name}/loop/backing_file`).trim()] as const)
    .filter(([, file]) => file !== '')
    .map(([name, file]) => `${name} ${file}`)
}

function runRoots(): string[] {
  return ['/run/caisson', ...list('/tmp').flatMap(name => (/^caisson-\d+$/.test(name) ? [`/tmp/${name}`] : []))]
}

function tree(directory: string): string[] {
  const below = attempt(() => readdirSync(directory, { recursive: true }), [])
  return below.map(name => join(directory, String(name)))
}

interface Process {
  readonly pid: number
  readonly parent: number
  readonly name: string
}

function processes(): Process[] {
  return list('/proc').flatMap(pid => {
    const stat = /^(\d+) \((.*)\) (\S) (\d+)/s.exec(read(`/proc/${pid}/stat`))
    return stat
      ? [{ pid: Number(stat[1]), parent: Number(stat[4]), name: `${stat[2]}${stat[3] === 'Z' ? ' (zombie)' : ''}` }]
      : []
  })
}

/**
 * All that descends from this process, and monitors whose starter has ended, of the run directory with the tag where there is one: those of
 * others are theirs.
 */
function relatives(tag = ''): string[] {
  const all = processes()
  const family = new Set([process.pid])
  for (let before = 0; before !== family.size; ) {
    before = family.size
    for (const { pid, parent } of all) if (family.has(parent)) family.add(pid)
  }
  family.delete(process.pid)
  return (
    all
      // run from a memfd, its name is the memfd's; its first argument is its own
      .filter(
        ({ pid, parent }) =>
          family.has(pid) ||
          (parent === 1 &&
            read(`/proc/${pid}/cmdline`).startsWith('caisson-monitor') &&
            runDirectory(pid).includes(tag)),
      )
      .map(({ pid, name }) => `${pid} ${name} ${runDirectory(pid)}`.trimEnd())
  )
}

function runDirectory(pid: number): string {
  const opened = list(`/proc/${pid}/fd`).map(fd => target(`/proc/${pid}/fd/${fd}`))
  return opened.find(path => RUN_DIRECTORY.test(path)) ?? ''
}

function descriptors(): string[] {
  return list('/proc/self/fd').flatMap(fd => {
    const path = target(`/proc/self/fd/${fd}`)
    return path === '' || path.endsWith('/fd') ? [] : [`${fd} ${path}`]
  })
}

function profiles(): string[] {
  return lines('/sys/kernel/security/apparmor/profiles').filter(line => line.includes('caisson'))
}

/** Looks at everything. `tag` is the 8 hexadecimal digits of the test's own lxcpath. */
export function snapshot(tag?: string): Host {
  const seen = {
    mounts: mounts(),
    links: links(),
    cgroups: cgroups(),
    loops: loops(),
    // Compiled filters are kept, for who needs the same.
    run: runRoots()
      .flatMap(tree)
      .filter(path => !/\/filters(\/|$)/.test(path)),
    processes: relatives(tag),
    descriptors: descriptors(),
    profiles: profiles(),
  }
  const ours = (line: string) => {
    const other = /caisson\.[^/ ]*\.([0-9a-f]{8})\b/.exec(line) ?? RUN_DIRECTORY.exec(line)
    return tag === undefined || other === null || other[1] === tag
  }
  return Object.fromEntries(Object.entries(seen).map(([what, entries]) => [what, entries.filter(ours).sort()]))
}

/** What may go by itself: the monitor of an earlier test, the descriptor that waits for its end, and cgroups of whoever else is here. */
const isMortal = (what: string, entry: string) =>
  what === 'processes' || what === 'descriptors' || (what === 'cgroups' && !/caisson|lxc/.test(entry))

/** What came and what went, a line each: `+ cgroups: /sys/fs/cgroup/…`. */
export function differences(before: Host, after: Host): string[] {
  return Object.keys(after).flatMap(what => {
    const [old = [], now = []] = [before[what], after[what]]
    return [
      ...now.filter(entry => !old.includes(entry)).map(entry => `+ ${what}: ${entry}`),
      ...old.filter(entry => !isMortal(what, entry) && !now.includes(entry)).map(entry => `- ${what}: ${entry}`),
    ]
  })
}

/**
 * Fails when, some seconds after `body`, the host is not as it was before. The wait is for what the kernel and the
 * monitors finish after the promise has settled; how long they take is no part of the assertion.
 */
export async function leavesNoTrace(t: Test, body: () => Promise<void>, tag?: string): Promise<void> {
  const before = snapshot(tag)
  await body()
  let left = differences(before, snapshot(tag))
  for (let tries = 0; left.length > 0 && tries < 200; tries++) {
    await sleep(100)
    left = differences(before, snapshot(tag))
  }
  t.strictSame(left, [], 'the host is as it was')
}
