/**
 * How long the lxc-* tools take beyond `node -e 0`: lxc-info of a running container, lxc-ls of 500; and LXC's own, where installed.
 * Writes bench/TOOLS.md. Run as root: npm run bench:tools
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Container } from '../lib/index.ts'
import { type Contender, inTurn, median, quantile } from './measure.ts'

const COUNT = 500
const ROUNDS = 20
const run = promisify(execFile)
const tools = fileURLToPath(new URL('../dist/bin/', import.meta.url))

/** Configs as LXC's templates write them, without root file systems: a list does not look at those. */
function define(lxcpath: string): void {
  for (let number = 0; number < COUNT; number++) {
    const name = `c${number}`
    mkdirSync(path.join(lxcpath, name))
    const lines = [
      `lxc.uts.name = ${name}`,
      `lxc.rootfs.path = dir:${lxcpath}/${name}/rootfs`,
      'lxc.group = web',
      'lxc.net.0.type = empty',
    ]
    writeFileSync(path.join(lxcpath, name, 'config'), `${lines.join('\n')}\n`)
  }
}

function contenders(lxcpath: string, busy: string): Contender[] {
  const ours = (tool: string, ...args: string[]) => [process.execPath, `${tools}lxc-${tool}.js`, ...args]
  const all: [string, string[]][] = [
    ['node -e 0', [process.execPath, '-e', '0']],
    ['lxc-info NAME, of a running one', ours('info', '-P', busy, 'busy')],
    ['lxc-info -s NAME', ours('info', '-P', busy, '-s', 'busy')],
    [`lxc-ls of ${COUNT}`, ours('ls', '-P', lxcpath)],
    [`lxc-ls -f of ${COUNT}`, ours('ls', '-P', lxcpath, '-f')],
  ]
  if (existsSync('/usr/bin/lxc-ls')) {
    all.push([`LXC's lxc-ls of ${COUNT}`, ['/usr/bin/lxc-ls', '-P', lxcpath]])
    all.push([`LXC's lxc-ls -f of ${COUNT}`, ['/usr/bin/lxc-ls', '-P', lxcpath, '-f']])
    all.push(["LXC's lxc-info NAME, of a stopped one", ['/usr/bin/lxc-info', '-P', lxcpath, 'c0']])
  }
  return all.map(([name, [program = '', ...args]]) => ({ name, run: () => run(program, args) }))
}

async function main(): Promise<void> {
  const lxcpath = mkdtempSync(path.join(tmpdir(), 'caisson-bench-'))
  const busy = mkdtempSync(path.join(tmpdir(), 'caisson-bench-'))
  const container = await Container.create('busy', { path: busy })
  try {
    define(lxcpath)
    await container.start()
    const series = await inTurn(contenders(lxcpath, busy), ROUNDS)
    const base = series[0]?.times ?? []
    const rows = series.map(({ name, times, failure }) => {
      if (failure !== undefined) return `| ${name} | ${failure} | |`
      const [mid, best] = [median(times), quantile(times, 0)]
      return `| ${name} | ${mid.toFixed(0)} (${best.toFixed(0)}) | ${(mid - median(base)).toFixed(0)} (${(best - quantile(base, 0)).toFixed(0)}) |`
    })
    const text = [
      '# The tools',
      '',
      `\`npm run bench:tools\` wrote this. ${ROUNDS} rounds, each of one call of each; the median, and in brackets the least.`,
      '',
      '| | ms | beyond `node -e 0` |',
      '|---|---|---|',
      ...rows,
      '',
    ].join('\n')
    writeFileSync(new URL('TOOLS.md', import.meta.url), text)
    process.stdout.write(text)
  } finally {
    await container.destroy({ force: true })
    for (const directory of [lxcpath, busy]) rmSync(directory, { recursive: true })
  }
}

await main()
