// Hooks: where and when each runs, what it is told, and what becomes of one that fails or hangs.
import { chmodSync, existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { errorOf, makeContainer, tagOf } from '../support/container.ts'
import { leavesNoTrace, needsRoot } from '../support/host.ts'
import { until } from '../support/until.ts'

const HOST = ['pre-start', 'start-host', 'stop', 'post-stop'] as const
const GUEST = ['pre-mount', 'mount', 'autodev'] as const

/** A hook that appends what it is told to a file that the container's root may write as well. */
function recorder(lxcpath: string): { hook: string; said(): string[][] } {
  const log = join(lxcpath, 'said')
  const hook = join(lxcpath, 'hook')
  writeFileSync(log, '')
  chmodSync(log, 0o666)
  const words = '$# "$@" -- "$PWD" "$(id -u)" "$(readlink /proc/self/ns/mnt)" "$(ls "$LXC_ROOTFS_MOUNT" | tr "\\n" ,)"'
  writeFileSync(hook, `#!/bin/sh\n{ echo HOOK ${words}; env; } >> ${log}\n`, { mode: 0o755 })
  const said = () =>
    readFileSync(log, 'utf8')
      .split('HOOK ')
      .slice(1)
      .map(one => one.trimEnd().split('\n'))
  return { hook, said }
}

/** The first start opens what this process keeps; from then on a container leaves nothing. */
t.before(async () => {
  if (needsRoot) return
  const { container } = await makeContainer(t)
  await container.start()
  await container.destroy({ force: true })
  const pidfds = () => readdirSync('/proc/self/fd').filter(fd => nameOf(fd).includes('pidfd'))
  await until(() => pidfds().length === 0, 'the end of the first is known')
})

function nameOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}

t.test('each at its time and place, told by arguments (A7, A6)', { skip: needsRoot }, async t => {
  const { container, lxcpath, rootfs } = await makeContainer(t, {
    environment: { LD_PRELOAD: '/evil.so', PATH: '/evil', IFS: 'x' },
  })
  const { hook, said } = recorder(lxcpath)
  for (const name of [...HOST, ...GUEST]) container.config.set(`lxc.hook.${name}`, `${hook} "an argument"`)
  writeFileSync(join(rootfs, 'inside'), '#!/bin/sh\necho "$@" "$LXC_NAME" $(cat /proc/1/comm) > /tmp/start\n', {
    mode: 0o755,
  })
  container.config.set('lxc.hook.start', '/inside')
  await leavesNoTrace(
    t,
    async () => {
      await container.start()
      t.match(
        (await container.attach(['cat', '/tmp/start'])).stdout,
        /^c lxc start c memfd:caisson-m\n/,
        'inside, before init',
      )
      await container.stop({ force: true })
      await container.destroy()
    },
    tagOf(lxcpath),
  )
  const all = said()
  t.strictSame(
    all.map(([first]) => first?.split(' -- ')[0]),
    ['pre-start', 'pre-mount', 'mount', 'autodev', 'start-host', 'stop', 'post-stop'].map(name =>
      name === 'stop' ? all.at(-2)?.[0]?.split(' -- ')[0] : `4 an argument c lxc ${name}`,
    ),
  )
  t.match(
    all.at(-2)?.[0],
    /^\d+ an argument c lxc stop user:\/proc\/\d+\/fd\/\d+ mnt:/,
    'the namespaces that init leaves',
  )
  for (const [index, [first = '', ...env]] of all.entries()) {
    const [cwd, uid] = first.split(' -- ')[1]?.split(' ') ?? []
    t.strictSame([cwd, uid], ['/', '0'], `${index}: in /, as root of its side`)
    const names = env
      .map(line => line.split('=')[0] as string)
      .filter(name => !['PWD', 'SHLVL', '_', 'OLDPWD'].includes(name))
    t.strictSame(
      names.filter(name => !/^(PATH|LXC_[A-Z_]+)$/.test(name)),
      [],
      'only documented variables',
    )
    t.ok(env.includes('PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'))
  }
  t.notMatch(all[1]?.[0], 'sbin', 'pre-mount: the root is not there')
  t.match(all[2]?.[0], /bin,.*sbin/, 'mount: it is where LXC_ROOTFS_MOUNT says')
  t.ok(
    all[4]?.some(line => /^LXC_PID=\d+$/.test(line)),
    'start-host knows init',
  )
  t.ok(all.at(-1)?.includes('LXC_TARGET=stop'))
  t.notOk(existsSync('/mnt/probe'), 'the host never sees the root there')
})

t.test('version 1 tells by variables', { skip: needsRoot }, async t => {
  const { container, lxcpath } = await makeContainer(t)
  const { hook, said } = recorder(lxcpath)
  container.config.set('lxc.hook.version', 1).set('lxc.hook.pre-start', hook).set('lxc.hook.stop', hook)
  container.config.set('lxc.environment.hooks', 'MINE=yes')
  await container.start()
  await container.stop({ force: true })
  const [before, after] = said()
  t.match(before?.[0], /^0 -- /)
  for (const line of [
    'LXC_HOOK_TYPE=pre-start',
    'LXC_HOOK_SECTION=lxc',
    'LXC_HOOK_VERSION=1',
    'LXC_NAME=c',
    'MINE=yes',
  ]) {
    t.ok(before?.includes(line), line)
  }
  t.ok(after?.some(line => /^LXC_NET_NS=\/proc\/\d+\/fd\/\d+$/.test(line)))
})

t.test('one that fails ends the start, with its words, and nothing is left', { skip: needsRoot }, async t => {
  const { container, lxcpath, rootfs } = await makeContainer(t)
  const failing = join(lxcpath, 'failing')
  writeFileSync(failing, '#!/bin/sh\necho said to 1; echo "no such luck" >&2; exit 3\n', { mode: 0o755 })
  writeFileSync(join(rootfs, 'failing'), readFileSync(failing), { mode: 0o755 })
  await leavesNoTrace(
    t,
    async () => {
      for (const name of ['pre-start', 'pre-mount', 'mount', 'autodev', 'start-host', 'start'] as const) {
        container.config.clear('lxc.hook').set(`lxc.hook.${name}`, name === 'start' ? '/failing' : failing)
        const error = await errorOf(container.start())
        t.match(
          error,
          { code: 'ERR_TOOL_FAILED', step: `hook.${name}`, message: /exit code 3: said to 1\nno such luck/ },
          name,
        )
      }
      await container.destroy()
    },
    tagOf(lxcpath),
  )
})

t.test('values are words, not shell text', { skip: needsRoot }, async t => {
  const { container, lxcpath } = await makeContainer(t)
  container.config.set('lxc.hook.pre-start', `/bin/true; touch ${lxcpath}/owned $(touch ${lxcpath}/owned)`)
  t.match(await errorOf(container.start()), { code: 'ERR_TOOL_MISSING' }, '"/bin/true;" is the name of no program')
  t.notOk(existsSync(join(lxcpath, 'owned')))
  container.config.clear('lxc.hook.pre-start').set('lxc.hook.pre-start', './relative')
  t.match(await errorOf(container.start()), { code: 'ERR_CONFIG_VALUE', message: /not an absolute path/ })
})
