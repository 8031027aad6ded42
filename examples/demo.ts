/**
 * The main job, live: a container is made, started, entered, frozen, limited, stopped and destroyed, and the host ends as it was.
 *
 *   npm run demo                     a busybox container, made offline
 *   npm run demo -- --rootfs DIR     a distribution's tree, booted by its own init (it is written to)
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs, styleText } from 'node:util'
import { Container, ContainerError, diagnose, recover } from '../lib/index.ts'

const { values } = parseArgs({ options: { rootfs: { type: 'string' } } })
const lxcpath = mkdtempSync(path.join(tmpdir(), 'caisson-demo-'))
const MiB = 1024 * 1024

const title = (text: string) =>
  console.log(`\n${styleText('bold', `── ${text} `)}${styleText('dim', '─'.repeat(Math.max(0, 72 - text.length)))}`)
const fact = (name: string, value: unknown) => console.log(`   ${styleText('dim', name.padEnd(14))}${value}`)
const quote = (text: string) => console.log(text.trimEnd().replaceAll(/^/gm, styleText('dim', '   │ ')))

/** What a container could leave behind. */
function hostState(): string {
  const cgroups = execFileSync('find', ['/sys/fs/cgroup', '-type', 'd', '-name', 'caisson.*'], { encoding: 'utf8' })
  return [readFileSync('/proc/self/mountinfo', 'utf8'), readdirSync('/sys/class/net').join(' '), cgroups].join('\n')
}

async function look(container: Container): Promise<void> {
  const pid = await container.initPid()
  fact('state', await container.state())
  fact('init', `pid ${pid} here, pid 1 inside`)
  const namespaces = readdirSync(`/proc/${pid}/ns`).filter(kind => !kind.endsWith('_for_children'))
  const own = namespaces.filter(
    kind => readlinkSync(`/proc/${pid}/ns/${kind}`) !== readlinkSync(`/proc/self/ns/${kind}`),
  )
  fact('namespaces', own.join(' '))
  const [, host, range] = readFileSync(`/proc/${pid}/uid_map`, 'utf8').trim().split(/\s+/)
  fact('user ids', `0–${Number(range) - 1} inside are ${host}–${Number(host) + Number(range) - 1} here`)
  const { memory, pids, cpu } = await container.stats()
  fact(
    'memory',
    `${(memory.current / MiB).toFixed(1)} MiB of ${memory.max === null ? 'all there is' : `${memory.max / MiB} MiB`}`,
  )
  fact('processes', `${pids.current} of at most ${pids.max}`)
  fact('cpu time', `${(cpu.usageUsec / 1000).toFixed(1)} ms`)
}

async function show(container: Container, ...command: string[]): Promise<void> {
  const begun = performance.now()
  const { stdout, stderr, exitCode } = await container.attach(command, { reject: false })
  console.log(
    `   ${styleText('cyan', `$ ${command.join(' ')}`)}${styleText('dim', `  exit code ${exitCode}, ${(performance.now() - begun).toFixed(1)} ms`)}`,
  )
  quote(stdout + stderr)
}

/** A distribution's init takes a moment; systemd says when it has settled. */
async function settle(container: Container): Promise<void> {
  for (let tries = 0; tries < 120; tries++) {
    const { stdout } = await container.attach(['systemctl', 'is-system-running'], { reject: false })
    if (/^(running|degraded|maintenance)/.test(stdout)) return fact('systemd', stdout.trim())
    await sleep(500)
  }
  throw new ContainerError('ERR_TIMEOUT', 'Cannot wait for systemd: it did not settle within a minute')
}

/** What is missing here that every container needs. */
async function introduce(): Promise<void> {
  title('this host')
  for (const { feature, ok, required, detail, hint } of await diagnose()) {
    if (ok || !required) continue
    console.log(`   ${styleText('red', `${feature}: ${detail}`)}${hint === undefined ? '' : ` — ${hint}`}`)
  }
  fact('node', process.version)
  fact('kernel', readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim())
}

async function make(): Promise<Container> {
  const { rootfs } = values
  title(rootfs === undefined ? 'create, from the busybox on this machine' : `create, from ${rootfs}`)
  const source = rootfs === undefined ? { template: 'busybox' } : { rootfs: path.resolve(rootfs) }
  const container = await Container.create('demo', { path: lxcpath, ...source, limits: { memory: '512M', pids: 512 } })
  quote(container.config.toString())
  return container
}

async function start(container: Container): Promise<void> {
  title('start')
  const begun = performance.now()
  await container.start()
  fact('started in', `${(performance.now() - begun).toFixed(1)} ms`)
  if (values.rootfs !== undefined) await settle(container)
  await look(container)
}

async function enter(container: Container): Promise<void> {
  title('attach')
  const services = ['systemctl', 'list-units', '--type=service', '--no-pager', '--plain']
  await show(container, 'uname', '-n')
  await show(container, 'id')
  await show(container, ...(values.rootfs === undefined ? ['ps'] : services))
  await show(container, 'grep', '-E', '^(Uid|Cap|Seccomp:|NoNewPrivs)', '/proc/self/status')
}

async function freeze(container: Container): Promise<void> {
  title('freeze')
  await container.freeze()
  const before = await container.stats()
  await sleep(300)
  const after = await container.stats()
  fact('state', await container.state())
  fact('cpu time', `${after.cpu.usageUsec - before.cpu.usageUsec} µs in 300 ms`)
  await container.unfreeze()
  fact('thawed', await container.state())
}

async function limit(container: Container): Promise<void> {
  title('a new limit, live')
  await container.limit({ memory: '256M' })
  fact('memory', `at most ${((await container.stats()).memory.max ?? 0) / MiB} MiB`)
}

async function stop(container: Container): Promise<void> {
  title('stop and destroy')
  const begun = performance.now()
  await container.stop({ timeout: 30_000 })
  const { code, signal } = await container.exited()
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  fact('stopped', `in ${seconds} s, ${signal === null ? `exit code ${code}` : `by ${signal}`}`)
}

async function main(): Promise<void> {
  const before = hostState()
  await introduce()
  try {
    const container = await make()
    try {
      await start(container)
      await enter(container)
      await freeze(container)
      await limit(container)
      await stop(container)
    } finally {
      await container.destroy({ force: true })
    }
  } finally {
    rmSync(lxcpath, { recursive: true })
  }
  const left = await recover({ path: lxcpath })
  if (left.length > 0 || hostState() !== before) {
    throw new ContainerError('ERR_CONTAINER_STATE', 'The host is not as it was before')
  }
  fact('the host', styleText('green', 'is as it was before: no mount, link or cgroup is left'))
}

await main()
