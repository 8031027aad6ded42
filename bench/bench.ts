/**
 * `npm run bench`: caisson, its floor and its peers, in turn, in one run, from one Node program. Writes bench/RESULTS.md and bench/start.svg.
 * Needs root; on a quiet machine it takes about five minutes. `--quick` takes a fifth of the samples.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { profileFilter } from '../lib/filter.ts'
import { Container, run } from '../lib/index.ts'
import { watchPivots } from '../test/support/lxc_pivot.ts'
import { Floor } from './floor.ts'
import { atLeast, atMost, type Goal, goalTable, ratioGoal } from './goals.ts'
import { attaching, blocking, freezing, handOver, type Idle, idle, rowsOf, type Step, throughput } from './life.ts'
import { type Contender, inBursts, inTurn, median, type Series } from './measure.ts'
import { isInstalled, makePlace, PEERS, type Place, spawned } from './peers.ts'
import { chart, machine, table } from './report.ts'

const quick = process.argv.includes('--quick')
const scaled = (count: number) => (quick ? Math.max(3, Math.ceil(count / 5)) : count)

const FLOOR = 'floor (C)'
const OURS = 'caisson'
const HOST_VIEW = 'caisson (host view)'
const CONTAINER = 'caisson, container'
const CONTAINER_FLOOR = 'floor (C) of a container'

/** What one run has measured, and what it says. */
class Report {
  readonly parts: string[] = []
  readonly goals: Goal[] = []

  add(...parts: readonly string[]): void {
    this.parts.push(...parts)
    console.log(parts.join('\n\n'), '\n')
  }
}

let serial = 0

/** Where the filters are that the floor loads: those of run() and of containers. */
interface Filters {
  readonly app: string
  readonly system: string
}

async function starting(place: Place, filters: Filters, container: Container, report: Report): Promise<void> {
  const floor = new Floor(['sandbox', filters.app, place.rootfs, '1000000000', '/bin/true'])
  const whole = new Floor(['start', filters.system, place.rootfs, '1000065536', '/bin/true'])
  const all: Contender[] = [
    { name: FLOOR, run: () => floor.run() },
    { name: OURS, run: async () => run(['/bin/true'], { rootfs: place.rootfs }) },
    { name: HOST_VIEW, run: async () => run(['/bin/true']) },
    ...PEERS.filter(peer => isInstalled(peer.program)).map(peer => ({
      name: peer.name,
      run: () => spawned(peer.command(place, String(serial++))),
    })),
    { name: CONTAINER_FLOOR, run: () => whole.run() },
    { name: CONTAINER, run: async () => container.execute(['/bin/true'], { stdio: 'ignore' }) },
  ]
  const hot = await inBursts(all, scaled(6))
  report.add(table('Start to exit, back to back', hot))
  const cold = await inBursts(all, scaled(5), { length: 4, pause: 200 })
  report.add(table('Start to exit, 200 ms apart', cold))
  report.add(table('Start to exit, seconds after the last of its kind', await inTurn(all, scaled(20), 200)))
  floor.close()
  whole.close()
  judge(report.goals, 'hot', hot, [0.45, 0.5, 0.2])
  judge(report.goals, 'cold', cold, [0.25, 0.3, 0.15])
  writeFileSync(new URL('start.svg', import.meta.url), chart('Start to exit of /bin/true, back to back', hot))
}

function judge(goals: Goal[], when: string, all: readonly Series[], [crun, lxc, runc]: readonly number[]): void {
  goals.push(...ratioGoal(`run(), ${when}`, all, OURS, FLOOR, 1.25))
  goals.push(...ratioGoal(`run(), ${when}`, all, OURS, 'bubblewrap', 1))
  goals.push(...ratioGoal(`run(), ${when}`, all, OURS, 'crun', crun as number))
  goals.push(...ratioGoal(`run(), ${when}`, all, OURS, 'lxc-execute', lxc as number))
  goals.push(...ratioGoal(`run(), ${when}`, all, OURS, 'runc', runc as number))
  goals.push(...ratioGoal(`execute() of a container, ${when}`, all, CONTAINER, CONTAINER_FLOOR, 2))
}

async function inside(place: Place, filters: Filters, container: Container, report: Report): Promise<void> {
  await container.start({ command: ['/bin/sleep', '100000'] })
  try {
    const { hot, cold } = await attaching(place, filters.system, container, scaled)
    report.add(table('A program in what runs already, back to back', hot))
    report.add(table('A program in what runs already, 200 ms apart', cold))
    report.goals.push(...ratioGoal('attach, hot', hot, 'caisson, attach', FLOOR, 1.5))
    report.goals.push(...ratioGoal('attach, cold', cold, 'caisson, attach', FLOOR, 1.5))
    report.goals.push(...ratioGoal('attach, cold', cold, 'caisson, attach', 'lxc-attach', 0.2))
    report.add(table('Freeze and thaw of a container', await freezing(container, scaled(50))))
  } finally {
    await container.stop({ force: true })
  }
}

