#!/usr/bin/env node
/** lxc-top(1) */
import type { Container } from '../lib/container.ts'
import { ContainerError } from '../lib/errors.ts'
import { UsageError, type Values } from '../lib/tools/options.ts'
import { refresh } from '../lib/tools/screen.ts'
import { defineTool, main } from '../lib/tools/tool.ts'

const OPTIONS = {
  delay: { short: 'd', value: 'SEC', help: 'seconds from one look to the next; default 3' },
  batch: { short: 'b', help: 'lines for a file or a program instead of a screen, until it is interrupted' },
  sort: {
    short: 's',
    value: 'KEY',
    words: ['n', 'c', 'b', 'm', 's', 'k'],
    help: 'by n: name, c: processor time, b: bytes read and written, m: memory, s: memory and swap, k: memory of the kernel; default n',
  },
  reverse: { short: 'r', help: 'the other way round: the most first' },
} as const

export const tool = defineTool({
  name: 'lxc-top',
  summary: 'Shows what the running containers use, again and again.',
  named: false,
  options: OPTIONS,
  details: `On a terminal the letters of --sort sort anew, r turns the order round, q ends.

A line of --batch has, with commas between: the time in milliseconds since 1970, the name, processor time in nanoseconds, of the
system and of users in hundredths of a second, bytes and operations of block devices, bytes of memory, of memory and swap, of kernel
memory.`,
  exitCodes: { 0: 'it was ended', 1: 'there is no terminal, and no --batch' },
  examples: [
    ['lxc-top -s m -r', 'those that use the most memory first'],
    ['lxc-top -b -d 10 >>usage.csv', 'a line for each container every ten seconds'],
  ],
  async run({ options, lxcpath, say }) {
    const { Container: Containers } = await import('../lib/container.ts')
    const seconds = readDelay(options.delay ?? '3')
    const order = readOrder(options)
    const look = async () => {
      const all = await Containers.list({ state: 'active', ...(lxcpath === undefined ? {} : { path: lxcpath }) })
      return (await Promise.all(all.map(measure))).flat()
    }
    if (options.batch) {
      await refresh(seconds, async () => {
        for (const use of sort(await look(), order)) say(batchLine(use))
      })
      return 0
    }
    if (!process.stdin.isTTY || !process.stdout.isTTY)
      throw new UsageError('the screen needs a terminal: --batch writes lines')
    const press = (key: string) => {
      if (key === 'r') order.reverse = !order.reverse
      else if (key in KEYS) order.key = key as Key
      return key === 'q' ? 'end' : 'again'
    }
    await refresh(seconds, async ({ rows }) => drawLines(sort(await look(), order), rows), press)
    return 0
  },
})

/** What one container uses: nanoseconds, ticks of 1/100 s, bytes. */
interface Use {
  readonly name: string
  readonly cpu: number
  readonly system: number
  readonly user: number
  readonly reads: number
  readonly writes: number
  readonly operations: number
  readonly memory: number
  readonly swapped: number
  readonly kernel: number
}

/** Nothing for one that has just ended, or that has no cgroup of its own. */
async function measure(container: Container): Promise<Use[]> {
  try {
    const { cpu, memory, io } = await container.stats()
    const operations = Object.values(io.devices).reduce((sum, { readOps, writeOps }) => sum + readOps + writeOps, 0)
    return [
      {
        name: container.name,
        cpu: cpu.usageUsec * 1000,
        system: Math.floor(cpu.systemUsec / 10_000),
        user: Math.floor(cpu.userUsec / 10_000),
        reads: io.readBytes,
        writes: io.writeBytes,
        operations,
        memory: memory.current,
        swapped: memory.swap === undefined ? 0 : memory.current + memory.swap,
        kernel: memory.kernel ?? 0,
      },
    ]
  } catch (error) {
    if (error instanceof ContainerError) return []
    throw error
  }
}

