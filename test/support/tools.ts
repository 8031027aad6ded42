// The lxc-* tools as people use them: run as the package has them, from dist/bin/, which the set-up compiles: a loader of TypeScript
// would cost each call a second.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { directory } from './rootfs.ts'
import { Screen } from './terminal.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))
// Without what tap tells its own children.
export const env = { PATH: process.env.PATH, HOME: '/root', TERM: 'xterm' }

/** What the host's own LXC has been told is not told here: the tools see another /etc/lxc, if there is one. */
const etc = directory(t)
writeFileSync(join(etc, 'default.conf'), 'lxc.environment = FROM=default\n')
const HIDE = 'if [ -d /etc/lxc ]; then mount -n --bind "$0" /etc/lxc; fi; exec "$@"'

/** The command line of a tool. */
export const commandOf = (tool: string, args: readonly string[]) => [
  ...['unshare', '--mount', '--propagation', 'private', 'sh', '-euc', HIDE, etc],
  ...[process.execPath, join(root, `dist/bin/lxc-${tool}.js`), ...args],
]

/** Runs a tool without a terminal. */
export function call(lxcpath: string, tool: string, args: readonly string[], input = '') {
  const [program = '', ...given] = commandOf(tool, ['-P', lxcpath, ...args])
  const { status, signal, stdout, stderr } = spawnSync(program, given, {
    cwd: root,
    env,
    input,
    encoding: 'utf8',
  })
  return { status, signal, stdout, stderr }
}

/** Runs a tool on a terminal of 33 lines and 101 columns: what to wait for, and what to type then. Throws when that does not come. */
export async function converse(
  lxcpath: string,
  tool: string,
  args: readonly string[],
  steps: readonly (readonly [RegExp, string])[],
) {
  const screen = new Screen(commandOf(tool, ['-P', lxcpath, ...args]), { cwd: root, env })
  for (const [pattern, text] of steps) await screen.answer(pattern, text)
  return { status: await screen.over(), all: screen.all }
}

/** A container of busybox, made by lxc-create, destroyed at the end. */
export function makeBusybox(t: Test, name: string, config = ''): string {
  const lxcpath = directory(t)
  const file = join(lxcpath, 'initial.conf')
  writeFileSync(file, config)
  t.teardown(() => call(lxcpath, 'destroy', ['-f', name]))
  const made = call(lxcpath, 'create', ['-t', 'busybox', '-n', name, '-f', file])
  t.strictSame([made.status, made.stdout, made.stderr], [0, '', ''])
  return lxcpath
}
