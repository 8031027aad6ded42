/** Tables and columns of text, and sizes. */
import { UsageError } from './options.ts'

/** Rows with their cells padded to the widest of the column, each followed by a blank as in LXC; an empty cell is `-`. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const filled = rows.map(row => row.map(cell => cell || '-'))
  const widths = (filled[0] ?? []).map((_, at) => Math.max(...filled.map(row => (row[at] ?? '').length)))
  return filled.map(row => row.map((cell, at) => `${cell.padEnd(widths[at] ?? 0)} `).join(''))
}

/** Words in columns, downwards, as ls(1) does. */
export function columns(words: readonly string[], width = 80): string[] {
  const cell = Math.max(...words.map(({ length }) => length)) + 1
  const across = Math.max(1, Math.floor(width / cell))
  const down = Math.ceil(words.length / across)
  return Array.from({ length: down }, (_, line) =>
    words
      .filter((_, index) => index % down === line)
      .map(word => word.padEnd(cell))
      .join('')
      .trimEnd(),
  )
}

/** `512 bytes`, `1.50 KiB`, `2.00 GiB`, as lxc-info writes sizes. */
export function size(bytes: number): string {
  const units = ['KiB', 'MiB', 'GiB']
  let value = bytes
  let unit = 'bytes'
  for (const next of units) {
    if (value < 1024) break
    value /= 1024
    unit = next
  }
  return unit === 'bytes' ? `${bytes} bytes` : `${value.toFixed(2)} ${unit}`
}

const UNITS = 'BKMGTPE'

/** `10G`, `512M`, `100` (which are MiB, as LXC takes them), in bytes. Throws UsageError. */
export function readSize(text: string, option: string): number {
  const [, number, unit = 'M'] = /^(\d+) ?([BKMGTPE])?B?$/i.exec(text) ?? []
  const bytes = Number(number) * 1024 ** UNITS.indexOf(unit.toUpperCase())
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes
  throw new UsageError(`--${option} takes a size as 512M or 10G, not ${text}`)
}
