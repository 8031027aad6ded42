#!/usr/bin/env node
/** lxc-console(1) */
import { Transform } from 'node:stream'
import { takeTerminal } from '../lib/tools/attached.ts'
import { UsageError } from '../lib/tools/options.ts'
import { defineTool, main, readNumber } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-console',
  containers: 'active',
  lenient: true,
  summary: 'Connects this terminal with the console of a container, or with one of its ttys.',
  options: {
    tty: { short: 't', value: 'N', help: '0: the console; N: ttyN; default -1: the next free tty' },
    escape: { short: 'e', value: 'C', help: 'the key before q that leaves; default ^a, which is Control and a' },
  },
  details: `Leave with Control-a q; Control-a twice types it once. The console begins with what was last written to it, and may have
any number of viewers; a tty has one.`,
  exitCodes: { 0: 'it was left, or the container has ended', 1: 'it does not run, or has no free tty' },
  examples: [
    ['lxc-console web', 'the next free tty'],
    ["lxc-console web -t 0 -e '^b'", 'the console, left with Control-b q'],
  ],
  async run({ options, open }) {
    const leader = readEscape(options.escape ?? '^a')
    const container = await open()
    const tty = options.tty === undefined ? -1 : readNumber(options.tty, 'tty', -1)
    const stream = await container.console({ tty })
    const key = leader < 32 ? `Ctrl+${String.fromCharCode(leader + 96)}` : String.fromCharCode(leader)
    process.stderr.write(
      `\nConnected to ${stream.tty === 0 ? 'the console' : `tty ${stream.tty}`}\nType <${key} q> to exit the console, <${key} ${key}> to enter ${key} itself\n`,
    )
    const keys = readKeys(leader, () => stream.destroy())
    const release = takeTerminal(stream, keys)
    await new Promise(resolve => stream.once('close', resolve))
    release()
    return 0
  },
})

/** What is typed, without the escape; `leave` is called when that was followed by q. */
function readKeys(leader: number, leave: () => void): Transform {
  let escaped = false
  return new Transform({
    transform(chunk: Buffer, _, done) {
      const typed: number[] = []
      for (const key of chunk) {
        if (escaped && key === 'q'.charCodeAt(0)) return leave()
        if (key === leader && !escaped) escaped = true
        else {
          if (escaped && key !== leader) typed.push(leader)
          typed.push(key)
          escaped = false
        }
      }
      done(null, Buffer.from(typed))
    },
  })
}

/** `^a` or `a`. */
function readEscape(text: string): number {
  const [, control, letter] = /^(\^?)([ -~])$/.exec(text) ?? []
  if (letter === undefined) throw new UsageError(`--escape takes a key as ^a or a, not ${text}`)
  return control ? letter.toLowerCase().charCodeAt(0) & 0x1f : letter.charCodeAt(0)
}

main(import.meta, tool)
