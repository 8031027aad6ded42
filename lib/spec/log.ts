/** The log of a container (lxc.log.*): where it goes and how much of it. The monitor writes it. */
import path from 'node:path'
import type { Config } from '../config/config.ts'
import { LOG_LEVELS, type SYSLOG_FACILITIES } from '../config/log.ts'
import type { LogSpec } from '../native/spec.ts'

/** syslog(3) */
const FACILITIES: Readonly<Record<(typeof SYSLOG_FACILITIES)[number], number>> = {
  daemon: 3,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
}

/** With lxc.log.level alone the log is NAME.log in the container's directory, as in LXC; with none of the keys there is none. */
export function resolveLog(
  config: Config,
  place: { readonly lxcpath: string; readonly name: string },
): LogSpec | undefined {
  const facility = config.value('lxc.log.syslog')
  const beside = path.join(place.lxcpath, place.name, `${place.name}.log`)
  const file = config.value('lxc.log.file') ?? (facility === undefined && config.has('lxc.log.level') ? beside : '')
  if (file === '' && facility === undefined) return undefined
  const level = LOG_LEVELS.indexOf(config.value('lxc.log.level'))
  return { file, level, ...(facility === undefined ? {} : { facility: FACILITIES[facility] }) }
}

/** A failure from before there was a monitor to write it, in the form of the monitor's lines (addon/monitor/log.cc). */
export function failureLine(name: string, error: Error, now: Date): string {
  const time = now.toISOString().replace(/[-:TZ]/g, '')
  // What is told becomes no line of its own.
  return `caisson ${name} ${time} ERROR    start - ${error.message.replace(/\p{Cc}/gu, ' ')}\n`
}
