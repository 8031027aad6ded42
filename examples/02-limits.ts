/** Limits, from the start and live, and what happens to who wants more. Without root it needs a cgroup of one's own: docs/rootless.md */
import { Container } from '../lib/index.ts'

const MiB = 1024 * 1024
const box = await Container.create('limits', { limits: { memory: '64M', swap: false, cpu: 0.5, pids: 20 } })
try {
  await box.start()
  const { memory, pids } = await box.stats()
  console.log(
    `memory ${Math.round(memory.current / MiB)} of ${(memory.max ?? 0) / MiB} MiB, processes ${pids.current} of ${pids.max}`,
  )

  const fork = await box.attach(['sh', '-c', 'for i in $(seq 30); do sleep 1 & done'], { reject: false })
  console.log(fork.stderr.trim().split('\n').at(-1))

  const greedy = await box.attach(['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=200M', 'count=1'], { reject: false })
  console.log('200 MiB at once: ended by', greedy.signal)

  await box.limit({ memory: '128M' }) // at once, and kept in its config
  console.log('now at most', ((await box.stats()).memory.max ?? 0) / MiB, 'MiB')
} finally {
  await box.destroy({ force: true })
}
