/** Measuring in turn: every contender once, and again from the start, so that whatever else the machine does hits all alike. */
import { setTimeout as sleep } from 'node:timers/promises'

export interface Contender {
  readonly name: string
  /** Does it once. */
  run(): Promise<unknown>
  /** Takes it back, which is not counted. */
  after?(): Promise<unknown>
}

export interface Series {
  readonly name: string
  /** Milliseconds, sorted. */
  readonly times: readonly number[]
  /** Why it could not be measured. */
  readonly failure?: string
}

export const quantile = (times: readonly number[], q: number): number =>
  times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? Number.NaN
export const median = (times: readonly number[]): number => quantile(times, 0.5)

/** `rounds` of one run of each, with a pause before each run, so that each comes long after its last; a tenth of the rounds, at least two, are not counted. */
export async function inTurn(contenders: readonly Contender[], rounds: number, pause = 0): Promise<Series[]> {
  const times = new Map(contenders.map(({ name }) => [name, [] as number[]]))
  const failures = new Map<string, string>()
  const warm = pause > 0 ? 1 : Math.max(2, Math.floor(rounds / 10))
  for (let round = -warm; round < rounds; round++) {
    for (const { name, run, after } of contenders) {
      if (failures.has(name)) continue
      if (pause > 0) await sleep(pause)
      try {
        const begun = performance.now()
        await run()
        const time = performance.now() - begun
        if (round >= 0) times.get(name)?.push(time)
        await after?.()
      } catch (error) {
        failures.set(name, (error as Error).message.split('\n')[0] as string)
      }
    }
  }
  return contenders.map(({ name }) => {
    const failure = failures.get(name)
    const sorted = (times.get(name) ?? []).sort((a, b) => a - b)
    return failure === undefined ? { name, times: sorted } : { name, times: [], failure }
  })
}

/** Runs as a loop would: bursts of ten of each in turn, back to back or with a pause before each run. */
export async function inBursts(
  contenders: readonly Contender[],
  bursts: number,
  { length = 10, pause = 0 }: { length?: number; pause?: number } = {},
): Promise<Series[]> {
  const each = contenders.map(({ name, run }) => {
    const times: number[] = []
    const burst = async () => {
      for (let i = 0; i <= length; i++) {
        if (pause > 0) await sleep(pause)
        const begun = performance.now()
        await run()
        // The first one of a burst finds the machine as the one before has left it.
        if (i > 0) times.push(performance.now() - begun)
      }
    }
    return { name, times, burst }
  })
  const failures = new Map<string, string>()
  for (let i = 0; i < bursts; i++) {
    for (const { name, burst } of each) {
      if (failures.has(name)) continue
      await burst().catch((error: Error) => failures.set(name, error.message.split('\n')[0] as string))
    }
  }
  return each.map(({ name, times }) => {
    const failure = failures.get(name)
    return failure === undefined ? { name, times: times.sort((a, b) => a - b) } : { name, times: [], failure }
  })
}

/** Milliseconds for `count` runs of which `width` go on at a time. */
export async function atOnce(run: (index: number) => Promise<unknown>, count: number, width: number): Promise<number> {
  let next = 0
  const lane = async () => {
    while (next < count) await run(next++)
  }
  const begun = performance.now()
  await Promise.all(Array.from({ length: width }, lane))
  return performance.now() - begun
}
