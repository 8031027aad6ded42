/** Ephemeral containers: gone when they stop, whoever sees it, and whatever was killed meanwhile. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Container, recover } from '../../lib/index.ts'
import { placeOf } from '../../lib/store.ts'
import { errorOf, tagOf } from '../support/container.ts'
import { needsRoot, snapshot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot

interface Base {
  readonly lxcpath: string
  readonly base: Container
  readonly rundir: (name: string) => string
}

/** A container to copy, and a look at the host when all is over. */
async function newBase(t: Test, backend: 'dir' | 'overlay' = 'dir'): Promise<Base> {
  const lxcpath = directory(t)
  const base = await Container.create('base', { path: lxcpath, backend })
  t.teardown(async () => {
    await base.destroy({ force: true })
    const tag = tagOf(lxcpath)
    const left = Object.values(snapshot(tag)).flatMap(entries => entries.filter(entry => entry.includes(tag)))
    if (left.length > 0) throw new Error(`left on the host:\n${left.join('\n')}`)
  })
  return { lxcpath, base, rundir: name => placeOf(name, lxcpath).runDir }
}

const say = async (container: Container, command: string): Promise<string> =>
  (await container.attach(['/bin/sh', '-c', command])).stdout.trimEnd()

async function monitorOf(container: Container): Promise<number> {
  const stat = readFileSync(`/proc/${await container.initPid()}/stat`, 'utf8')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

for (const backend of ['dir', 'overlay'] as const) {
  t.test(`a copy of ${backend} is gone when it is stopped, and the base is as it was`, { skip }, async t => {
    const { lxcpath, base, rundir } = await newBase(t, backend)
    const copy = await base.clone('copy', { ephemeral: true })
    t.match(copy.config.get('lxc.rootfs.path'), /^overlay:/, 'what it changes is all that it costs')
    t.equal(copy.config.get('lxc.ephemeral'), '1')
    await copy.start()
    t.equal(await say(copy, 'echo spoilt >/etc/hostname; cat /etc/hostname; id -u'), 'spoilt\n0')
    await copy.stop({ force: true })
    t.strictSame(readdirSync(lxcpath), ['base'])
    t.notOk(existsSync(rundir('copy')))
    t.equal(await copy.state(), 'STOPPED')
    await t.rejects(Container.open('copy', { path: lxcpath }), { code: 'ERR_CONTAINER_NOT_FOUND' })
    await base.start()
    t.equal(await say(base, 'cat /etc/hostname'), 'base')
    await base.stop({ force: true })
    t.notOk((await base.clone('again', { ephemeral: true }).then(c => c.clone('kept'))).config.value('lxc.ephemeral'))
    for (const name of ['kept', 'again']) await (await Container.open(name, { path: lxcpath })).destroy()
  })
}

t.test('a reboot is no end; the end that it makes itself is, and is reported', { skip }, async t => {
  const { lxcpath, base, rundir } = await newBase(t)
  const copy = await base.clone('copy', { ephemeral: true })
  await copy.start()
  await say(copy, 'echo kept >/etc/kept')
  await copy.reboot()
  t.equal(await say(copy, 'cat /etc/kept'), 'kept')
  const ended = copy.exited()
  await copy.attach(['poweroff', '-f'], { reject: false })
  t.match(await ended, { code: 0 })
  t.strictSame(readdirSync(lxcpath), ['base'])
  t.notOk(existsSync(rundir('copy')))
})

t.test('with nobody there to see it, its monitor removes it; recover() takes the rest', { skip }, async t => {
  const { lxcpath, base, rundir } = await newBase(t)
  const copy = await base.clone('copy', { ephemeral: true })
  await copy.start()
  await copy.snapshots.list()
  process.kill((await copy.initPid()) as number, 'SIGKILL')
  await until(() => !existsSync(join(lxcpath, 'copy')), 'it is removed')
  t.ok(existsSync(rundir('copy')), 'the record of its end is all that is left')
  await recover({ path: lxcpath })
  await base.clone('copy', { ephemeral: true }).then(next => next.destroy())
  t.notOk(existsSync(rundir('copy')))
})

t.test('its monitor is killed, with or without the power', { skip }, async t => {
  const { lxcpath, base, rundir } = await newBase(t)
  for (const power of [true, false]) {
    const copy = await base.clone('copy', { ephemeral: true })
    await copy.start()
    process.kill(await monitorOf(copy), 'SIGKILL')
    await until(async () => (await copy.state()) === 'STOPPED', 'it has ended')
    t.ok(existsSync(join(lxcpath, 'copy')), 'nobody was there to remove it')
    if (!power) {
      // With the power go the cgroups and the run directory; what is on disk stays.
      const mark = join(lxcpath, 'copy/ephemeral')
      rmSync(mark)
      await recover({ path: lxcpath })
      t.ok(existsSync(join(lxcpath, 'copy')), 'one that was not started stays')
      rmSync(rundir('copy'), { recursive: true })
      writeFileSync(mark, '')
    }
    const removed = await recover({ path: lxcpath })
    t.equal(removed.at(-1)?.what, 'ephemeral')
    t.strictSame(await recover({ path: lxcpath }), [], 'a second recover() finds nothing')
    t.strictSame(readdirSync(lxcpath), ['base'])
  }
})

t.test('one that ended is not started again; one that could not start stays', { skip }, async t => {
  const { lxcpath, base } = await newBase(t)
  const copy = await base.clone('copy', { ephemeral: true })
  copy.config.set('lxc.init.cmd', '/no/such/init')
  await t.rejects(copy.start())
  t.notOk(existsSync(join(lxcpath, 'copy/ephemeral')))
  t.strictSame(await recover({ path: lxcpath }), [])
  copy.config.clear('lxc.init.cmd')
  await copy.start()
  process.kill(await monitorOf(copy), 'SIGKILL')
  await until(async () => (await copy.state()) === 'STOPPED', 'it has ended')
  const error = await errorOf(copy.start())
  t.match(error, { code: 'ERR_CONTAINER_NOT_FOUND', message: /was ephemeral/ })
  t.notOk(existsSync(join(lxcpath, 'copy')))
})

t.test('changes in memory', { skip }, async t => {
  for (const backend of ['dir', 'overlay'] as const) {
    const { lxcpath, base } = await newBase(t, backend)
    await base.start()
    await say(base, 'echo base >/etc/motd; rm /etc/hosts')
    await base.stop({ force: true })
    const copy = await base.clone('copy', { ephemeral: true, tmpfs: 1024 * 1024 })
    await copy.start()
    t.equal(
      await say(copy, 'cat /etc/motd; ls /etc/hosts 2>/dev/null; echo more >>/etc/motd; cat /etc/motd'),
      'base\nbase\nmore',
    )
    const full = await copy.attach(['dd', 'if=/dev/zero', 'of=/big', 'bs=1M', 'count=2'], { reject: false })
    t.match(full.stderr, /No space left/, `${backend}: no more than it may`)
    t.notOk(existsSync(join(lxcpath, 'copy/overlay/delta/big')), 'nothing reaches the disk')
    await copy.stop({ force: true })
    t.strictSame(readdirSync(lxcpath), ['base'])
    await t.rejects(base.clone('copy', { tmpfs: true }), { code: 'ERR_INVALID_OPTION', hint: /ephemeral/ })
    await t.rejects(base.clone('copy', { ephemeral: true, backend: 'loop', tmpfs: true }), {
      code: 'ERR_INVALID_OPTION',
    })
  }
})

t.test('what it leaves behind is removed and nothing else', { skip }, async t => {
  const { lxcpath, base } = await newBase(t)
  const canary = join(lxcpath, 'canary')
  writeFileSync(canary, 'alive')
  const copy = await base.clone('copy', { ephemeral: true })
  await copy.start()
  await say(
    copy,
    `ln -s ${lxcpath} /out; ln -s ${canary} /canary; mkfifo /pipe; chmod 0 /etc; mkdir /locked; chmod 0 /locked`,
  )
  await say(
    copy,
    'for i in $(seq 40); do mkdir -p d/d/d/d/d/d/d/d/d/d && cd d/d/d/d/d/d/d/d/d/d; done; touch "a b" -- -rf; ls',
  )
  await copy.stop({ force: true })
  t.strictSame(readdirSync(lxcpath).sort(), ['base', 'canary'])
  t.equal(readFileSync(canary, 'utf8'), 'alive')
})
