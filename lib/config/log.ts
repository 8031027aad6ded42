/** Words of `lxc.log.*`. */
import { didYouMean, type Kind, quote } from './kinds.ts'
import { mistake } from './mistake.ts'

/** From everything to almost nothing; the index is LXC's number. */
export const LOG_LEVELS = ['TRACE', 'DEBUG', 'INFO', 'NOTICE', 'WARN', 'ERROR', 'CRIT', 'ALERT', 'FATAL'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** A level by name, in any case, or by number. */
export const logLevel: Kind<
  LogLevel,
  LogLevel | Lowercase<LogLevel> | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | `${number}`
> = {
  describe: `a number from 0 to 8 or one of ${LOG_LEVELS.join(', ')}`,
  words: LOG_LEVELS,
  parse(text) {
    const level = /^[0-9]$/.test(text) ? LOG_LEVELS[Number(text)] : LOG_LEVELS.find(name => name === text.toUpperCase())
    if (level === undefined)
      throw mistake(`${quote(text)} is not a log level`, didYouMean(text.toUpperCase(), LOG_LEVELS))
    return level
  },
  print: value => value,
}

/** Facilities of syslog(3) that LXC knows. */
export const SYSLOG_FACILITIES = [
  'daemon',
  'local0',
  'local1',
  'local2',
  'local3',
  'local4',
  'local5',
  'local6',
  'local7',
] as const
