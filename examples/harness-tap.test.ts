/** A sandbox for each test, in tap: what was run in it is a comment of a test that failed. `tap examples/harness-tap.test.ts` */
import t, { type Test } from 'tap'
import { inSandbox } from '../lib/harness.ts'

t.test(
  'counts lines',
  inSandbox<Test>({ files: { 'data/lines': 'one\ntwo\nthree\n' } }, async (box, t) => {
    const { stdout } = await box.run(['/bin/sh', '-c', 'wc -l < data/lines'])
    t.equal(stdout.trim(), '3')
  }),
)
