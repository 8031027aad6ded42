/**
 * Text and bytes of a config file, without loss.
 *
 * Bytes that are not UTF-8 (old comments in Latin-1) become lone surrogates, U+DC80 to U+DCFF, and are written back as
 * they were. PEP 383 does the same.
 */

/** The text of bytes. */
export function decode(bytes: Buffer): string {
  const text = bytes.toString('utf8')
  if (!text.includes('\ufffd') || Buffer.from(text).equals(bytes)) return text
  let decoded = ''
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at)
    decoded +=
      length === 0 ? String.fromCharCode(0xdc00 + (bytes[at] as number)) : bytes.toString('utf8', at, at + length)
    at += Math.max(length, 1)
  }
  return decoded
}

/** How many bytes the character at `at` has; 0 when it is none. */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at] as number
  const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0
  const character = bytes.subarray(at, at + length)
  return character.length === length && Buffer.from(character.toString('utf8')).equals(character) ? length : 0
}

/** The bytes of a text. */
export function encode(text: string): Buffer {
  if (!/[\udc80-\udcff]/.test(text)) return Buffer.from(text)
  const pieces = text.split(/(?<![\ud800-\udbff])([\udc80-\udcff])/)
  return Buffer.concat(
    pieces.map((piece, i) => (i % 2 === 1 ? Buffer.of(piece.charCodeAt(0) & 0xff) : Buffer.from(piece))),
  )
}
