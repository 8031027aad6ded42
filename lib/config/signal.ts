/** Signals, by number, name (`SIGTERM`, in any case) or distance (`SIGRTMIN+3`, `SIGRTMAX-1`). signal(7) */
import { constants } from 'node:os'
import { didYouMean, type Kind, quote, whole } from './kinds.ts'
import { mistake } from './mistake.ts'

/** The kernel's real-time signals less the two that glibc keeps for itself; musl keeps three but numbers them alike. */
const RTMIN = 34
const RTMAX = 64
const number = whole(0, RTMAX)

/** `SIGCLD`, `SIGPOLL`, … are other names of signals that node lists. */
const NUMBERS: Readonly<Record<string, number>> = { ...constants.signals, SIGCLD: 17, SIGPOLL: 29 }

/** Of two names for a number, the first that node lists, as its own child processes have it: SIGABRT, not SIGIOT. */
const NAMES = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, value]) => [value, name]),
)

/** What ended a process, by name; real-time signals have none but their number, SIG34 to SIG64. */
export const signalName = (value: number): NodeJS.Signals => (NAMES.get(value) ?? `SIG${value}`) as NodeJS.Signals

/** The number of what signalName() has named. */
export const numberOfSignal = (name: NodeJS.Signals): number => constants.signals[name] ?? Number(name.slice(3))

export type SignalInput = NodeJS.Signals | `SIGRTMIN+${number}` | `SIGRTMAX-${number}` | number | `${number}`

/** A signal number, 0 (no signal) to 64. */
export const signal: Kind<number, SignalInput> = {
  describe: 'a signal: a number, SIGNAME, SIGRTMIN+N or SIGRTMAX-N',
  words: Object.keys(NUMBERS),
  parse(value) {
    if (/^[0-9]/.test(value)) return number.parse(value)
    const name = value.toUpperCase()
    const realTime = /^SIGRT(MIN\+|MAX-)([0-9]+)$/.exec(name)
    if (realTime !== null) return realTimeSignal(value, realTime[1] === 'MIN+', Number(realTime[2]))
    const found = NUMBERS[name]
    if (found !== undefined) return found
    const hint = NUMBERS[`SIG${name}`] === undefined ? didYouMean(name, Object.keys(NUMBERS)) : `write "SIG${name}"`
    throw mistake(`${quote(value)} is not a signal`, hint)
  },
  print: String,
}

function realTimeSignal(value: string, fromLeast: boolean, distance: number): number {
  if (distance > RTMAX - RTMIN) throw mistake(`${quote(value)} is not a signal`, 'there are 31 real-time signals')
  return fromLeast ? RTMIN + distance : RTMAX - distance
}
