/** What was wanted of the figures of one run, and what came of it. */
import { median, type Series } from './measure.ts'

export interface Goal {
  readonly what: string
  readonly wanted: string
  readonly got: string
  readonly met: boolean
}

const figure = (value: number) => (value < 10 ? value.toFixed(2) : value.toFixed(0))

/** A ratio of medians, with that of the minimums beside it, which are less at the mercy of what else runs. */
export function ratioGoal(what: string, all: readonly Series[], ours: string, other: string, most: number): Goal[] {
  const find = (name: string) => all.find(one => one.name === name)?.times ?? []
  const [mine, theirs] = [find(ours), find(other)]
  if (mine.length === 0 || theirs.length === 0) return []
  const ratio = median(mine) / median(theirs)
  const least = (mine[0] as number) / (theirs[0] as number)
  const got = `${figure(ratio)} (minimums ${figure(least)})`
  return [{ what: `${what}, × ${other}`, wanted: `≤ ${most}`, got, met: ratio <= most }]
}

export function atMost(what: string, got: number, most: number, unit: string): Goal {
  return { what, wanted: `≤ ${most} ${unit}`, got: `${figure(got)} ${unit}`, met: got <= most }
}

export function atLeast(what: string, got: number, least: number): Goal {
  return { what, wanted: `≥ ${least}`, got: figure(got), met: got >= least }
}

export function goalTable(goals: readonly Goal[]): string {
  const rows = goals.map(({ what, wanted, got, met }) => `| ${what} | ${wanted} | ${got} | ${met ? 'met' : 'missed'} |`)
  return ['## Goals', '', '| | wanted | got | |', '|---|--:|--:|---|', ...rows].join('\n')
}
