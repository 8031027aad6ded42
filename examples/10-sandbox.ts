/** Untrusted code in a sandbox: what it printed, why it ended, what it used. `sudo node examples/10-sandbox.ts` */
import { run, sandbox } from '../lib/index.ts'

const hello = await run(['/bin/sh', '-c', 'echo "I am $(id -un), alone with $(ls -d /proc/[0-9]* | wc -l) processes"'])
console.log(hello.stdout.trim(), hello.usage)

const endless = await run(['/bin/sh', '-c', 'while :; do :; done'], { timeout: 200, reject: false })
console.log('timed out:', endless.timedOut)

const bomb = await run(['/bin/sh', '-c', 'f() { f | f & }; f; sleep 1'], {
  timeout: 500,
  limits: { pids: 32 },
  reject: false,
})
console.log('pids limit hit:', bomb.pidsLimitHit)

await using box = await sandbox({ limits: { memory: '64M' } })
await box.files.write('/tmp/job.sh', 'for i in 1 2 3; do echo "step $i"; done\n')
for await (const line of box.run(['/bin/sh', '/tmp/job.sh'])) console.log(line)
