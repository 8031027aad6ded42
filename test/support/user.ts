/**
 * Test files run by an ordinary user, who lives in a mount namespace only: passwd(5), subuid(5) and subgid(5) of the host are covered there,
 * not changed. Whoever wants a delegated cgroup gets one in each hierarchy, which goes at the end.
 */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { readCgroups } from '../../lib/host/cgroups.ts'
import { directory } from './rootfs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export const USER = 'caisson-tester'
export const UID = 61_234
/** The first of the ids that the user is granted. */
export const FIRST = 1_700_000_000

export interface User {
  /** How many subordinate ids; 0: no line in the files. */
  readonly ids: number
  /** Whether it lives in a cgroup that is its own. */
  readonly delegated: boolean
  /** Root instead, in such namespaces and with such a home. */
  readonly root?: true
  /** Lines of a shell that root runs in the namespaces before; with them the network is one of its own. */
  readonly network?: string
  /** Files and directories that cover those of the host, by the path that they cover. */
  readonly covers?: Readonly<Record<string, string>>
  readonly environment?: Readonly<Record<string, string>>
  /** Files of its home, by their paths there. */
  readonly files?: Readonly<Record<string, string>>
  /**
   * A systemd of the user's own and its bus, on a host of cgroup v2 alone; with `delegated`. It lives aside in the same delegated cgroup, since
   * without a systemd of the system it has to move processes by itself.
   */
  readonly manager?: true
}

/** Runs a test file as such a user, as a subtest. */
export function runAsUser(t: Test, name: string, user: User, file: string): void {
  const home = directory(t)
  const cgroups = user.delegated ? delegate(t) : []
  const covers = { ...accounts(home, user.ids), ...user.covers }
  furnish(join(home, 'home'), user)
  const environment = {
    PATH: process.env.PATH ?? '',
    HOME: join(home, 'home'),
    XDG_RUNTIME_DIR: join(home, 'home/run'),
    TS_NODE_TRANSPILE_ONLY: '1',
    TAP_TIMEOUT: '240', // of .taprc; without it the file has thirty seconds
    CAISSON_TEST_IDS: String(user.ids),
    CAISSON_TEST_DELEGATED: user.delegated ? '1' : '',
    ...user.environment,
  }
  const words = Object.entries(environment).map(([key, value]) => `${key}=${value}`)
  const mounts = Object.entries(covers).map(([path, by]) => `mount -n --bind '${by}' '${path}'`)
  const joins = user.manager
    ? managerOf(t, cgroups, home)
    : cgroups.map(path => `echo $$ >'${path}/session/cgroup.procs'`)
  const drop = user.root ? [] : ['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups']
  const program = ['env', '-i', ...words, process.execPath, '--import=@tapjs/typescript/import', file]
  const script = [user.network ?? '', ...mounts, ...joins, 'exec "$@"'].join('\n')
  const spaces = ['--mount', '--propagation', 'private', ...(user.network === undefined ? [] : ['--net'])]
  t.spawn(
    'unshare',
    [...spaces, 'sh', '-euc', script, 'sh', ...drop, ...program],
    { cwd: root, timeout: 240_000 },
    name,
  )
}

