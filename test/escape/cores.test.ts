// A crash inside runs no program of the host. The test sets core_pattern, which is the whole machine's: it runs in one of its own.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { run } from '../../lib/index.ts'
import { makeContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

const own = /User Mode Linux/.test(readFileSync('/proc/cpuinfo', 'utf8'))
const skip = needsRoot || (own ? false : 'sets core_pattern of the machine: the VM lane does')
const PATTERN = '/proc/sys/kernel/core_pattern'

t.test('a crash runs no program of the host, and leaves no file', { skip }, async t => {
  const at = directory(t)
  const handler = join(at, 'handler')
  const told = join(at, 'told')
  writeFileSync(handler, `#!/bin/sh\necho "$1" >> ${told}\n`, { mode: 0o755 })
  const before = readFileSync(PATTERN, 'utf8')
  t.teardown(() => writeFileSync(PATTERN, before))
  const crash = ['sh', '-c', 'ulimit -c unlimited; kill -ABRT $$']
  const handled = async (config: string) => {
    const { container } = await makeContainer(t, { config })
    await container.start()
    t.equal((await container.attach(crash, { reject: false, cwd: '/tmp' })).signal, 'SIGABRT')
    await sleep(500) // the kernel starts it and goes on
    const files = (await container.attach(['sh', '-c', 'ls /tmp'])).stdout
    await container.stop({ force: true })
    const ran = existsSync(told)
    rmSync(told, { force: true })
    return { ran, files }
  }

  writeFileSync(PATTERN, `|${handler} %P`)
  t.strictSame(await handled(''), { ran: false, files: '' })
  t.equal((await run(crash, { reject: false })).signal, 'SIGABRT')
  await sleep(500)
  t.notOk(existsSync(told), 'nor of a sandbox')
  t.match(await handled('lxc.prlimit.core = 0'), { ran: true }, 'control: by 0 it is not held back')

  writeFileSync(PATTERN, 'core')
  t.match(await handled(''), { files: '' })
  t.match(await handled('lxc.prlimit.core = unlimited'), { files: /core/ }, 'control: where it may there is a file')
})
