#!/usr/bin/env node
/** lxc-checkconfig(1): LXC's own report of the kernel, and below it what this kernel and this user were found able to do, by trying. */
import { readFileSync, statSync } from 'node:fs'
import { styleText } from 'node:util'
import type { Finding } from '../lib/diagnose.ts'
import type { Verdict } from '../lib/tools/kernel_report.ts'
import { defineTool, main } from '../lib/tools/tool.ts'

const COLORS = { enabled: 'green', missing: 'yellow', required: 'red' } as const

export const tool = defineTool({
  name: 'lxc-checkconfig',
  summary: 'Shows what this kernel, this host and this user can do, what is missing, and what would mend it.',
  named: false,
  options: {},
  details: `The first sections are LXC's, of the kernel's configuration: that of /proc/config.gz, of /boot, or of the file which CONFIG
in the environment names. The last one is of what was tried here; below what is not there stands what mends it.`,
  exitCodes: { 0: 'containers can be started', 1: 'something that they need is missing' },
  examples: [
    ['lxc-checkconfig', 'a line for each thing, and a hint below what is missing'],
    ['CONFIG=/boot/config-6.1.0-13-amd64 lxc-checkconfig', 'the same of a kernel before it is booted'],
  ],
  async run({ say }) {
    const { findConfig, isSetuid, reportKernel } = await import('../lib/tools/kernel_report.ts')
    const { KERNEL } = await import('../lib/host/kernel.ts')
    const { findProgram, hasProgram } = await import('../lib/native/program.ts')
    const { version } = await import('../lib/version.ts')
    const { diagnose } = await import('../lib/diagnose.ts')
    const paint = (verdict: Verdict, text: string) =>
      process.stdout.isTTY ? styleText(['bold', COLORS[verdict]], text) : text
    say(`LXC version ${version}`)
    const { text: config, lines } = findConfig(KERNEL, readFile, process.env.CONFIG || undefined)
    const find = (name: string) => (hasProgram(name) ? findProgram(name) : undefined)
    for (const line of [...lines, ...reportKernel({ files: KERNEL, config, find, isSetuid }, paint)]) say(line)
    say('\nNote : Before booting a new kernel, you can check its configuration')
    say(`usage : CONFIG=/path/to/config ${process.argv[1]}\n`)
    say('--- This host and this user ---')
    const findings = await diagnose()
    for (const found of findings) for (const line of tell(found, paint)) say(line)
    return findings.some(({ ok, required }) => required && !ok) ? 1 : 0
  },
})

function tell({ feature, ok, required, detail, hint }: Finding, paint: (verdict: Verdict, text: string) => string) {
  const verdict = ok ? paint('enabled', 'yes') : required ? paint('required', 'no, and needed') : paint('missing', 'no')
  const line = `${feature}: ${verdict}${detail === '' ? '' : `, ${detail}`}`
  return ok || hint === undefined ? [line] : [line, `  hint: ${hint}`]
}

/** A file; undefined where there is none. */
function readFile(path: string): Buffer | undefined {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ? readFileSync(path) : undefined
}

main(import.meta, tool)
