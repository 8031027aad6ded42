/** Programs of the host: what they write is not lost, however late its reader comes. */
import { text } from 'node:stream/consumers'
import t from 'tap'
import { findProgram, runProgram, startProgram } from '../lib/native/program.ts'
import { until } from './support/until.ts'

t.test('what a program wrote before it ended waits for its reader', async t => {
  for (const size of [5, 60_000, 300_000]) {
    const program = startProgram('head', ['-c', String(size), '/dev/zero'])
    if (size < 65_536) await program.done
    t.equal((await text(program.stdout as never)).length, size)
    await program.done
  }
})

t.test('a program whose output nobody wants can be ended', async t => {
  const program = startProgram('cat', ['/dev/zero'])
  await until(() => program.stdout?.readableLength, 'it prints')
  program.kill()
  await t.rejects(program.done, { code: 'ERR_TOOL_FAILED', message: /killed by SIGKILL/ })
})

t.test('failures are told with the last words, and what is missing with its package', async t => {
  await t.rejects(runProgram('sh', ['-c', 'echo so >&2; exit 3']), { code: 'ERR_TOOL_FAILED', message: /code 3: so/ })
  t.equal((await runProgram('sh', ['-c', 'exit 3'], { accept: [3] })).code, 3)
  t.throws(() => findProgram('no-such-program'), { code: 'ERR_TOOL_MISSING', hint: /install/ })
  const signal = AbortSignal.timeout(20)
  await t.rejects(runProgram('sleep', ['60'], { signal }), { code: 'ERR_ABORTED' })
})
