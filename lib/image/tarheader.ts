/** One 512-byte header of a tar file, and the records of a pax header, read strictly (tar(5), pax(1)). */
import { ContainerError } from '../errors.ts'

export interface TarHeader {
  readonly name: string
  readonly linkname: string
  /** The typeflag character. */
  readonly type: string
  readonly size: number
  /** Old GNU sparse files: the size with holes; else 0. */
  readonly realSize: number
  /** Old GNU sparse files: more of the map follows. */
  readonly extended: boolean
}

/** Parses a header; undefined for the block of zeros that ends an archive. Throws ERR_IMAGE. */
export function parseHeader(block: Buffer): TarHeader | undefined {
  if (block.every(byte => byte === 0)) return undefined
  if (!checksumHolds(block)) throw damaged('a header with a wrong checksum')
  const type = String.fromCharCode(block[156] as number)
  const gnu = block.toString('latin1', 257, 265) === 'ustar  \0'
  const ustar = !gnu && block.toString('latin1', 257, 262) === 'ustar'
  const prefix = ustar ? field(block, 345, 155) : ''
  const name = field(block, 0, 100)
  const sparse = gnu && type === 'S'
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkname: field(block, 157, 100),
    type,
    size: number(block, 124, 12),
    realSize: sparse ? number(block, 483, 12) : 0,
    extended: sparse && block[482] === 1,
  }
}

/** The records of a pax header, `<length> <key>=<value>\n`; a key that comes twice is refused. */
export function parsePax(data: Buffer): Map<string, string> {
  const records = new Map<string, string>()
  let at = 0
  while (at < data.length) {
    const space = data.indexOf(0x20, at)
    const digits = space === -1 ? '' : data.toString('latin1', at, space)
    const length = /^[1-9]\d{0,8}$/.test(digits) ? Number(digits) : 0
    const end = at + length
    const equals = data.indexOf(0x3d, space)
    if (length < 5 || end > data.length || equals === -1 || equals >= end || data[end - 1] !== 0x0a) {
      throw damaged('a pax header that is no list of records')
    }
    const key = data.toString('utf8', space + 1, equals)
    // Several maps of a sparse file (GNU format 0.0) repeat these two keys by design.
    const repeated = key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes'
    if (records.has(key) && !repeated) throw damaged(`a pax header with two "${key}"`)
    records.set(key, data.toString('utf8', equals + 1, end - 1))
    at = end
  }
  return records
}

/** The sum of all bytes with the checksum field as blanks; old programs added signed bytes. */
function checksumHolds(block: Buffer): boolean {
  let unsigned = 8 * 0x20
  let signed = unsigned
  for (let i = 0; i < 512; i++) {
    if (i >= 148 && i < 156) continue
    const byte = block[i] as number
    unsigned += byte
    signed += byte < 128 ? byte : byte - 256
  }
  const stored = number(block, 148, 8)
  return stored === unsigned || stored === signed
}

function field(block: Buffer, at: number, length: number): string {
  const bytes = block.subarray(at, at + length)
  const end = bytes.indexOf(0)
  return bytes.toString('utf8', 0, end === -1 ? length : end)
}

/** An octal number, or GNU's base-256 where the first bit is set; negative and huge ones are refused. */
function number(block: Buffer, at: number, length: number): number {
  const first = block[at] as number
  let value = 0
  if (first >= 0x80) {
    if (first !== 0x80) throw damaged('a header with a negative number')
    for (let i = 1; i < length; i++) value = value * 256 + (block[at + i] as number)
  } else {
    const digits = field(block, at, length).trim()
    if (!/^[0-7]*$/.test(digits)) throw damaged(`a header with the number "${digits}"`)
    value = digits === '' ? 0 : Number.parseInt(digits, 8)
  }
  if (!Number.isSafeInteger(value)) throw damaged('a header with a number out of range')
  return value
}

function damaged(what: string): ContainerError {
  return new ContainerError('ERR_IMAGE', `Cannot unpack archive: ${what}`, { step: 'image.scan' })
}
