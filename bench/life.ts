/** What is measured besides starting: programs in what runs already, many at once, idle ones, the event loop, the rows of a start. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Container, run, type Sandbox, SandboxPool, sandbox } from '../lib/index.ts'
import { Floor } from './floor.ts'
import { atOnce, type Contender, inBursts, inTurn, median, type Series } from './measure.ts'
import { isInstalled, PEERS, type Place, spawned } from './peers.ts'

const sorted = (times: readonly number[]) => times.toSorted((a, b) => a - b)

async function timed(act: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await act()
  return performance.now() - begun
}

/** A container that runs, which lxc-attach, `crun exec` and we enter. */
interface Running {
  readonly contenders: Contender[]
  stop(): void
}

function runningPeers(place: Place): Running {
  const contenders: Contender[] = []
  const stops: (() => void)[] = []
  const quietly = (...command: [string, ...string[]]) =>
    execFileSync(command[0], command.slice(1), { stdio: 'ignore', timeout: 20_000 })
  if (isInstalled('lxc-attach')) {
    const of = ['-P', place.directory, '-n', 'bench-attach'] as const
    quietly('lxc-start', ...of, '-f', join(place.directory, 'lxc.conf'), '--', '/bin/sleep', '100000')
    stops.push(() => quietly('lxc-stop', ...of, '--rcfile', join(place.directory, 'lxc.conf'), '-k'))
    contenders.push({ name: 'lxc-attach', run: () => spawned(['lxc-attach', ...of, '--', '/bin/true']) })
  }
  if (isInstalled('crun')) {
    const enter = place.hidden === undefined ? [] : ['nsenter', `--mount=/proc/${place.hidden.pid}/ns/mnt`]
    const crun = (...args: string[]) => [...enter, 'crun', ...args] as [string, ...string[]]
    quietly(...crun('run', '--detach', '--bundle', join(place.directory, 'sleeper'), 'bench-exec'))
    stops.push(() => quietly(...crun('delete', '--force', 'bench-exec')))
    contenders.push({ name: 'crun exec', run: () => spawned(crun('exec', 'bench-exec', '/bin/true')) })
  }
  const stop = () => {
    for (const one of stops) one()
  }
  return { contenders, stop }
}

/** A program in what runs already: hot and cold. */
export async function attaching(place: Place, filter: string, container: Container, scaled: (n: number) => number) {
  const pid = await container.initPid()
  const floor = new Floor(['attach', filter, String(pid), '/bin/true'])
  const peers = runningPeers(place)
  await using box = await sandbox({ rootfs: place.rootfs })
  const all: Contender[] = [
    { name: 'floor (C)', run: () => floor.run() },
    { name: 'caisson, attach', run: async () => container.attach(['/bin/true'], { stdio: 'ignore' }) },
    { name: 'caisson, run in a sandbox', run: async () => box.run(['/bin/true'], { stdio: 'ignore' }) },
    ...peers.contenders,
  ]
  try {
    return { hot: await inBursts(all, scaled(6)), cold: await inTurn(all, scaled(20), 200) }
  } finally {
    floor.close()
    peers.stop()
  }
}

export async function freezing(container: Container, rounds: number): Promise<Series[]> {
  const [freezes, thaws] = [[] as number[], [] as number[]]
  for (let round = 0; round < rounds; round++) {
    freezes.push(await timed(() => container.freeze()))
    thaws.push(await timed(() => container.unfreeze()))
  }
  return [
    { name: 'freeze', times: sorted(freezes) },
    { name: 'unfreeze', times: sorted(thaws) },
  ]
}

