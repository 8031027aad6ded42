/** A sandbox for each test, in vitest: `npx vitest run examples/harness-vitest.test.mjs` */

import { inSandbox } from 'caisson/harness'
import { expect, test } from 'vitest'

test(
  'sorts',
  inSandbox({ files: { names: 'b\na\n' } }, async box => {
    const { stdout } = await box.run(['/bin/sh', '-c', 'sort names'])
    expect(stdout).toBe('a\nb\n')
  }),
)
