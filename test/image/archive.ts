/** Makes tar archives by hand, so that they can hold what no tar program writes. */

export interface Member {
  name: string
  type?: string
  data?: string | Buffer
  linkname?: string
  mode?: number
  uid?: number
  gid?: number
  /** What the header claims, when it is not the length of the data. */
  size?: number | Buffer
  /** pax records that come before it. */
  pax?: Record<string, string>
  magic?: string
  device?: readonly [major: number, minor: number]
}

const octal = (value: number, length: number): string => `${value.toString(8).padStart(length - 1, '0')}\0`

export function header(member: Member): Buffer {
  const block = Buffer.alloc(512)
  const data = Buffer.from(member.data ?? '')
  block.write(member.name, 0, 100)
  block.write(octal(member.mode ?? 0o644, 8), 100)
  block.write(octal(member.uid ?? 0, 8), 108)
  block.write(octal(member.gid ?? 0, 8), 116)
  if (Buffer.isBuffer(member.size)) member.size.copy(block, 124)
  else block.write(octal(member.size ?? data.length, 12), 124)
  block.write(octal(0, 12), 136)
  block.write(member.type ?? '0', 156)
  block.write(member.linkname ?? '', 157, 100)
  block.write(member.magic ?? 'ustar\x0000', 257, 'latin1')
  if (member.device !== undefined) {
    block.write(octal(member.device[0], 8), 329)
    block.write(octal(member.device[1], 8), 337)
  }
  block.write('        ', 148)
  block.write(
    octal(
      block.reduce((sum, byte) => sum + byte, 0),
      7,
    ),
    148,
  )
  return block
}

export function pad(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)])
}

export function paxRecords(records: Record<string, string>): string {
  return Object.entries(records)
    .map(([key, value]) => {
      const rest = Buffer.byteLength(` ${key}=${value}\n`)
      let length = rest + 1
      while (String(length).length + rest !== length) length = String(length).length + rest
      return `${length} ${key}=${value}\n`
    })
    .join('')
}

export function archive(members: readonly Member[], end = true): Buffer {
  const parts = members.flatMap(member => {
    const data = Buffer.from(member.data ?? '')
    const own = [header(member), pad(data)]
    if (member.pax === undefined) return own
    const records = Buffer.from(paxRecords(member.pax))
    return [header({ name: 'PaxHeader', type: 'x', data: records }), pad(records), ...own]
  })
  return Buffer.concat([...parts, ...(end ? [Buffer.alloc(1024)] : [])])
}