async function many(place: Place, filters: Filters, report: Report): Promise<void> {
  const rates = await throughput(place, filters.app, scaled(200))
  const rows = [...rates].map(([name, row]) => `| ${name} | ${row.map(rate => rate.toFixed(0)).join(' | ')} |`)
  report.add(
    [
      '## Throughput: runs per second, the better of two rounds',
      '',
      '| | 1 at once | 8 | 64 |',
      '|---|--:|--:|--:|',
      ...rows,
    ].join('\n'),
  )
  const [floor, ours] = [rates.get(FLOOR)?.[1] ?? Number.NaN, rates.get(OURS)?.[1] ?? Number.NaN]
  report.goals.push(atLeast('throughput with 8 at once, × floor (C)', ours / floor, 0.8))
  const pool = await handOver(place, scaled(50))
  report.add(table('A pool hands over a sandbox', [pool]))
  report.goals.push(atMost('pool hand-over', median(pool.times), 1, 'ms'))
}

async function waiting(place: Place, report: Report): Promise<void> {
  const rows: Idle[] = [await idle(place, scaled(100)), await idle(place, scaled(500))]
  const lines = rows.map(
    row =>
      `| ${row.count} | ${row.made.toFixed(0)} | ${row.monitor.toFixed(0)} | ${row.init.toFixed(0)} | ${row.stopped.toFixed(0)} |`,
  )
  const head = '| | all running, ms | PSS of a monitor, KiB | of an init | all stopped, ms |\n|---|--:|--:|--:|--:|'
  report.add(['## Idle sandboxes', '', head, ...lines].join('\n'))
  const [hundred, most] = rows as [Idle, Idle]
  report.goals.push(atMost(`a monitor's memory, ${most.count} idle`, most.monitor, 120, 'KiB'))
  report.goals.push(atMost(`stopping ${hundred.count}`, hundred.stopped, 150, 'ms'))
  const [small, large] = [await blocking(place, 0, scaled(40)), await blocking(place, 2 ** 30, scaled(40))]
  report.add(table('The longest pause of the event loop in one run()', [small, large]))
  report.goals.push(atMost('event loop held up by a start, 1 GiB held', median(large.times), 2, 'ms'))
}

function rowTable(steps: readonly Step[]): string {
  const rows = steps
    .filter(({ microseconds }) => microseconds >= 1)
    .map(
      ({ step, guest, microseconds }) => `| ${step} | ${guest ? 'inside' : 'outside'} | ${microseconds.toFixed(0)} |`,
    )
  const sum = steps.reduce((all, { microseconds }) => all + microseconds, 0)
  const head = '| row | side | median µs |\n|---|---|--:|'
  return [
    "## A container's start by the rows of its schedule",
    '',
    head,
    ...rows,
    `| all | | ${sum.toFixed(0)} |`,
  ].join('\n')
}

async function measure(directory: string, report: Report): Promise<void> {
  const filters = { app: join(directory, 'app.bpf'), system: join(directory, 'system.bpf') }
  writeFileSync(filters.app, profileFilter('app').program)
  writeFileSync(filters.system, profileFilter('system').program)
  const place = await makePlace(directory)
  const container = await Container.create('bench', { path: join(directory, 'lxc'), rootfs: place.rootfs })
  try {
    await starting(place, filters, container, report)
    await inside(place, filters, container, report)
    await many(place, filters, report)
    await waiting(place, report)
    report.add(rowTable(await rowsOf(container, scaled(20))))
  } finally {
    place.hidden?.stdin?.end()
    await container.destroy({ force: true })
  }
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'caisson-bench-'))
  chmodSync(directory, 0o755) // the floor's mapped root has to pass
  const report = new Report()
  const facts = machine()
  const removePivots = watchPivots()
  try {
    await measure(directory, report)
    const goals = goalTable(report.goals)
    console.log(goals)
    const intro = `# Results\n\nWritten by \`npm run bench\`${quick ? ' with `--quick`' : ''}; docs/performance.md says what is measured and why.\n\n${facts}`
    const text = [intro, goals, ...report.parts, '![start to exit](start.svg)'].join('\n\n')
    writeFileSync(new URL('RESULTS.md', import.meta.url), `${text}\n`)
  } finally {
    rmSync(directory, { recursive: true, force: true })
    await removePivots()
  }
}

await main()
