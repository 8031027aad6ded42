// Containers start with the host and are shut down with it: the units and the init script of examples/autostart, run as systemd and init do.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Container } from '../../lib/index.ts'
import { hasProgram } from '../../lib/native/program.ts'
import { needsRoot } from '../support/host.ts'
import { project } from '../support/life.ts'
import { directory } from '../support/rootfs.ts'
import { until } from '../support/until.ts'

const skip = needsRoot
const examples = join(project, 'examples/autostart')

/** A host of a test: the tools, which look in an lxcpath of its own, and containers whose starts and ends are written down. */
class Host {
  readonly at: string
  readonly lxcpath: string
  readonly #log: string
  constructor(t: Test) {
    this.at = directory(t)
    this.lxcpath = join(this.at, 'lxc')
    this.#log = join(this.at, 'log')
    mkdirSync(join(this.at, 'bin'))
    for (const name of ['lxc-autostart', 'lxc-ls', 'lxc-start', 'lxc-stop']) {
      const words = `exec '${process.execPath}' '${join(project, `dist/bin/${name}.js`)}' -P '${this.lxcpath}' "$@"`
      writeFileSync(join(this.at, 'bin', name), `#!/bin/sh\n${words}\n`, { mode: 0o755 })
    }
    writeFileSync(join(this.at, 'hook'), `#!/bin/sh\necho "$LXC_NAME $1" >>'${this.#log}'\n`, { mode: 0o755 })
    writeFileSync(this.#log, '')
  }

  async make(t: Test, name: string, config: string): Promise<Container> {
    const hooks = ['pre-start', 'post-stop'].map(point => `lxc.hook.${point} = ${this.at}/hook ${point}\n`).join('')
    const container = await Container.create(name, {
      path: this.lxcpath,
      config: `lxc.hook.version = 1\n${hooks}${config}`,
    })
    t.teardown(() => container.destroy({ force: true }))
    return container
  }

  /** Runs lxc-autostart; its exit code, its lines, and what it complained of. */
  autostart(...args: string[]) {
    const { status, stdout, stderr } = spawnSync(join(this.at, 'bin/lxc-autostart'), args, { encoding: 'utf8' })
    return { status, said: stdout.split('\n').filter(Boolean), stderr }
  }

  /** What has started or ended since it was asked last, in that order. */
  news(): string[] {
    const lines = readFileSync(this.#log, 'utf8').split('\n').filter(Boolean)
    writeFileSync(this.#log, '')
    return lines
  }

  /** A file of examples/autostart, with the tools of this host. */
  text(file: string): string {
    return readFileSync(join(examples, file), 'utf8').replaceAll('/usr/local/bin', join(this.at, 'bin'))
  }
}

/** Five containers, of which three are to start; the others are asked by nobody. */
async function populate(t: Test, host: Host): Promise<Container> {
  await host.make(t, 'alpha', 'lxc.start.auto = 1\nlxc.start.order = 20\n')
  await host.make(t, 'beta', 'lxc.start.auto = 1\nlxc.start.order = 10\n')
  await host.make(t, 'base', 'lxc.start.auto = 1\nlxc.start.order = 99\nlxc.group = onboot\n')
  await host.make(t, 'later', 'lxc.start.auto = 1\nlxc.group = evening\n')
  return host.make(t, 'manual', '')
}

const STARTED = ['base pre-start', 'beta pre-start', 'alpha pre-start']

t.test(
  'systemd finds nothing wrong with the units',
  { skip: hasProgram('systemd-analyze') ? false : 'needs systemd' },
  async t => {
    const host = new Host(t)
    const units = readdirSync(examples).filter(name => name.endsWith('.service'))
    t.equal(units.length, 2)
    for (const unit of units) {
      const file = join(host.at, unit.replace('@.', '@web.'))
      writeFileSync(file, host.text(unit))
      const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], {
        encoding: 'utf8',
      })
      t.strictSame([status, stdout, stderr.split('\n').filter(line => line.includes(host.at))], [0, '', []], unit)
    }
  },
)

/** The command lines of a unit, as systemd reads them: words, without a shell. */
function commandOf(unit: string, key: string, instance = ''): [string, ...string[]] {
  const line = new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1] ?? ''
  return line.replaceAll('%i', instance).split(' ') as [string, ...string[]]
}

