/**
 * Hooks that are functions of this program: a file is written into the container before its init begins, and its end is noted. No root is
 * needed.
 *
 *   TS_NODE_TRANSPILE_ONLY=1 node --import=@tapjs/typescript/import examples/09-hooks.ts
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Container } from '../lib/index.ts'

const path = mkdtempSync(join(homedir(), 'caisson-hooks-'))
const began = Date.now()

try {
  await using container = await Container.create('hooked', {
    path,
    hooks: {
      'pre-start': [() => console.log('about to start')],
      start: [({ name, pid }) => console.log(`${name} is set up; process ${pid} becomes its init`)],
      'post-stop': [({ name }) => console.log(`${name} has ended after ${Date.now() - began} ms`)],
    },
  })
  // One that throws keeps the container from starting.
  const refusal = container.onHook('mount', () => {
    throw new Error('not today')
  })
  await container.start().catch((error: Error) => console.log(error.message))
  refusal[Symbol.dispose]()

  await container.start({ onNote: note => console.log(`note: ${note}`) })
  console.log((await container.attach(['id'])).stdout.trim())
  await container.stop({ force: true })
  await container.destroy()
} finally {
  rmSync(path, { recursive: true, force: true })
}
