// Keys whose effect is seen over a container's life, beyond one running moment: what runs when, and what is left.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Container, recover } from '../../lib/index.ts'
import { errorOf, makeContainer, startContainer, tagOf } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { monitorOf, tool } from '../support/life.ts'
import { directory, rootfs } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot

/** A program of the host that writes down how it was called. */
function recorder(at: string, name: string): { hook: string; said(): string[] } {
  const [hook, log] = [join(at, `hook-${name}`), join(at, `said-${name}`)]
  const words =
    '"$@" "$LXC_NAME" "$LXC_SRC_NAME" "$LXC_HOOK_TYPE" "$(ls "$LXC_ROOTFS_MOUNT" 2>&1 | grep -c probe)" "$FROM_CONFIG"'
  writeFileSync(hook, `#!/bin/sh\nIFS='|'; set -- ${words}; echo "$*" >> ${log}\n`, { mode: 0o755 })
  return { hook, said: () => (existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : []) }
}

t.test('lxc.execute.cmd', { skip }, async t => {
  const { container } = await makeContainer(t, { config: 'lxc.execute.cmd = /bin/echo "one word" two\n' })
  t.match(await container.execute(), { stdout: 'one word two\n', exitCode: 0 })
  t.match(await container.execute(['/bin/echo', 'other']), { stdout: 'other\n' }, 'a command that is given comes first')
  container.config.clear('lxc.execute.cmd')
  t.throws(() => container.execute(), { code: 'ERR_INVALID_OPTION', hint: /lxc.execute.cmd/ })
})

t.test('lxc.hook.clone and lxc.hook.destroy', { skip }, async t => {
  for (const version of [0, 1]) {
    const at = directory(t)
    const [clone, destroy] = [recorder(at, 'clone'), recorder(at, 'destroy')]
    const lines = [`clone = ${clone.hook} "an argument"`, `destroy = ${destroy.hook}`, `version = ${version}`]
    const config = [...lines.map(line => `lxc.hook.${line}\n`), 'lxc.environment.hooks = FROM_CONFIG=yes\n'].join('')
    const { container, lxcpath } = await makeContainer(t, { config })
    const copy = await container.clone('copy', { hookArguments: ['more'] })
    const told = version === 0 ? ['an argument', 'copy', 'lxc', 'clone'] : ['an argument']
    t.strictSame(clone.said(), [[...told, 'more', 'copy', 'c', version === 0 ? '' : 'clone', '1', 'yes'].join('|')])
    await copy.destroy()
    const end = version === 0 ? ['copy', 'lxc', 'destroy', 'copy', ''] : ['copy', '']
    t.strictSame(destroy.said(), [[...end, version === 0 ? '' : 'destroy', '0', 'yes'].join('|')])
    container.config.clear('lxc.hook.destroy').set('lxc.hook.destroy', '/bin/false')
    t.match(await errorOf(container.destroy()), { code: 'ERR_TOOL_FAILED', message: /lxc.hook.destroy/ })
    t.ok(existsSync(join(lxcpath, 'c/config')), 'a hook that fails keeps the container')
    container.config
      .clear('lxc.hook.destroy')
      .clear('lxc.hook.clone')
      .set('lxc.hook.clone', `/bin/true; touch ${at}/owned`)
    await container.config.save()
    t.match(await errorOf(container.clone('evil')), { code: 'ERR_TOOL_FAILED', message: /true;: not found/ })
    t.notOk(existsSync(join(at, 'owned')), 'a value is words, not shell text')
    t.strictSame(readdirSync(lxcpath), ['c'], 'and nothing is left of the copy')
  }
})

t.test('lxc.rootfs.managed', { skip }, async t => {
  const { container, lxcpath } = await makeContainer(t)
  const { config } = container
  // A logical volume that there is not: whoever wants to remove it fails, and keeps the container.
  config.set('lxc.rootfs.path', 'lvm:/dev/no-such-group/c')
  t.match(await errorOf(container.destroy()), { code: /^ERR_TOOL_/, message: /lvremove/ }, 'by default it is ours')
  t.ok(existsSync(join(lxcpath, 'c/config')))
  config.set('lxc.rootfs.managed', 0)
  await container.destroy()
  t.notOk(existsSync(join(lxcpath, 'c')), 'storage that is not ours is left alone')
})

