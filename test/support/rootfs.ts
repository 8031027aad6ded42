/** Directories for system tests. They are not t.testdir(), which deletes what happens to be mounted below it. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { Test } from 'tap'
import { probe } from './probe.ts'

const DIRECTORIES = ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'dev', 'etc', 'proc', 'run', 'sys', 'tmp', 'var', 'root']

/** A new directory that everybody may pass through, removed at the end of the test. A container's lxcpath, for one. */
export function directory(t: Test): string {
  const made = mkdtempSync(join(tmpdir(), 'caisson-test-'))
  chmodSync(made, 0o755)
  t.teardown(() => remove(made))
  return made
}

/** A directory of the machine that something is to be mounted on; what was not there goes at the end. */
export function place(t: Test, path: string): void {
  if (existsSync(path)) return
  mkdirSync(path)
  t.teardown(() => rmdirSync(path))
}

function remove(path: string): void {
  const mounted = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(line => line.split(' ')[4]?.startsWith(path))
  if (mounted.length > 0) throw new Error(`${path} is kept: something is mounted in it\n${mounted.join('\n')}`)
  rmSync(path, { recursive: true, force: true })
}

/**
 * A root file system, owned by the host's root, with all of busybox and /probe. Its /sbin/init is the probe, which says
 * `init` on its console and stops on SIGPWR, SIGTERM or SIGRTMIN+3; with `init: 'busybox'` it is busybox's own.
 */
export function rootfs(t: Test, options: { init?: 'probe' | 'busybox' } = {}): string {
  const root = directory(t)
  for (const name of DIRECTORIES) mkdirSync(join(root, name), { recursive: true })
  chmodSync(join(root, 'tmp'), 0o1777)
  copyFileSync(busybox(), join(root, 'bin/busybox'))
  copyFileSync(probe, join(root, 'probe'))
  const applets = execFileSync(join(root, 'bin/busybox'), ['--list-full'], { encoding: 'utf8' }).trim().split('\n')
  const links = new Map(applets.map(applet => [applet, 'bin/busybox']))
  if (options.init !== 'busybox') links.set('sbin/init', 'probe')
  links.delete('bin/busybox')
  for (const [link, to] of links) symlinkSync(relative(dirname(link), to), join(root, link))
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000:Alice:/tmp:/bin/sh\n')
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nalice:x:1000:\naudio:x:29:alice\n')
  return root
}

function busybox(): string {
  return execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim()
}
