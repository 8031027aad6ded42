/**
 * `npm run compare`: the same static prober inside caisson, LXC, runc, crun and bubblewrap, each in its defaults. Writes docs/comparison.md.
 * Needs root, and the peers' Debian packages; who is missing is left out. The host is afterwards as it was, or the run fails.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { version } from '../lib/index.ts'
import { differences, snapshot } from '../test/support/host.ts'
import { watchPivots } from '../test/support/lxc_pivot.ts'
import { parseReport, type Report } from '../test/support/probe.ts'
import { capabilitiesIn, compareLines, linesOf, SURFACE, type Surface } from '../test/support/surface.ts'
import { type Contestant, contestants } from './contestants.ts'
import { makePlace } from './peers.ts'
import { machine } from './report.ts'

/** What a careless caller holds: a descriptor without close-on-exec, and a variable. Every contestant is called from a Node that has both. */
const CANARY = 'COMPARE_CANARY'
const DESCRIPTOR = '47'

interface Seen {
  readonly contestant: Contestant
  readonly surface: Surface
  readonly report: Report
  readonly lines: readonly string[]
}

async function examine(contestant: Contestant): Promise<Seen> {
  const surface = JSON.parse(lastLine(await contestant.run(SURFACE))) as Surface
  if (surface.obstacle !== null) throw new Error(`${contestant.name}: the prober cannot try calls: ${surface.obstacle}`)
  const report = parseReport(lastLine(await contestant.run(['/probe', 'report'])))
  return { contestant, surface, report, lines: linesOf(surface, report) }
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? ''

const count = (values: readonly unknown[] | undefined): string => String(values?.length ?? 0)
const yes = (is: boolean): string => (is ? 'yes' : 'no')

/** The namespaces that are the caller's own; time is shared by all but those who are asked. */
function shared({ namespaces }: Report): string {
  const kinds = Object.keys(namespaces).filter(kind => !kind.endsWith('_for_children') && kind !== 'time')
  const same = kinds.filter(kind => namespaces[kind] === readlinkSync(`/proc/self/ns/${kind}`))
  return same.length === 0 ? 'none' : same.join(', ')
}

const writable = (seen: Seen, where: string) =>
  new Set(seen.lines.filter(line => line.startsWith(`writable ${where}`))).size

/** A line of the table: what it says, and the figure of each. */
const ROWS: readonly (readonly [string, (seen: Seen) => string])[] = [
  ['version', ({ contestant }) => contestant.version],
  ['root inside is, on the host', ({ report }) => `uid ${report.uidMap[0]?.[1]}`],
  [
    'ids of the host that it has',
    ({ report }) => report.uidMap.reduce((sum, [, , length]) => sum + length, 0).toLocaleString('en'),
  ],
  ['namespaces that are the host’s', ({ report }) => shared(report)],
  ['system calls past the filter', ({ surface }) => count(surface.calls)],
  ['by the 32-bit entry', ({ surface }) => String(surface.calls32 ?? 0)],
  ['by the x32 entry, of 47 tried', ({ surface }) => String(surface.callsX32 ?? 0)],
  ['numbers of calls yet to be invented, of 120', ({ surface }) => count(surface.unknown)],
  ['socket families, of 46', ({ surface }) => count(surface.families)],
  ['netlink protocols, of 23', ({ surface }) => count(surface.netlink)],
  ['TIOCSTI into its terminal', ({ surface }) => yes(surface.conditions?.includes('ioctl TIOCSTI') ?? false)],
  ['makes user namespaces', ({ surface }) => yes(surface.conditions?.includes('clone CLONE_NEWUSER') ?? false)],
  ['writable files of /proc', seen => String(writable(seen, '/proc'))],
  ['writable files of /sys', seen => String(writable(seen, '/sys'))],
  ['covers below /proc and /sys', ({ surface }) => String(surface.covers)],
  ['of them, root inside takes off', ({ surface }) => count(surface.loose)],
  ['devices that open', ({ surface }) => count(surface.devices)],
  ['makes device nodes / opens them', ({ surface }) => `${yes(surface.mknod)} / ${yes(surface.mknodOpens)}`],
  ['capabilities in effect', ({ report }) => String(capabilitiesIn(report.status.CapEff ?? '0').length)],
  ['capabilities ever', ({ report }) => String(capabilitiesIn(report.status.CapBnd ?? '0').length)],
  ['no_new_privs', ({ report }) => yes(report.status.NoNewPrivs === '1')],
  ['the caller’s variables', ({ report }) => yes(CANARY in report.env)],
  ['the caller’s descriptors', ({ report }) => yes(DESCRIPTOR in report.fds)],
]

function table(all: readonly Seen[]): string {
  const head = `| | ${all.map(({ contestant }) => contestant.name).join(' | ')} |\n|---|${all.map(() => '--:|').join('')}`
  return [head, ...ROWS.map(([what, figure]) => `| ${what} | ${all.map(figure).join(' | ')} |`)].join('\n')
}

/** What another lets through and a container of ours does not, by kinds. */
function beyond(ours: Seen, theirs: Seen): string {
  const kinds = new Map<string, string[]>()
  for (const line of compareLines(ours.lines, theirs.lines).more.filter(line => !line.startsWith('number of'))) {
    const [, kind = line, what = ''] = /^(unknown call|loose cover|\S+) (.*)$/.exec(line) ?? []
    kinds.set(kind, [...(kinds.get(kind) ?? []), what])
  }
  const shown = (values: readonly string[]) =>
    values.length > 60 ? `${values.slice(0, 60).join(', ')} and ${values.length - 60} more` : values.join(', ')
  const items = [...kinds].map(([kind, values]) => `- ${kind} (${values.length}): ${shown(values)}`)
  return `### ${theirs.contestant.name}\n\n${items.length === 0 ? 'Nothing.' : items.join('\n')}`
}

function write(all: readonly Seen[], facts: string): string {
  const [ours, ...others] = all as [Seen, ...Seen[]]
  const how = all.map(({ contestant }) => `- **${contestant.name}**: ${contestant.how}`).join('\n')
  return `# What each runtime lets through by default

Written by \`npm run compare\`: one static prober (\`test/probe\`), run as root inside each, in one root file system, from one program. It asks of
every system call whether a filter answers it (none is really made), opens for writing what lies in /proc and /sys, opens what lies in
/dev, tries to make a node of /dev/kmsg and open it, and takes off what covers masked paths in a mount namespace of its own. Less is better
in every line but the covers; no_new_privs is off where setuid programs are to work. A file may be writable and its kernel still refuse
the write. \`runc spec\` and \`crun spec\` ask for no filter: engines above them bring one. There was no LSM on this machine.

${facts}

${how}

${table(all)}

## What they let through that a container of caisson does not

${others.map(other => beyond(ours, other)).join('\n\n')}
`
}

/** What is still there after a while for the kernel to finish, and was not before. */
async function left(before: ReturnType<typeof snapshot>): Promise<string[]> {
  for (let tries = 0; ; tries++) {
    const found = differences(before, snapshot()).filter(
      line => !/ (descriptors|processes): /.test(line) && !/caisson/.test(line),
    )
    if (found.length === 0 || tries === 50) return found
    await sleep(100)
  }
}

async function main(): Promise<void> {
  const before = snapshot()
  const facts = machine()
  const directory = mkdtempSync(join(tmpdir(), 'caisson-compare-'))
  chmodSync(directory, 0o755)
  const place = await makePlace(directory)
  const removePivots = watchPivots()
  const [container, all] = await contestants(place, version)
  try {
    const seen: Seen[] = []
    for (const contestant of all) {
      console.log(contestant.name)
      seen.push(await examine(contestant))
    }
    const text = write(seen, facts)
    console.log(text)
    writeFileSync(new URL('../docs/comparison.md', import.meta.url), text)
  } finally {
    place.hidden?.stdin?.end()
    await container.destroy({ force: true })
    rmSync(directory, { recursive: true, force: true })
    await removePivots()
  }
  const remains = await left(before)
  if (remains.length > 0) throw new Error(`the host is not as it was:\n${remains.join('\n')}`)
}

if (process.env[CANARY] === undefined) {
  const self = [process.execPath, ...process.execArgv, fileURLToPath(import.meta.url)]
  const env = { ...process.env, [CANARY]: 'canary' }
  const script = `exec ${DESCRIPTOR}</dev/null; exec "$@"`
  process.exitCode = spawnSync('bash', ['-c', script, 'bash', ...self], { env, stdio: 'inherit' }).status ?? 1
} else await main()
