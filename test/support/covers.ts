/** Tries to uncover what a container's /proc and /sys hide: by the prober inside, looked at from the host. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Container } from '../../lib/index.ts'

export interface Cover {
  readonly point: string
  /** What hides it, and not only makes it read-only. */
  readonly masks: boolean
}

/** The mounts below /proc and /sys that hide something or forbid writing, as the host sees them. */
export function coversOf(init: number): Cover[] {
  const mounts = readFileSync(`/proc/${init}/mountinfo`, 'utf8').trimEnd().split('\n')
  return mounts.flatMap(line => {
    const [, , , , point = '', options = '', ...rest] = line.split(' ')
    const type = rest[rest.indexOf('-') + 1] as string
    const kernels = type === 'proc' || type === 'sysfs'
    if (!/^\/(proc|sys)\/./.test(point) || type === 'cgroup2') return []
    return kernels && !options.split(',').includes('ro') ? [] : [{ point, masks: !kernels }]
  })
}

/** What a file holds, or the names in a directory; how much the kernel says differs from one moment to the next. */
function contentOf(path: string): string {
  return statSync(path).isDirectory() ? readdirSync(path).join(' ') : readFileSync(path, 'utf8')
}

/** Files that hold nothing on this host prove nothing, and some of them give what they hold only once. */
const CANARIES = [
  '/proc/interrupts',
  '/proc/kallsyms',
  '/proc/acpi',
  '/proc/iomem',
  '/sys/firmware',
  '/sys/kernel/slab',
]

export function canariesOf(covers: readonly Cover[]): string[] {
  const hidden = covers.filter(({ masks }) => masks).map(({ point }) => point)
  return CANARIES.filter(point => hidden.includes(point) && contentOf(point) !== '')
}

export async function uncover(container: Container, covers: readonly Cover[]): Promise<Record<string, string[]>> {
  const { stdout } = await container.attach(['/probe', 'uncover', ...covers.map(({ point }) => point)])
  const ways = JSON.parse(stdout) as Record<string, string[]>
  return Object.fromEntries(Object.entries(ways).filter(([, shown]) => shown.length > 0))
}

export const initOf = async (container: Container) => (await container.initPid()) as number
export const seenBy = (init: number, point: string) => contentOf(join(`/proc/${init}/root`, point))

/** Tries all ways, and looks from the host. Returns the ways that showed something. */
export async function attack(t: Test, container: Container): Promise<Record<string, string[]>> {
  const init = await initOf(container)
  const covers = coversOf(init)
  t.ok(covers.length > 15, `covers: ${covers.length}`)
  const canaries = canariesOf(covers)
  t.ok(canaries.length > 0, `what the host can read: ${canaries.join(' ')}`)
  const ways = await uncover(container, covers)
  t.strictSame(coversOf(init), covers, 'the host sees all covers where they were')
  for (const point of canaries) t.equal(seenBy(init, point), '', `nothing is to be read at ${point}`)
  return ways
}
