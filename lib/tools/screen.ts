/** A look at something, repeated: as lines that go on, or as a screen that is drawn anew. */
import { setTimeout as sleep } from 'node:timers/promises'

interface Size {
  readonly rows: number
}

/**
 * Looks every so many seconds until it is ended by a signal, or by a key whose `press` answers 'end'. With `press` what a look gives is
 * drawn on the terminal in place of the last, and looked at anew after each key.
 */
export async function refresh(
  seconds: number,
  look: (size: Size) => Promise<readonly string[] | undefined>,
  press?: (key: string) => 'end' | 'again',
): Promise<void> {
  const ended = new AbortController()
  let woken = new AbortController()
  const end = () => {
    ended.abort()
    woken.abort()
  }
  const onKeys = (text: string) => {
    // Without a terminal's own keys: raw mode gives Control-C as a character.
    for (const key of text) if (key === '\x03' || press?.(key) === 'end') return end()
    woken.abort()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end)
  if (press !== undefined) process.stdin.setRawMode(true).setEncoding('utf8').on('data', onKeys)
  try {
    while (!ended.signal.aborted) {
      woken = new AbortController()
      const lines = await look({ rows: process.stdout.rows ?? 24 })
      if (lines !== undefined) process.stdout.write(`\x1b[H\x1b[J${lines.join('\n')}\n`)
      if (ended.signal.aborted) break
      await sleep(seconds * 1000, undefined, { signal: woken.signal }).catch(ifWoken)
    }
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, end)
    if (press !== undefined) process.stdin.setRawMode(false).off('data', onKeys).pause()
  }
}

function ifWoken(error: Error): void {
  if (error.name !== 'AbortError') throw error
}
