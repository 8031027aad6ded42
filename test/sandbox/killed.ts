// Started by sandbox.test.ts to be killed: sandboxes of several kinds, and on standard output the number of their session. With "always"
// some are begun and others end all the time.
import { readdirSync, readlinkSync } from 'node:fs'
import { run, SandboxPool, sandbox } from '../../dist/index.js'

const box = await sandbox()
const forks = ['/bin/sh', '-c', 'trap "" TERM; (setsid sleep 1000 &); sleep 1000 & wait']
const all = [run(forks), run(['/bin/sleep', '1000']), box.run(forks)]
await Promise.all(all.map(one => new Promise(resolve => one.once('spawn', () => resolve(undefined)))))
const opened = readdirSync('/proc/self/fd').flatMap(fd => {
  try {
    return [readlinkSync(`/proc/self/fd/${fd}`)]
  } catch {
    return []
  }
})
console.log(/caisson\/([0-9a-f]{8})\/sandboxes/.exec(opened.join())?.[1])

const ways = [
  () => run(['/bin/sh', '-c', 'setsid sleep 1000 & exit 0'], { limits: { memory: '64M' } }),
  () => run(['/bin/true'], { bind: ['/usr/bin'], tmpfs: ['/x'] }),
  () => box.run(['/bin/sh', '-c', 'setsid sleep 1000 & exit 0'], { limits: { pids: 9 } }),
  () => pool.run(['/bin/true']),
]
const pool = new SandboxPool({ size: 2 })
for (const way of process.argv[2] === 'always' ? ways : []) {
  void (async () => {
    for (;;) await way()
  })()
}
