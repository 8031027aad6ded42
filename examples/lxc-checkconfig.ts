#!/usr/bin/env node
/** lxc-checkconfig(1), by trying what the kernel and this user can do instead of reading the kernel's config. */
import { styleText } from 'node:util'
import { defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-checkconfig',
  summary: 'Shows what this host and this user can do, what is missing, and what would mend it.',
  named: false,
  options: {},
  exitCodes: { 0: 'containers can be started', 1: 'something that they need is missing' },
  examples: [['lxc-checkconfig', 'a line for each thing, and a hint below what is missing']],
  async run({ say }) {
    const { diagnose } = await import('../lib/diagnose.ts')
    const findings = await diagnose()
    const paint = (color: 'green' | 'red' | 'yellow', text: string) =>
      process.stdout.isTTY ? styleText(color, text) : text
    for (const { feature, ok, required, detail, hint } of findings) {
      const verdict = ok ? paint('green', 'enabled') : required ? paint('red', 'required') : paint('yellow', 'missing')
      say(`${feature}: ${verdict}${detail === '' ? '' : `, ${detail}`}`)
      if (!ok && hint !== undefined) say(`  hint: ${hint}`)
    }
    return findings.some(({ ok, required }) => required && !ok) ? 1 : 0
  },
})

main(import.meta, tool)
