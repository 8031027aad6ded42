// What recover() refuses. Each case runs in a pid, a mount and a cgroup of its own: it sees no process of the host, and its run directories
// are on a file system of its own, so that neither a mistake here nor a damaged ledger can reach anybody else.
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import { hierarchyWith } from '../../lib/host/cgroups.ts'
import { host, without } from '../support/cgroup.ts'
import { elsewhere } from '../support/elsewhere.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

// Below v1 all that lives in a cgroup is killed by its pid, which the pid namespace bounds.
const pids = hierarchyWith(host, 'pids')
const skip = needsRoot || without('pids') || (pids?.version === 1 ? false : 'needs the v1 hierarchy of pids')

interface Outcome {
  readonly error: { name: string; code: string; message: string; hint?: string; cleanup?: { code: string }[] } | null
  /** Whether the process in the cgroup that no container has lives on, and the one in a killed container's. */
  readonly lives: boolean
  readonly leftLives: boolean
  readonly standing: boolean
  readonly leftStands: boolean
  /** The run directories that still have a ledger. */
  readonly ledgers: readonly string[]
}

/**
 * Writes the ledgers of containers "bad" and "worse", and a good one of "good", and recovers. Each is the text of a file, from `cgroup` (a cgroup with a
 * process, that was never a container's), `top` (the same, as if it were the top of a hierarchy) and `header` (what a good ledger begins with).
 */
function outcome(t: Test, ledgers: Readonly<Record<string, string>>, way = 'recover({ path })'): Outcome {
  const own = `${pids?.mount}/caisson-guards.${process.pid}`
  mkdirSync(own)
  t.teardown(() => rmdirSync(own))
  const top = directory(t)
  const program = `
    const { spawn } = await import('node:child_process')
    const { createHash } = await import('node:crypto')
    const fs = await import('node:fs')
    const { setTimeout: sleep } = await import('node:timers/promises')
    const [own, top, path] = ${JSON.stringify([own, top, directory(t)])}
    const tag = createHash('sha256').update(path).digest('hex').slice(0, 8)
    const inhabited = name => {
      fs.mkdirSync(name)
      const child = spawn('sleep', ['60'], { stdio: 'ignore' })
      fs.writeFileSync(name + '/cgroup.procs', String(child.pid))
      return child
    }
    const lives = child => child.exitCode === null && child.signalCode === null
    const cgroup = own + '/service'
    const left = own + '/caisson.good.' + tag
    const child = inhabited(cgroup)
    const leftChild = inhabited(left)
    const header = name => ({ version: 1, bootId: '', name, lxcpath: path })
    const write = (name, text) => {
      const runDir = '/run/caisson/' + tag + '/' + name
      fs.mkdirSync(runDir, { recursive: true, mode: 0o700 })
      fs.writeFileSync(runDir + '/ledger.json', text)
    }
    write('good', JSON.stringify({ ...header('good'), entries: [{ kind: 'cgroup', path: left }] }))
    ${Object.entries(ledgers)
      .map(([name, text]) => `{ const name = ${JSON.stringify(name)}; write(name, ${text}) }`)
      .join('\n')}
    const { recover } = caisson
    let error = null
    try { await ${way} } catch (caught) {
      error = { name: caught.name, code: caught.code, message: caught.message, hint: caught.hint, cleanup: caught.cleanup }
    }
    await sleep(50)
    const found = {
      error, lives: lives(child), leftLives: lives(leftChild), standing: fs.existsSync(cgroup), leftStands: fs.existsSync(left),
      ledgers: ['bad', 'good', 'worse'].filter(name => fs.existsSync('/run/caisson/' + tag + '/' + name + '/ledger.json')),
    }
    for (const one of [child, leftChild]) if (lives(one)) {
      one.kill('SIGKILL')
      await new Promise(resolve => one.once('exit', resolve))
    }
    fs.writeFileSync(own + '/cgroup.procs', String(process.pid))
    for (const one of [cgroup, left]) if (fs.existsSync(one)) fs.rmdirSync(one)
    console.log(JSON.stringify(found))
    process.exit(0)`
  // The file system of /run/caisson, and the bind mount that looks like the top of a hierarchy, are of this mount namespace alone.
  const script = 'mount -t tmpfs none /run/caisson && mount --bind "$1" "$2" && shift 2 && exec "$@"'
  const inner = ['sh', '-c', script, 'sh', own, top, ...elsewhere(program)]
  mkdirSync('/run/caisson', { recursive: true, mode: 0o700 })
  const said = execFileSync('unshare', ['--pid', '--fork', '--kill-child', '--mount-proc', '--mount', ...inner], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
    timeout: 60_000,
  })
  return JSON.parse(said)
}

const entries = (text: string): string => `JSON.stringify({ ...header(name), entries: [${text}] })`

