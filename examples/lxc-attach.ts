#!/usr/bin/env node
/** lxc-attach(1) */
import { architecture } from '../lib/config/arch.ts'
import type { Container } from '../lib/container.ts'
import { findAccount, insideOf } from '../lib/inside.ts'
import type { AttachOptions } from '../lib/process_options.ts'
import { execCode, follow, stdioOptions } from '../lib/tools/attached.ts'
import { UsageError, type Values } from '../lib/tools/options.ts'
import { defineTool, main } from '../lib/tools/tool.ts'
import { NAMESPACES, readList } from '../lib/tools/words.ts'

const OPTIONS = {
  'elevated-privileges': {
    short: 'e',
    value: 'CGROUP|CAP|LSM',
    optional: true,
    help: 'keep the privileges of the caller for these parts; without a value for all. Dangerous',
  },
  arch: {
    short: 'a',
    value: 'ARCH',
    words: architecture.words ?? [],
    help: 'the architecture that uname(2) shows; default: the container’s',
  },
  namespaces: {
    short: 's',
    value: 'NAMESPACES',
    words: Object.keys(NAMESPACES),
    help: `enter only these, with | between: ${Object.keys(NAMESPACES).join(', ')}; implies --elevated-privileges`,
  },
  'remount-sys-proc': {
    short: 'R',
    help: 'with --namespaces, but not MOUNT: a /proc and a /sys that show the namespaces that are entered',
  },
  'clear-env': { help: 'begin with the environment of the container' },
  'keep-env': { help: 'begin with the environment of the caller (default)' },
  'keep-var': { value: 'NAME', multiple: true, help: 'with --clear-env: keep this variable' },
  'set-var': { short: 'v', value: 'NAME=VALUE', multiple: true, help: 'set a variable' },
  'pty-log': { short: 'L', value: 'FILE', help: 'append all output of the terminal to this file' },
  rcfile: { short: 'f', value: 'FILE', help: 'use this config instead of the container’s' },
  uid: { short: 'u', value: 'UID', help: 'the user inside, by number or name' },
  gid: { short: 'g', value: 'GID', help: 'the group inside' },
  context: { short: 'c', value: 'LABEL', help: 'the SELinux context it runs in; default: the container’s' },
} as const

export const tool = defineTool({
  name: 'lxc-attach',
  containers: 'active',
  summary: 'Runs a program in a running container: the shell of the user when none is named.',
  synopsis: '[--] [COMMAND…]',
  words: 'command',
  options: OPTIONS,
  details: `The program is confined as the container is: its cgroups, capabilities, seccomp filter and labels hold for it, too. On a
terminal it gets one of the container's; a terminal of the host is never handed in.`,
  exitCodes: {
    N: 'that of the program; 128 and the number of the signal that ended it',
    1: 'the container cannot be entered',
    126: 'the program cannot be run',
    127: 'there is no such program',
  },
  examples: [
    ['lxc-attach web', 'a shell'],
    ['lxc-attach web -- ps aux', 'one program'],
    ['lxc-attach web --clear-env -v TERM=xterm -u 1000 -- id', 'as a user, with a clean environment'],
    ["lxc-attach web -s 'NETWORK|UTSNAME' -R -- ip address", 'a program of the host in the network of the container'],
  ],
  async run({ options, words, open, warn }) {
    const container = await open()
    const user = options.uid === undefined ? undefined : readId(options.uid)
    const command = words.length > 0 ? words : [await findShell(container, user)]
    const running = container.attach(command, {
      ...stdioOptions(),
      reject: false,
      env: readEnvironment(options),
      ...(user === undefined ? {} : { user }),
      ...(options.gid === undefined ? {} : { group: readId(options.gid) }),
      ...(options.arch === undefined ? {} : { arch: options.arch as NonNullable<AttachOptions['arch']> }),
      ...(options.context === undefined ? {} : { context: options.context }),
      ...readParts(options),
    })
    try {
      return (await follow(running, options['pty-log'])).code
    } catch (error) {
      const code = execCode(error)
      if (code === undefined) throw error
      if (!options.quiet) warn(`${container.name}: ${(error as Error).message}`)
      return code
    }
  },
})

const readId = (text: string) => (/^\d+$/.test(text) ? Number(text) : text)

async function findShell(container: Container, user: string | number | undefined): Promise<string> {
  const pid = await container.initPid()
  return (pid === null ? undefined : findAccount(insideOf(pid), user).shell) ?? '/bin/sh'
}

/** Who the user is inside, and where at home, is the container's to say. */
const OF_THE_ACCOUNT = ['HOME', 'USER', 'LOGNAME', 'SHELL', 'PWD', 'OLDPWD', 'MAIL']

function readEnvironment(options: Values<typeof OPTIONS>): Record<string, string> {
  const kept = options['clear-env'] ? (options['keep-var'] ?? []) : Object.keys(process.env)
  const env: Record<string, string> = {}
  for (const name of kept) {
    const value = process.env[name]
    if (value !== undefined && (options['clear-env'] || !OF_THE_ACCOUNT.includes(name))) env[name] = value
  }
  for (const assignment of options['set-var'] ?? []) {
    const at = assignment.indexOf('=')
    if (at < 1) throw new UsageError(`--set-var takes NAME=VALUE, not ${assignment}`)
    env[assignment.slice(0, at)] = assignment.slice(at + 1)
  }
  return env
}

type Parts = Exclude<AttachOptions['elevated'], boolean | undefined>

const PARTS: Readonly<Record<string, Parts[number]>> = { CGROUP: 'cgroup', CAP: 'caps', LSM: 'lsm' }

function readParts(options: Values<typeof OPTIONS>): Pick<AttachOptions, 'elevated' | 'namespaces' | 'remount'> {
  const { namespaces, 'elevated-privileges': elevated } = options
  const wanted = namespaces === undefined ? {} : { namespaces: readList(namespaces, NAMESPACES, 'a namespace') }
  if (elevated === undefined && namespaces === undefined) return {}
  const parts = typeof elevated === 'string' ? readList(elevated, PARTS, 'a privilege') : true
  return { ...wanted, elevated: parts, remount: namespaces !== undefined && options['remount-sys-proc'] === true }
}

main(import.meta, tool)