t.test('lxc.ephemeral runs lxc.hook.destroy', { skip }, async t => {
  const at = directory(t)
  const { hook, said } = recorder(at, 'destroy')
  const lines = `lxc.ephemeral = 1\nlxc.hook.destroy = ${hook}\nlxc.environment.hooks = FROM_CONFIG=yes\n`
  const gone = (lxcpath: string) => !existsSync(join(lxcpath, 'c'))
  const told = 'c|lxc|destroy|c|||0|yes'

  const alone = await makeContainer(t, { config: lines })
  t.match(tool(alone.lxcpath, 'start', 'c'), { status: 0, stderr: '' })
  const { container } = alone
  process.kill((await container.initPid()) as number, 'SIGKILL')
  await until(() => gone(alone.lxcpath), 'its monitor removes it')
  t.strictSame(said(), [told], 'with no Node process there')
  // The record of its end is there until somebody looks after the monitor has gone.
  const record = `/run/caisson/${tagOf(alone.lxcpath)}`
  await until(async () => (await recover({ path: alone.lxcpath })) && !existsSync(record), 'the record is removed')

  const killed = await startContainer(t, { config: lines })
  process.kill(await monitorOf(killed.container), 'SIGKILL')
  await until(async () => (await killed.container.state()) === 'STOPPED', 'it ends with its monitor')
  t.match((await recover({ path: killed.lxcpath })).at(-1), { what: 'ephemeral' })
  t.strictSame(said(), [told, told], 'after a crash')

  const failing = await startContainer(t, { config: 'lxc.ephemeral = 1\nlxc.hook.destroy = /bin/false\n' })
  t.match(await errorOf(failing.container.stop({ force: true })), { code: 'ERR_TOOL_FAILED', message: /destroy/ })
  t.notOk(gone(failing.lxcpath), 'a hook that fails keeps it')
  failing.container.config.clear('lxc.hook.destroy')
  await failing.container.config.save()
  await recover({ path: failing.lxcpath })
  t.ok(gone(failing.lxcpath), 'until it goes well')
})

t.test('lxc.start.auto, lxc.start.order, lxc.start.delay, lxc.group', { skip }, async t => {
  const lxcpath = directory(t)
  const log = join(lxcpath, 'started')
  const hook = join(lxcpath, 'hook')
  writeFileSync(hook, `#!/bin/sh\necho "$LXC_NAME $(date +%s%N)" >> ${log}\n`, { mode: 0o755 })
  const define = async (name: string, lines: string) => {
    const container = await Container.create(name, {
      path: lxcpath,
      rootfs: rootfs(t),
      config: `lxc.hook.start-host = ${hook}\n${lines}`,
    })
    t.teardown(() => container.destroy({ force: true }))
  }
  await define('a', 'lxc.start.auto = 1\nlxc.start.order = 20\nlxc.start.delay = 0\nlxc.group = onboot web\n')
  await define('b', 'lxc.start.auto = 1\nlxc.start.order = -10\nlxc.start.delay = 2\nlxc.group = onboot\n')
  await define('c', 'lxc.start.auto = 1\nlxc.group = web\n')
  await define('d', 'lxc.start.auto = 0\nlxc.group = onboot web\n')
  await define('e', 'lxc.start.auto = 1\n')
  const started = (...args: string[]): string[] => {
    rmSync(log, { force: true })
    t.match(tool(lxcpath, 'autostart', ...args), { status: 0, stderr: '' })
    return existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []
  }
  const names = (lines: readonly string[]) => lines.map(line => line.split(' ')[0])
  t.equal(
    tool(lxcpath, 'autostart', '-L', '-a').stdout,
    'b 2\nc 0\ne 0\na 0\n',
    'all that start by themselves, in order',
  )
  t.strictSame(names(started()), ['e'], 'without a group: those of none')
  const onboot = started('-g', 'onboot')
  t.strictSame(names(onboot), ['b', 'a'], 'a group: by order, without those that do not start by themselves')
  const [first, second] = onboot.map(line => BigInt(line.split(' ')[1] as string)) as [bigint, bigint]
  t.ok(second - first >= 2_000_000_000n, 'after b comes its delay')
  t.strictSame(names(started('-g', 'web')), ['c'], 'what runs already is left alone')
  t.strictSame(names(started('-A', '-g', 'onboot')), ['d'], '--ignore-auto')
  t.equal(tool(lxcpath, 'autostart', '-k', '-a', '-A').status, 0)
  t.strictSame(names(started('-g', 'web,onboot,')), ['c', 'a', 'b', 'e'], 'group by group')
})