const REFUSED: readonly [string, string, RegExp][] = [
  ['the top of a hierarchy', entries("{ kind: 'cgroup', path: top, chosen: true }"), /no cgroup below another/],
  ['a cgroup of another name', entries("{ kind: 'cgroup', path: cgroup }"), /may not name .*service/],
  ['a way up', entries("{ kind: 'cgroup', path: own + '/caisson.x/../service', chosen: true }"), /may not name/],
  ['a way up to a name', entries("{ kind: 'cgroup', path: own + '/service/../caisson.x' }"), /may not name/],
  ['a relative path', entries("{ kind: 'cgroup', path: 'caisson.x' }"), /may not name/],
  ['a pattern without an end', entries("{ kind: 'cgroups', path: own + '/*' }"), /may not name/],
  ['a pattern of another end', entries("{ kind: 'cgroups', path: own + '/*.0000000g' }"), /may not name/],
  ['a pattern of other sessions', entries("{ kind: 'cgroups', path: own + '/*.00000000' }"), /may not name/],
  ['a pattern with a way up', entries("{ kind: 'cgroups', path: own + '/../*.' + tag }"), /may not name/],
  ['a kind that there is not', entries("{ kind: 'constructor', path: cgroup }"), /may not name/],
  ['a good entry before a bad one', entries("{ kind: 'cgroup', path: cgroup, chosen: true }, 5"), /may not name 5/],
  ['the run directory of another', entries("{ kind: 'helper', path: '/run/caisson' }"), /may not name/],
  ['another version', `JSON.stringify({ ...header(name), version: 2, entries: [] })`, /of another version/],
  ['no entries', `JSON.stringify(header(name))`, /no entries/],
  ['another container', `JSON.stringify({ ...header('good'), entries: [] })`, /not the ledger of this/],
  ['another lxcpath', `JSON.stringify({ ...header(name), lxcpath: '/', entries: [] })`, /not the ledger of this/],
  ['a session', `JSON.stringify({ ...header(name), lxcpath: '', entries: [] })`, /not the ledger of this/],
  ['nothing', `'null'`, /of another version/],
  ['half of a file', `'{ "version": 1, "entr'`, /not JSON/],
]

for (const [what, text, message] of REFUSED) {
  t.test(`N11: a ledger with ${what}`, { skip }, async t => {
    const { error, ...found } = outcome(t, { bad: text })
    t.match(error, { name: 'ContainerError', code: 'ERR_PROTOCOL', message, hint: /by hand/ })
    const wanted = { lives: true, leftLives: false, standing: true, leftStands: false, ledgers: ['bad'] }
    t.strictSame(found, wanted, 'nothing is killed or removed, and the container beside it is cleaned up')
  })
}

t.test('two damaged ledgers are both told of, to who recovers everything', { skip }, async t => {
  const { error, ...found } = outcome(t, { bad: `'{'`, worse: `'{'` }, 'recover()')
  t.match(error, { code: 'ERR_PROTOCOL', cleanup: [{ code: 'ERR_PROTOCOL' }, { code: 'ERR_PROTOCOL' }] })
  t.match(found, { leftLives: false, leftStands: false, ledgers: ['bad', 'worse'] })
})

t.test('a damaged ledger of another lxcpath is no matter', { skip }, async t => {
  const found = outcome(t, { bad: `'{'` }, "recover({ path: path + '/other' })")
  t.match(found, { error: null, lives: true, leftLives: true, leftStands: true, ledgers: ['bad', 'good'] })
})

t.test('a name that the config chose is recovered', { skip }, async t => {
  const found = outcome(t, { bad: entries("{ kind: 'cgroup', path: cgroup, chosen: true }") })
  t.match(found, { error: null, lives: false, standing: false, ledgers: [] })
})

t.test('a cgroup in which this program lives is not killed', { skip }, async t => {
  const ledger = entries("{ kind: 'cgroup', path: cgroup, chosen: true }")
  const join = "fs.writeFileSync(cgroup + '/cgroup.procs', String(process.pid))"
  const { error, ...found } = outcome(t, { bad: ledger }, `(${join}, recover({ path }))`)
  t.match(error, { code: 'ERR_PROTOCOL', message: /this program/ })
  t.match(found, { lives: true, leftLives: false, standing: true, ledgers: ['bad'] })
})

t.test(
  'a container whose config names a cgroup of somebody else does not start, and recover() leaves it',
  { skip },
  async t => {
    const name = `caisson-guards.${process.pid}`
    const config = `lxc.cgroup.dir.container = ${name}/service\nlxc.cgroup.dir.monitor = ${name}/monitor\n`
    const options = JSON.stringify({ rootfs: directory(t), config })
    const start = `caisson.Container.create('c', { path, ...${options} }).then(c => c.start())`
    const { error, ...found } = outcome(t, {}, `${start}.finally(() => recover({ path }))`)
    t.match(error, { code: 'EEXIST', message: /service exists/, hint: /choose another name/ })
    t.match(found, { lives: true, standing: true, leftLives: false, ledgers: [] })
  },
)
