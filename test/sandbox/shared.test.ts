/** On a host whose mounts are shared, as systemd has them: what is mounted inside is not mounted on the host. In a mount namespace of its own. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { run } from '../../lib/index.ts'
import { makeContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

const mounts = () => readFileSync('/proc/self/mountinfo', 'utf8')

if (process.env.CAISSON_SHARED === '1') {
  t.test('B16: a sandbox on a host whose mounts are shared', async t => {
    t.match(mounts(), /shared:/, 'control: what is mounted here is mounted there')
    const place = directory(t)
    writeFileSync(join(place, 'file'), 'F')
    const before = mounts()
    let during = ''
    const program = run(['/bin/sh', '-c', 'cat /bin/true; echo; read x'], {
      bind: [{ source: join(place, 'file'), target: '/bin/true' }],
      tmpfs: ['/usr/share'],
    })
    for await (const line of program) {
      t.equal(line, 'F')
      during = mounts()
      program.stdin?.end('\n')
    }
    t.equal(during, before)
    t.equal(mounts(), before)
    t.equal((await run(['/bin/true'])).exitCode, 0)
  })
  t.test('B16: a container on a host whose mounts are shared', async t => {
    const place = directory(t)
    const below = join(place, 'below')
    mkdirSync(below)
    const { container } = await makeContainer(t, {
      mounts: [
        { source: place, target: '/mnt', create: 'dir' },
        { source: 'tmpfs', target: '/mnt/below', type: 'tmpfs' },
      ],
    })
    const before = mounts()
    await container.start()
    t.equal(mounts(), before)
    t.notMatch(mounts(), below)
    await container.stop({ force: true })
    t.equal(mounts(), before)
  })
} else {
  const self = [process.execPath, ...process.execArgv, fileURLToPath(import.meta.url)]
  const env = { ...process.env, CAISSON_SHARED: '1' }
  if (needsRoot) t.test('shared mounts', { skip: needsRoot }, async () => undefined)
  else t.spawn('unshare', ['-m', '--propagation', 'shared', ...self], { env }, 'shared mounts')
}
