// Each key of a config has its effect in a running container: the rows of test/support/keys.ts, and what takes a story to see.
import { existsSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { host } from '../support/cgroup.ts'
import { startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { showRows, soon } from '../support/rows.ts'

const skip = needsRoot
const layout = host.layout === 'none' ? 'no cgroups here' : false

t.test('keys', { skip }, t => showRows(t, group => group !== 'net'))

/** An init that writes down which signals it gets, and ends at the last of them. */
const LISTENING = `#!/bin/sh
for name in USR1 USR2 HUP; do trap "echo $name >> /tmp/signals" $name; done
trap 'echo WINCH >> /tmp/signals; exit 0' WINCH
echo ready > /tmp/report
while :; do sleep 0.05; done
`

t.test('signals of a config', { skip }, async t => {
  const root = rootfs(t)
  rmSync(join(root, 'sbin/init'))
  writeFileSync(join(root, 'sbin/init'), LISTENING, { mode: 0o755 })
  const config = 'lxc.signal.reboot = SIGUSR1\nlxc.signal.stop = SIGUSR2\nlxc.signal.halt = SIGWINCH\n'
  const { container } = await startContainer(t, { rootfs: root, config })
  await soon(join(root, 'tmp/report'))
  await t.rejects(container.reboot({ timeout: 300 }), { code: 'ERR_TIMEOUT' }, 'this init does not reboot')
  const stopped = container.stop({ force: true })
  await container.stop()
  await stopped
  t.strictSame(readFileSync(join(root, 'tmp/signals'), 'utf8').trim().split('\n'), ['USR1', 'USR2', 'WINCH'])
})

t.test('what the console says is kept', { skip }, async t => {
  const at = directory(t)
  const root = rootfs(t)
  rmSync(join(root, 'sbin/init'))
  const script = 'for i in 1 2 3; do /probe write-stdout 3000; sleep 0.1; done; echo > /tmp/report; exec /probe init'
  writeFileSync(join(root, 'sbin/init'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  const keys = ['console.size = 4096', 'console.rotate = 1', 'console.buffer.size = 4096']
  const lines = [...keys, `console.logfile = ${at}/log`].map(line => `lxc.${line}\n`)
  const { container } = await startContainer(t, { rootfs: root, config: lines.join('') })
  await soon(join(root, 'tmp/report'))
  t.ok((await soon(join(at, 'log'))).length <= 4096, 'the log has its size')
  t.match(await soon(join(at, 'log.1')), /^[a-z]+$/, 'what it held before is beside it')
  t.equal((await container.consoleLog()).length, 4096, 'the buffer has its size')
})

/** Removes a cgroup as soon as the monitor, which tells of its end first, has ended. */
async function removed(place: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return rmdirSync(place)
    } catch (error) {
      if (tries === 2000) throw error
      await sleep(10)
    }
  }
}

t.test('the monitor ends elsewhere', { skip: skip || layout }, async t => {
  const { container } = await startContainer(t, { config: 'lxc.cgroup.dir.monitor.pivot = caisson-pivot\n' })
  const places = host.hierarchies.map(({ mount, base }) => join(mount, base?.path ?? '', 'caisson-pivot'))
  t.notOk(places.some(existsSync), 'while it runs it is not there')
  await container.stop({ force: true })
  const made = places.filter(existsSync)
  t.teardown(async () => {
    for (const place of made) await removed(place)
  })
  t.not(made.length, 0, 'at its end it was')
})