function runUnit(unit: string, key: string): number | null {
  const [program, ...args] = commandOf(unit, key)
  return spawnSync(program, args, { encoding: 'utf8', env: { PATH: process.env.PATH } }).status
}

t.test('lxc-autostart: whom, in which order, and what is done', { skip }, async t => {
  const host = new Host(t)
  const auto = (order: number, ...more: string[]) =>
    ['lxc.start.auto = 1', `lxc.start.order = ${order}`, ...more.map(line => `lxc.${line}`), ''].join('\n')
  const a = await host.make(t, 'a', auto(5, 'start.delay = 1'))
  const b = await host.make(t, 'b', auto(1, 'group = onboot'))
  const c = await host.make(t, 'c', auto(5, 'group = onboot', 'group = late'))
  await host.make(t, 'd', '')
  const lists: [args: string[], said: string[]][] = [
    [[], ['a 1']],
    [['-A'], ['d 0', 'a 1']],
    [['-a'], ['b 0', 'a 1', 'c 0']],
    [
      ['-a', '-A'],
      ['d 0', 'b 0', 'a 1', 'c 0'],
    ],
    [
      ['-g', 'onboot,'],
      ['b 0', 'c 0', 'a 1'],
    ],
    [
      ['-g', ',onboot'],
      ['a 1', 'b 0', 'c 0'],
    ],
    [
      ['-g', 'late,,onboot'],
      ['c 0', 'a 1', 'b 0'],
    ],
    [
      ['-g', 'late', '-g', 'onboot'],
      ['c 0', 'b 0'],
    ],
    [['-g', 'nobody'], []],
    [['-s', '-a'], []],
  ]
  for (const [args, said] of lists)
    t.strictSame(host.autostart('-L', ...args), { status: 0, said, stderr: '' }, args.join(' '))
  for (const what of ['-s', '-k', '-r']) t.equal(host.autostart(what, '-a').status, 0, 'none runs: nothing to do')

  t.match(host.autostart('-g', 'late,,onboot'), { status: 0, stderr: '' })
  t.strictSame(host.news(), ['c pre-start', 'a pre-start', 'b pre-start'], 'group by group')
  t.strictSame(host.autostart('-L', '-a', '-A').said, ['d 0'], 'those that would start')
  t.strictSame(host.autostart('-L', '-s', '-a').said, ['b', 'a', 'c'], 'those that would end')
  t.strictSame(host.autostart('-L', '-r', '-a').said, ['b 0', 'a 1', 'c 0'], 'and those that would start again')
  const pids = () => Promise.all([a, b, c].map(one => one.initPid()))
  const [ofA, ofB, ofC] = await pids()
  t.equal(host.autostart('-r', '-g', '').status, 0)
  t.match(await pids(), [Number, ofB, ofC])
  t.not(await a.initPid(), ofA, 'it has rebooted')
  t.equal(host.autostart('-k', '-g', 'late').status, 0)
  t.match(await pids(), [Number, ofB, null])
  t.equal(host.autostart('-s', '-a', '-t', '20').status, 0)
  t.strictSame(await pids(), [null, null, null])

  a.config.set('lxc.init.cmd', '/no/init')
  await a.config.save()
  const failure = /^lxc-autostart: Cannot start container "a"/
  t.match(host.autostart('-a'), { status: 2, stderr: failure }, 'one has failed')
  t.match(await pids(), [null, Number, Number])
  t.match(host.autostart(), { status: 1, stderr: failure }, 'all have')
  t.match(host.autostart('-q'), { status: 1, stderr: '' })
  t.match(host.autostart('-t', 'soon'), { status: 1, stderr: /--timeout takes a whole number/ })
  t.equal(host.autostart('-k', '-a').status, 0)
  t.strictSame(await pids(), [null, null, null])
})