const KEYS = {
  n: () => 0,
  c: (use: Use) => use.cpu,
  b: (use: Use) => use.reads + use.writes,
  m: (use: Use) => use.memory,
  s: (use: Use) => use.swapped,
  k: (use: Use) => use.kernel,
} as const
type Key = keyof typeof KEYS

interface Order {
  key: Key
  reverse: boolean
}

function sort(uses: readonly Use[], { key, reverse }: Order): Use[] {
  const sorted = uses.toSorted((a, b) => KEYS[key](a) - KEYS[key](b) || (a.name < b.name ? -1 : 1))
  return reverse ? sorted.reverse() : sorted
}

const batchLine = ({ name, cpu, system, user, reads, writes, operations, memory, swapped, kernel }: Use) =>
  [Date.now(), name, cpu, system, user, reads + writes, operations, memory, swapped, kernel].join(',')

/** The screen: a head of two lines, as many containers as fit, and their sum. */
function drawLines(uses: readonly Use[], rows: number): string[] {
  const sum = (of: (use: Use) => number) => uses.reduce((total, use) => total + of(use), 0)
  const shown = uses.slice(0, Math.max(0, rows - 4))
  const total: Use = {
    name: `TOTAL ${shown.length} of ${uses.length}`,
    cpu: sum(use => use.cpu),
    system: sum(use => use.system),
    user: sum(use => use.user),
    reads: sum(use => use.reads),
    writes: sum(use => use.writes),
    operations: 0,
    memory: sum(use => use.memory),
    swapped: sum(use => use.swapped),
    kernel: sum(use => use.kernel),
  }
  const more = [...(total.swapped > 0 ? ['MemSw'] : []), ...(total.kernel > 0 ? ['KMem'] : [])]
  const head = (name: string, cpu: readonly string[], io: string, last: readonly string[]) =>
    `\x1b[7m\x1b[1m${name.padEnd(18)}${cpu.map(word => word.padStart(13)).join('')}${io.padStart(37)}${last
      .map(word => word.padStart(11))
      .join('')}\x1b[0m`
  return [
    head('Container', ['CPU', 'CPU', 'CPU'], 'BlkIO', ['Mem', ...more]),
    head('Name', ['Used', 'Sys', 'User'], 'Total(Read/Write)', ['Used', ...more.map(() => 'Used')]),
    ...shown.map(use => line(use, total)),
    line(total, total),
  ]
}

function line(use: Use, total: Use): string {
  const cpu = [use.cpu / 1e9, use.system / 100, use.user / 100].map(seconds => seconds.toFixed(2).padStart(13))
  const io = `${amount(use.reads + use.writes)}(${amount(use.reads)}/${amount(use.writes)})`
  const more = [...(total.swapped > 0 ? [use.swapped] : []), ...(total.kernel > 0 ? [use.kernel] : [])]
  const memory = [use.memory, ...more].map(bytes => amount(bytes).padStart(11))
  return `${use.name.slice(0, 18).padEnd(18)}${cpu.join('')}${io.padStart(37)}${memory.join('')}`
}

/** `1.50 MiB`; less than a KiB as `512.00   `, so that numbers stand below each other. */
function amount(bytes: number): string {
  const units = ['  ', 'KiB', 'MiB', 'GiB']
  const at = Math.min(3, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)))
  return `${(bytes / 1024 ** at).toFixed(2)} ${units[at]}`
}

function readDelay(text: string): number {
  const seconds = Number(text)
  if (text.trim() !== '' && seconds >= 0.1 && seconds <= 1e6) return seconds
  throw new UsageError(`--delay takes seconds from 0.1 on, not ${text}`)
}

function readOrder({ sort: text = 'n', reverse }: Values<typeof OPTIONS>): Order {
  if (text in KEYS) return { key: text as Key, reverse: reverse ?? false }
  throw new UsageError(`--sort takes one of ${Object.keys(KEYS).join(', ')}, not ${text}`)
}

main(import.meta, tool)
