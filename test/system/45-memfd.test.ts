// Where memfds may not be executed (vm.memfd_noexec=2, which each pid namespace has for itself) the monitor's file is run instead.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import t from 'tap'
import { elsewhere } from '../support/elsewhere.ts'
import { needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'

const skip = needsRoot || (existsSync('/proc/sys/vm/memfd_noexec') ? false : 'needs vm.memfd_noexec: Linux 6.3')

t.test('a container under vm.memfd_noexec=2', { skip, timeout: 60_000 }, t => {
  const program = `
    const { readlinkSync, readFileSync } = await import('node:fs')
    const container = await caisson.Container.create('c', ${JSON.stringify({ path: directory(t), rootfs: rootfs(t) })})
    await container.start()
    const stat = readFileSync('/proc/' + (await container.initPid()) + '/stat', 'utf8')
    const monitor = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]
    const { exitCode } = await container.attach(['/probe', 'exit', '0'])
    console.log(exitCode, readlinkSync('/proc/' + monitor + '/exe'))
    await container.destroy({ force: true })`
  const script = 'echo 2 > /proc/sys/vm/memfd_noexec && exec "$@"'
  const said = execFileSync(
    'unshare',
    ['--pid', '--fork', '--mount-proc', 'sh', '-c', script, 'sh', ...elsewhere(program)],
    {
      encoding: 'utf8',
      env: { PATH: process.env.PATH },
    },
  )
  t.match(said, /^0 \/.*\/caisson-monitor$/m)
  t.end()
})
