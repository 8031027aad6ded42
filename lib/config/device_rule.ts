/** Device rules of `devices.allow` and `devices.deny`: `a`, or `TYPE MAJOR:MINOR ACCESS`. cgroup-v1/devices.rst */
import { type Kind, quote } from './kinds.ts'
import { mistake } from './mistake.ts'

/** Major and minor -1 are `*`. */
export interface DeviceRule {
  readonly type: 'a' | 'b' | 'c'
  readonly major: number
  readonly minor: number
  readonly access: string
}

/** `a` alone is every device; given to `deny` it starts a list of what is allowed, given to `allow` one of what is not. */
export const deviceRule: Kind<DeviceRule, string> = {
  describe: '"a" for all, or TYPE MAJOR:MINOR ACCESS: c 1:3 rwm, b *:* m',
  verbatim: true,
  parse(text) {
    if (/^a(\s+\*:\*\s+rwm)?$/.test(text)) return { type: 'a', major: -1, minor: -1, access: 'rwm' }
    const match = /^([abc])\s+([0-9]+|\*):([0-9]+|\*)\s+([rwm]{1,3})$/.exec(text)
    if (match === null) throw mistake(`${quote(text)} is not a device rule`, 'write for example "c 1:3 rwm"')
    const [, type, major, minor, access] = match as unknown as [string, DeviceRule['type'], string, string, string]
    return { type, major: number(major, 4095), minor: number(minor, 1048575), access: [...new Set(access)].join('') }
  },
  print: ({ type, major, minor, access }) =>
    `${type} ${[major, minor].map(part => (part < 0 ? '*' : part)).join(':')} ${access}`,
}

/** Device numbers have 12 and 20 bits, linux/kdev_t.h. */
function number(text: string, most: number): number {
  if (text === '*') return -1
  if (Number(text) > most) throw mistake(`${quote(text)} is not a device number: the highest is ${most}`)
  return Number(text)
}