/** Lines of a shell that start both, and then join the session. sd_booted(3) looks at the directory below /run. */
function managerOf(t: Test, cgroups: readonly string[], home: string): string[] {
  const unified = cgroups.find(path => existsSync(`${path}/cgroup.kill`)) ?? ''
  const own = `/sys/fs/cgroup/${basename(unified)}`
  mkdirSync(`${unified}/manager`)
  for (const file of ['.', 'cgroup.procs', 'cgroup.subtree_control'])
    chownSync(join(unified, 'manager', file), UID, UID)
  // It runs before the directories are removed: what was said last is done first.
  t.teardown(() => writeFileSync(`${unified}/cgroup.kill`, '1'))
  const runtime = `${home}/home/run`
  const words = ['PATH=/usr/bin:/bin', `HOME=${home}/home`, `XDG_RUNTIME_DIR=${runtime}`]
  const user = `setpriv --reuid=${UID} --regid=${UID} --clear-groups env -i ${words.join(' ')}`
  const bus = `DBUS_SESSION_BUS_ADDRESS=unix:path=${runtime}/bus`
  const manager = 'org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager'
  return [
    'mount -n -t tmpfs none /run && mkdir -p /run/systemd/system',
    'umount -n -R /sys/fs/cgroup && mount -n -t cgroup2 none /sys/fs/cgroup',
    `echo $$ >'${own}/manager/cgroup.procs'`,
    `${user} dbus-daemon --session --address=unix:path=${runtime}/bus --nofork --nopidfile >'${home}/bus.log' 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- &`,
    `${user} ${bus} /lib/systemd/systemd --user >'${home}/manager.log' 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- &`,
    `for try in $(seq 100); do ${user} busctl --user get-property ${manager} ControlGroup >/dev/null 2>&1 && break; sleep 0.1; done`,
    `echo $$ >'${own}/session/cgroup.procs'`,
  ]
}

/** A home as useradd(8) makes it today: nobody else passes. */
function furnish(home: string, { files = {}, root }: User): void {
  for (const path of [home, join(home, 'run')]) mkdirSync(path, { mode: 0o700 })
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(home, path)), { recursive: true })
    writeFileSync(join(home, path), text)
  }
  const all = readdirSync(home, { recursive: true }).map(path => join(home, String(path)))
  for (const path of root ? [] : [home, ...all]) chownSync(path, UID, UID)
}

function accounts(home: string, ids: number): Record<string, string> {
  const texts = {
    passwd: `${readFileSync('/etc/passwd', 'utf8')}${USER}:x:${UID}:${UID}::${home}/home:/bin/sh\n`,
    subuid: ids === 0 ? '' : `${USER}:${FIRST}:${ids}\n`,
    subgid: ids === 0 ? '' : `${USER}:${FIRST}:${ids}\n`,
  }
  return Object.fromEntries(
    Object.entries(texts).flatMap(([name, text]) => {
      const file = join(home, name)
      writeFileSync(file, text)
      chmodSync(file, 0o644)
      // Where there is no such file there is nothing to cover, and nothing is granted.
      return existsSync(`/etc/${name}`) ? [[`/etc/${name}`, file]] : []
    }),
  )
}

/** A directory of the user's own in each hierarchy, and one below it to live in: systemd does the same with Delegate=yes. */
let delegations = 0
function delegate(t: Test): string[] {
  const name = `caisson-user.${process.pid}.${++delegations}`
  const made = readCgroups().hierarchies.map(({ version, mount, controllers }) => {
    const path = `${mount}/${name}`
    if (version === 2) enable(mount, controllers)
    for (const directory of [path, `${path}/session`]) {
      mkdirSync(directory)
      for (const name of controllers.includes('cpuset') && version === 1 ? ['cpuset.cpus', 'cpuset.mems'] : [])
        writeFileSync(`${directory}/${name}`, readFileSync(`${mount}/${name}`))
      const files = ['cgroup.procs', version === 1 ? 'tasks' : 'cgroup.subtree_control']
      for (const file of ['.', ...files]) chownSync(join(directory, file), UID, UID)
    }
    return path
  })
  t.teardown(async () => {
    for (const path of made) await remove(path)
  })
  return made
}

/** The host's own top shares out what it has; a test leaves that as it is, and has what was shared out before. */
function enable(mount: string, controllers: readonly string[]): void {
  const shared = readFileSync(`${mount}/cgroup.subtree_control`, 'utf8').split(/\s+/)
  for (const name of controllers)
    if (!shared.includes(name)) writeFileSync(`${mount}/cgroup.subtree_control`, `+${name}`)
}

async function remove(path: string): Promise<void> {
  for (const { name } of readdirSync(path, { withFileTypes: true }).filter(entry => entry.isDirectory()))
    await remove(join(path, name))
  for (let tries = 0; existsSync(path); tries++) {
    try {
      rmdirSync(path)
    } catch (error) {
      if (tries > 2000) throw error
      await sleep(10)
    }
  }
}
