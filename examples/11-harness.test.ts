/** A sandbox for each test, in node:test: `node --test examples/11-harness.test.ts` */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inSandbox } from '../lib/harness.ts'

const files = { 'greet.sh': 'echo "hello, $1"\n' }

test(
  'greets',
  inSandbox({ files, limits: { memory: '64M' } }, async box => {
    assert.equal((await box.run(['/bin/sh', 'greet.sh', 'world'])).stdout, 'hello, world\n')
  }),
)

test(
  'has no network',
  inSandbox({}, async box => {
    assert.equal((await box.run(['/bin/sh', '-c', 'ls /sys/class/net 2>/dev/null | wc -l'])).stdout.trim(), '0')
  }),
)
