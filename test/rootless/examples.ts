// The ladder of examples, run by 63-examples.test.ts as root and as an ordinary user: each as its reader would, and what it prints.
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { transformSync } from 'esbuild'
import t from 'tap'
import { Container, recover } from '../../lib/index.ts'
import { project } from '../support/life.ts'

const isRoot = process.getuid?.() === 0
const home = process.env.HOME as string
const layout = `oci:${process.env.CAISSON_TEST_LAYOUT}:latest`

interface Rung {
  readonly says: readonly RegExp[]
  readonly args?: readonly string[]
  readonly rootOnly?: true
}

const LADDER: Readonly<Record<string, Rung>> = {
  '00-hello.ts': { says: [/^hello from hello, where I am root$/m] },
  '01-rootfs.ts': { says: [/rootfs\/rootfs/, /^written by Node\nfrom the host$/m, /Read-only/] },
  '02-limits.ts': {
    says: [
      /^memory \d+ of 64 MiB, processes \d+ of 20$/m,
      /can't fork/,
      /^200 MiB at once: ended by SIGKILL$/m,
      /^now at most 128 MiB$/m,
    ],
  },
  '03-network.ts': { says: [/^net-two \[ '10\./m, / 0% packet loss/, /^eth0 \S+ true$/m], rootOnly: true },
  '04-user-namespaces.ts': {
    says: [
      /^inside I am uid 0$/m,
      /^outside that is uid [1-9]\d+$/m,
      /from 0 on are \d+ and the next 65536/,
      /may change: renamed$/m,
      /disk.*not permitted/,
    ],
  },
  '05-attach.ts': {
    says: [
      /^12$/m,
      /^step 1\nstep 2\nstep 3$/m,
      /exit code 3: no such thing/,
      /^timed out: true/m,
      /'30 100', '\/dev\/pts\//,
    ],
  },
  '06-console.ts': { says: [/window inside is 30 100/, /kept: true/] },
  '07-snapshot.ts': { says: [/restored: \/etc\/passwd/, /copied: snapshot-copy with ids of its own: true/] },
  '08-syscalls.ts': {
    says: [/a null device: 0 bytes/, /a disk: refused/, /hello from the host/, /writing: refused/],
    rootOnly: true,
  },
  '09-hooks.ts': { says: [/about to start/, /not today/, /hooked is set up/, /uid=0/, /hooked has ended/] },
  '10-sandbox.ts': { says: [/alone with \d processes/, /timed out: true/, /pids limit hit: true/, /step 3/] },
  '11-harness.test.ts': { says: [/pass 2/, /fail 0/], args: ['--test'] },
  '12-pool.ts': { says: [/ready: 4, used: 0, waiting: 0/, /^0 1 4 9 .* 361$/m] },
  '13-oci.ts': {
    says: [/^image [0-9a-f]{12} /m, /^a container of the image, pid \d$/m, /^a sandbox of the image$/m],
    args: [layout],
  },
  '14-events.ts': {
    says: [
      /events is RUNNING\nevents is FREEZING\n|events is RUNNING\n.*events is FROZEN\n/s,
      /events ended with 0/,
      /events is STOPPED/,
    ],
  },
  'images.ts': { says: [/restored "made once, launched often\\n"/] },
}

const tmp = join(home, 'tmp')
mkdirSync(tmp)

/** The example with what is built into dist/ in place of the sources, so that it starts at once. */
function compile(name: string): string {
  const source = readFileSync(join(project, 'examples', name), 'utf8')
  const { code } = transformSync(source, { loader: 'ts', format: 'esm', target: 'node20.19' })
  const file = join(home, name.replace(/ts$/, 'mjs'))
  writeFileSync(
    file,
    code.replace(/"\.\.\/lib\/(\w+)\.ts"/g, (_, module) => JSON.stringify(join(project, `dist/${module}.js`))),
  )
  return file
}

async function climb(name: string, args: readonly string[] = []) {
  const { TAP, NODE_OPTIONS, ...env } = process.env // what tap tells its own children
  const words = args[0] === '--test' ? [...args, compile(name)] : [compile(name), ...args]
  const child = spawn(process.execPath, words, { cwd: home, env: { ...env, TMPDIR: tmp } })
  const [stdout, stderr] = [text(child.stdout), text(child.stderr)]
  const status = await new Promise<number | null>(resolve => child.once('close', resolve))
  return { status, stdout: await stdout, stderr: await stderr }
}

t.setTimeout(240_000)
// What the killed programs of other tests have left is not the examples'.
t.before(async () => void (await recover()))

for (const [name, { says, args, rootOnly }] of Object.entries(LADDER))
  t.test(name, { skip: rootOnly && !isRoot ? 'needs root' : false }, async t => {
    const { status, stdout, stderr } = await climb(name, args)
    t.equal(status, 0, stderr)
    for (const line of says) t.match(stdout, line)
    t.strictSame(await Container.list(), [], 'no container is left')
    t.strictSame(await recover(), [])
    const left = readdirSync(tmp).filter(one => !one.includes('compile-cache'))
    t.strictSame(left, [], 'and no file')
  })

t.test('each rung is run', async t => {
  const rungs = readdirSync(join(project, 'examples')).filter(name => /^\d\d-/.test(name))
  t.strictSame(
    rungs.filter(name => !(name in LADDER)),
    [],
  )
  t.strictSame(
    rungs.map(name => Number(name.slice(0, 2))),
    [...rungs.keys()],
    'and none is missing',
  )
})
