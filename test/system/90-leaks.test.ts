// Many times over, and nothing is left: 300 starts and stops, 1,000 attaches, and sixteen containers at once.
import t from 'tap'
import { Container } from '../../lib/index.ts'
import { startContainer, tagOf } from '../support/container.ts'
import { leavesNoTrace, needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'

const skip = needsRoot

t.test('300 starts and stops leave the host as it was', { skip, timeout: 240_000 }, async t => {
  const { container, lxcpath } = await startContainer(t)
  await container.stop()
  await new Promise(resolve => setTimeout(resolve, 500)) // the first monitor's own end is no part of what is compared
  await leavesNoTrace(
    t,
    async () => {
      for (let cycle = 0; cycle < 300; cycle++) {
        await container.start()
        await container.stop()
      }
    },
    tagOf(lxcpath),
  )
  t.match(await container.exited(), { code: 0 })
})

t.test('1,000 attaches leave the host and the container as they were', { skip, timeout: 240_000 }, async t => {
  const { container, lxcpath } = await startContainer(t)
  await container.attach(['/probe', 'exit', '0'])
  const before = (await container.stats()).pids.current
  await leavesNoTrace(
    t,
    async () => {
      for (let turn = 0; turn < 125; turn++) {
        await Promise.all(Array.from({ length: 8 }, () => container.attach(['/probe', 'exit', '0'])))
      }
    },
    tagOf(lxcpath),
  )
  t.equal((await container.stats()).pids.current, before)
})

t.test('sixteen at once', { skip, timeout: 120_000 }, async t => {
  const lxcpath = directory(t)
  const root = rootfs(t)
  await leavesNoTrace(
    t,
    async () => {
      const names = Array.from({ length: 16 }, (_, index) => `c${index}`)
      const containers = await Promise.all(names.map(name => Container.create(name, { path: lxcpath, rootfs: root })))
      const ranges = containers.map(container => container.config.value('lxc.idmap')[0]?.host)
      t.equal(new Set(ranges).size, 16, 'each has ids of its own')
      await Promise.all(containers.map(container => container.start()))
      t.strictSame(
        (await Container.list({ path: lxcpath, state: 'active' })).map(({ name }) => name),
        names.toSorted(),
      )
      await Promise.all(containers.map(container => container.stop()))
      await Promise.all(containers.map(container => container.destroy()))
    },
    tagOf(lxcpath),
  )
})
