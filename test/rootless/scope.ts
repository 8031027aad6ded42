// Run by an ordinary user (test/support/user.ts) who has a user manager: each container gets a scope of its own, and it goes with the container.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseMembership, readCgroups } from '../../lib/host/cgroups.ts'
import { findUserScope } from '../../lib/host/user_scope.ts'
import { Container, recover } from '../../lib/index.ts'
import { until } from '../support/until.ts'

const path = join(process.env.HOME as string, 'lxc')
const container = await Container.create('c', { path })
t.teardown(() => container.destroy({ force: true }).catch(() => undefined))

const cgroupOf = (pid: number) => parseMembership(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).get('') as string
const monitorOf = (pid: number) => Number(/^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
const SCOPE =
  /^(\/.*\/manager\/app\.slice\/(caisson\.c\.[0-9a-f]{8}-[0-9a-f]{8}\.scope))\/caisson\.c\.[0-9a-f]{8}(\/|$)/

async function where(): Promise<{ pid: number; scope: string; unit: string }> {
  const pid = (await container.initPid()) as number
  const [, scope = '', unit = ''] = SCOPE.exec(cgroupOf(pid)) ?? []
  t.not(unit, '', cgroupOf(pid))
  return { pid, scope: `/sys/fs/cgroup${scope}`, unit }
}

const gone = (file: string) => until(() => !existsSync(file), `${file} is gone`)

const systemctl = (...words: string[]) => execFileSync('systemctl', ['--user', ...words], { encoding: 'utf8' })

t.test('started, it is in a scope that is delegated, and so is its monitor', async t => {
  await container.start()
  const { pid, scope, unit } = await where()
  t.match(cgroupOf(monitorOf(pid)), /\.scope\/caisson\.c\.[0-9a-f]{8}\.monitor$/)
  t.notMatch(cgroupOf(process.pid), '.scope', 'this program stays where it is')
  t.match(systemctl('show', '-p', 'ActiveState', unit), 'ActiveState=active')
  t.match(systemctl('show', '-p', 'Delegate', unit), 'Delegate=yes')
  t.ok(existsSync(scope))
  t.equal((await container.attach(['echo', 'alive'])).stdout, 'alive\n')
  await container.freeze()
  t.match(readFileSync(`/sys/fs/cgroup${cgroupOf(pid)}/cgroup.events`, 'utf8'), 'frozen 1')
  await container.unfreeze()
  await container.cgroup.set('cgroup.max.depth', '9')
  t.equal(await container.cgroup.get('cgroup.max.depth'), '9')
})

t.test('rebooted, it is in the same', async t => {
  const before = await where()
  await container.reboot()
  await until(
    async () => (await container.initPid()) !== before.pid && (await container.state()) === 'RUNNING',
    'it runs again',
  )
  t.equal((await where()).unit, before.unit)
})

t.test('it ends with the container', async t => {
  const { scope, unit } = await where()
  await container.stop({ force: true })
  t.ok(await gone(scope), 'its cgroup')
  t.notMatch(systemctl('list-units', '--all', '*.scope'), unit)
  await container.start()
  t.not((await where()).unit, unit, 'and the next start has another')
})

t.test('nothing is left of a killed monitor', async t => {
  const { pid, scope } = await where()
  process.kill(monitorOf(pid), 'SIGKILL')
  t.ok(await gone(`/proc/${pid}`))
  await recover({ path })
  t.ok(await gone(scope))
})

t.test('E-G6 no name becomes a property of a unit', async t => {
  const scope = await findUserScope(readCgroups(), 'caisson.odd name\nDelegate=no.1')
  t.match(await scope?.enter(process.pid).catch((error: Error) => error), {
    code: 'ERR_NO_CGROUP',
    step: 'scope.enter',
    message: /invalid|not valid/i,
  })
  t.notMatch(cgroupOf(process.pid), '.scope', 'control: where() above has found the honest ones')
})

t.test('without a manager that answers, the delegated subtree is taken', async t => {
  process.env.DBUS_SESSION_BUS_ADDRESS = 'unix:path=/nowhere'
  t.teardown(() => delete process.env.DBUS_SESSION_BUS_ADDRESS)
  t.equal(await findUserScope(readCgroups(), 'caisson.c.1'), undefined)
  await container.start()
  const place = cgroupOf((await container.initPid()) as number)
  t.notMatch(place, '.scope')
  t.match(place, /^\/caisson-user[^/]*\/caisson\.c\./)
  await container.stop({ force: true })
  t.equal(await findUserScope(readCgroups(), 'caisson.c.1', {}), undefined, 'without XDG_RUNTIME_DIR nobody is asked')
})
