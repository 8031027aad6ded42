// Started by load.test.ts with a thread pool of one thread: it is never free while a sandbox lives.
import { pbkdf2 } from 'node:crypto'
import { run, sandbox } from '../../dist/index.js'

let free = false
pbkdf2('a', 'b', 1e9, 64, 'sha512', () => {
  free = true
})
const { stdout } = await run(['/bin/cat'], { input: 'one ' })
await using box = await sandbox()
const inside = await box.run(['/bin/sh', '-c', 'echo two'])
const terminal = await run(['/bin/echo', 'three'], { tty: true })
console.log(`${stdout}${inside.stdout.trim()} ${terminal.stdout.trim()}, free: ${free}`)