t.test('as systemd runs it: by group and order, and all down at the end', { skip }, async t => {
  const host = new Host(t)
  const manual = await populate(t, host)
  const unit = host.text('caisson.service')
  t.equal(runUnit(unit, 'ExecStart'), 0)
  t.strictSame(host.news(), STARTED)
  await manual.start()
  host.news()
  t.equal(runUnit(unit, 'ExecStop'), 0)
  t.strictSame(
    host.news().toSorted(),
    ['alpha', 'base', 'beta', 'manual'].map(name => `${name} post-stop`),
  )
  for (const container of await Container.list({ path: host.lxcpath })) t.equal(await container.state(), 'STOPPED')
  const broken = await host.make(t, 'broken', 'lxc.start.auto = 1\nlxc.init.cmd = /no/init\n')
  t.equal(runUnit(unit, 'ExecStart'), 2, 'one that cannot start keeps the others from nothing')
  t.match(unit, /^SuccessExitStatus=2$/m)
  t.equal(await broken.state(), 'STOPPED')
  t.strictSame(
    host.news().filter(line => !line.startsWith('broken')),
    STARTED,
  )
  t.equal(runUnit(unit, 'ExecStop'), 0)
})

t.test('one container as a service: it stays, without a terminal, until it is stopped', { skip }, async t => {
  const host = new Host(t)
  const web = await host.make(t, 'web', '')
  const unit = host.text('caisson@.service')
  const [program, ...args] = commandOf(unit, 'ExecStart', 'web')
  const service = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  service.stdout.resume()
  const ended = new Promise(resolve => service.once('exit', (code, signal) => resolve(code ?? signal)))
  await until(async () => (await web.state()) === 'RUNNING', 'it runs')
  t.equal((await web.attach(['echo', 'well'])).stdout, 'well\n')
  t.equal(service.exitCode, null, 'and so does the service')
  const [stop, ...words] = commandOf(unit, 'ExecStop', 'web')
  execFileSync(stop, words)
  t.equal(await ended, 0)
  t.equal(await web.state(), 'STOPPED')
})

t.test('the init script', { skip }, async t => {
  const host = new Host(t)
  const manual = await populate(t, host)
  const script = join(host.at, 'caisson')
  writeFileSync(script, host.text('caisson.init').replace(/^PATH=/m, `PATH=${host.at}/bin:`), { mode: 0o755 })
  execFileSync('sh', ['-n', script])
  const call = (verb: string, defaults = '') => {
    writeFileSync(join(host.at, 'defaults'), defaults)
    const env = { CAISSON_DEFAULTS: join(host.at, 'defaults') }
    const { status, stdout, stderr } = spawnSync(script, [verb], { env, encoding: 'utf8' })
    return { status, stdout, stderr }
  }
  t.match(call('status'), { status: 3, stdout: 'No container runs\n' })
  t.match(call('start', 'LXC_AUTO=false\n'), { status: 0, stdout: '' })
  t.strictSame(host.news(), [], 'none when none is wanted')
  t.match(call('start'), { status: 0, stdout: 'Starting containers\n', stderr: '' })
  t.strictSame(host.news(), STARTED)
  t.match(call('start'), { status: 0 })
  t.strictSame(host.news(), [], 'what runs is left alone')
  t.match(call('status'), { status: 0, stdout: 'alpha\nbase\nbeta\n' })
  await manual.start()
  host.news()
  t.match(call('restart', 'BOOTGROUPS=evening\nSHUTDOWNDELAY=5\n'), { status: 0, stderr: '' })
  const [ended, begun] = [host.news().filter(line => line.endsWith('post-stop')), call('status').stdout]
  t.equal(ended.length, 4)
  t.equal(begun, 'later\n')
  t.match(call('start', 'OPTIONS="-a -A"\nBOOTGROUPS=\n'), { status: 0 })
  t.equal(call('status').stdout.split('\n').length, 6, 'all of them')
  t.match(call('stop', 'STOPOPTS="-a -A -k"\nSHUTDOWNDELAY=\n'), { status: 0, stderr: '' })
  t.match(call('status'), { status: 3 })
  t.match(call('stpo'), { status: 2, stderr: /^Usage: .*\{start\|stop\|restart\|force-reload\|status\}\n$/ })
})
