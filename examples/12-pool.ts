/** A pool: sandboxes are made ahead, each is used once, and no more than so many at a time. */
import { SandboxPool } from '../lib/index.ts'

await using pool = new SandboxPool({ size: 4, most: 8, network: [{ type: 'empty' }] })
await pool.filled()
console.log(pool.counts)

const jobs = Array.from({ length: 20 }, async (_, i) => {
  const { stdout } = await pool.run(['/bin/sh', '-c', `echo $((${i} * ${i}))`], { timeout: 10_000 })
  return Number(stdout)
})
console.log((await Promise.all(jobs)).join(' '))
