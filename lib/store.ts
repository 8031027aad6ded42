/** Where containers lie: LXC's layout on disk (LXCPATH/NAME/config), and the run directory of what is running. */
import { createHash } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync } from 'node:fs'
import { rm, rmdir } from 'node:fs/promises'
import path from 'node:path'
import { globalConfig } from './config/global.ts'
import { ContainerError } from './errors.ts'
import { followLinks } from './storage/path.ts'

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/

/** Whether it can be the name of a container, and of a snapshot. */
export const isName = (name: unknown): name is string => typeof name === 'string' && NAME.test(name)

/** Refuses what is no container name, before anything is touched. */
export function validateName(name: unknown): asserts name is string {
  if (isName(name)) return
  throw new ContainerError('ERR_INVALID_NAME', `Cannot use ${JSON.stringify(name)} as the name of a container`, {
    hint: 'a name begins with a letter or digit, and has at most 64 letters, digits, "_", "." and "-"',
  })
}

/** The lxcpath to use: the one given, else lxc.lxcpath of lxc.conf, else LXC's default. Always absolute. */
export function resolveLxcpath(given: string | undefined): string {
  if (given !== undefined && (typeof given !== 'string' || given === '' || /[\0\n]/.test(given))) {
    throw new ContainerError('ERR_INVALID_OPTION', `Cannot use ${JSON.stringify(given)} as lxcpath: it is not a path`)
  }
  const lxcpath = path.resolve(given ?? globalConfig('lxc.lxcpath') ?? '/var/lib/lxc')
  // It keeps its name, of which its tag is made.
  followLinks(lxcpath)
  return lxcpath
}

/** The places of one container. */
export interface Place {
  readonly name: string
  readonly lxcpath: string
  /** LXCPATH/NAME */
  readonly directory: string
  readonly configFile: string
  /** 0700, of the monitor: socket, lock, ledger, records. */
  readonly runDir: string
  /** Begins the name of every kernel object of the container: `caisson.<name>.<hash of lxcpath>`. */
  readonly tag: string
}

/** The last one, since a list of containers asks hundreds of times for the same. */
let hashed: { readonly lxcpath: string; readonly hash: string } | undefined

function hashOf(lxcpath: string): string {
  if (hashed?.lxcpath !== lxcpath)
    hashed = { lxcpath, hash: createHash('sha256').update(lxcpath).digest('hex').slice(0, 8) }
  return hashed.hash
}

export function placeOf(name: string, lxcpath: string): Place {
  const hash = hashOf(lxcpath)
  const directory = path.join(lxcpath, name)
  return {
    name,
    lxcpath,
    directory,
    configFile: path.join(directory, 'config'),
    runDir: path.join(runRoot(), hash, name),
    tag: `caisson.${name}.${hash}`,
  }
}

/** The place of a container by name and lxcpath, whether it is there or not. Throws ERR_INVALID_NAME, ERR_INVALID_OPTION. */
export function placeFor(name: string, lxcpath: string | undefined): Place {
  validateName(name)
  return placeOf(name, resolveLxcpath(lxcpath))
}

/** Where run directories are: /run/caisson for root, below XDG_RUNTIME_DIR for others, and else below /tmp in a directory of the user's own. */
export function runRoot(): string {
  const uid = process.geteuid?.() ?? 0
  if (uid === 0) return '/run/caisson'
  const runtime = process.env.XDG_RUNTIME_DIR
  return runtime?.startsWith('/') ? path.join(runtime, 'caisson') : `/tmp/caisson-${uid}`
}

/** Makes the run directory, each level 0700 and ours: in /tmp somebody else may have been there first. */
export function makeRunDir(place: Place): void {
  for (const directory of [runRoot(), path.dirname(place.runDir), place.runDir]) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const info = lstatSync(directory)
    if (info.isDirectory() && info.uid === process.geteuid?.()) {
      if ((info.mode & 0o077) !== 0) chmodSync(directory, 0o700)
      continue
    }
    throw new ContainerError('EPERM', `Cannot use the run directory ${directory}: it is not a directory of this user`, {
      path: directory,
      hint: 'remove it, or set XDG_RUNTIME_DIR to a directory of your own',
    })
  }
}

/** Removes the run directory of a container that is gone, and the one of its lxcpath when it was the last. */
export async function removeRunDir(place: Place): Promise<void> {
  // Who recovers at this moment makes a lock file in it.
  await rm(place.runDir, { recursive: true, force: true, maxRetries: 3 })
  await rmdir(path.dirname(place.runDir)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'ENOENT') throw error
  })
}