/** Runs per second with so many at a time. */
export async function throughput(place: Place, filter: string, count: number): Promise<Map<string, number[]>> {
  const floors = Array.from(
    { length: 64 },
    (_, i) => new Floor(['sandbox', filter, place.rootfs, String(1_000_000_000 + i * 65_536), '/bin/true']),
  )
  const free = [...floors]
  let serial = 0
  const ways: Record<string, (index: number) => Promise<unknown>> = {
    'floor (C)': async () => {
      const floor = free.pop() as Floor
      await floor.run()
      free.push(floor)
    },
    caisson: async () => run(['/bin/true'], { rootfs: place.rootfs, stdio: 'ignore' }),
  }
  for (const peer of PEERS.filter(
    ({ name, program }) => ['bubblewrap', 'crun'].includes(name) && isInstalled(program),
  )) {
    ways[peer.name] = () => spawned(peer.command(place, `many-${serial++}`))
  }
  const rates = new Map<string, number[]>()
  try {
    for (const [name, way] of Object.entries(ways)) {
      const row: number[] = []
      for (const width of [1, 8, 64]) {
        await atOnce(way, width, width)
        const best = Math.min(await atOnce(way, count, width), await atOnce(way, count, width))
        row.push((count * 1000) / best)
      }
      rates.set(name, row)
    }
  } finally {
    for (const floor of floors) floor.close()
  }
  return rates
}

export async function handOver(place: Place, rounds: number): Promise<Series> {
  await using pool = new SandboxPool({ rootfs: place.rootfs, size: 4 })
  const times: number[] = []
  for (let i = 0; i < rounds; i++) {
    await pool.filled()
    const begun = performance.now()
    const box = await pool.acquire()
    times.push(performance.now() - begun)
    await box.close()
  }
  return { name: 'caisson', times: sorted(times) }
}

/** Kilobytes of memory that are a process's own share. */
function pssOf(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

export interface Idle {
  readonly count: number
  readonly made: number
  readonly monitor: number
  readonly init: number
  readonly stopped: number
}

export async function idle(place: Place, count: number): Promise<Idle> {
  const begun = performance.now()
  const boxes: Sandbox[] = await Promise.all(Array.from({ length: count }, () => sandbox({ rootfs: place.rootfs })))
  const made = performance.now() - begun
  // Monitors let go of what starting needed after a while.
  await new Promise(resolve => setTimeout(resolve, 3_000))
  const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / count
  const monitor = mean(boxes.map(({ pid }) => pssOf(parentOf(pid))))
  const init = mean(boxes.map(({ pid }) => pssOf(pid)))
  const stopped = await timed(() => Promise.all(boxes.map(box => box.close())))
  return { count, made, monitor, init, stopped }
}

/** The longest pause of the event loop while one sandbox is started and ends, in a process that holds so many bytes. */
export async function blocking(place: Place, bytes: number, rounds: number): Promise<Series> {
  const heap = Array.from({ length: bytes / 2 ** 24 }, () => Buffer.alloc(2 ** 24, 1))
  const pauses: number[] = []
  for (let round = -2; round < rounds; round++) {
    let [last, longest, running] = [performance.now(), 0, true]
    const tick = () => {
      const now = performance.now()
      longest = Math.max(longest, now - last)
      last = now
      if (running) setImmediate(tick)
    }
    setImmediate(tick)
    await run(['/bin/true'], { rootfs: place.rootfs, stdio: 'ignore' })
    running = false
    if (round >= 0) pauses.push(longest)
  }
  return { name: `${(heap.length * 2 ** 24) / 2 ** 20} MiB of buffers`, times: sorted(pauses) }
}

export interface Step {
  readonly step: string
  readonly guest: boolean
  readonly microseconds: number
}

/** The rows of a container's start, each by its median. */
export async function rowsOf(container: Container, rounds: number): Promise<Step[]> {
  const rows = new Map<string, Step & { all: number[] }>()
  for (let round = 0; round < rounds; round++) {
    const trace = await container.start({ command: ['/bin/sleep', '100000'], trace: true })
    for (const [at, { step, guest, nanoseconds }] of trace.entries()) {
      const row = rows.get(`${at} ${step}`) ?? { step, guest, microseconds: 0, all: [] }
      row.all.push(Number(nanoseconds) / 1000)
      rows.set(`${at} ${step}`, row)
    }
    await container.stop({ force: true })
  }
  return [...rows.values()].map(({ step, guest, all }) => ({ step, guest, microseconds: median(sorted(all)) }))
}
