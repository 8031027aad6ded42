/** The filter of a container: its policy chosen by the config, compiled by the addon, kept by content. */
import { mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from './config/config.ts'
import { ContainerError } from './errors.ts'
import { check, native } from './native/binding.ts'
import type { SeccompPolicy } from './native/spec.ts'
import { FilterCache } from './seccomp/compile.ts'
import { parsePolicy } from './seccomp/policy.ts'
import { defaultProfile, type ProfileName } from './seccomp/profiles.ts'
import { resolveRules, type SeccompRules } from './seccomp/rules.ts'
import { runRoot } from './store.ts'
import { inTurns, type Parts, takeAll } from './turns.ts'
import { version } from './version.ts'

/** A finished program; empty for none. */
export interface Filter {
  readonly program: Uint8Array
  /** Some calls are answered by a process outside. */
  readonly notify: boolean
}

/** Counts what the compiler (addon/kernel/seccomp_*.cc) writes differently within one version of the library. */
const COMPILER = 3

let cache: FilterCache | undefined

/** Compiling takes some milliseconds, so programs are kept for the next process too. */
function filters(): FilterCache {
  if (cache === undefined) {
    const directory = path.join(runRoot(), 'filters')
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const compiler = (policy: SeccompPolicy) =>
      check(native().addon.compileSeccomp(policy), { verb: 'compile the seccomp filter' })
    cache = new FilterCache(compiler, { directory, compiler: `${version}+${COMPILER}` })
  }
  return cache
}

const profiles = new Map<string, Filter>()

/** The default filter of a profile. */
export function profileFilter(profile: ProfileName, nesting = false): Filter {
  return takeAll(profileParts(profile, nesting))
}

function* profileParts(profile: ProfileName, nesting: boolean): Parts<Filter> {
  const key = nesting ? `${profile} nesting` : profile
  const known = profiles.get(key)
  if (known !== undefined) return known
  const policy = defaultProfile(profile, { nesting })
  yield
  const filter = compile(policy)
  profiles.set(key, filter)
  return filter
}

/** What a config asks for: lxc.seccomp.profile, caisson.seccomp, or the system profile. */
export async function compileFilter(config: Config): Promise<Filter> {
  const profile = config.value('lxc.seccomp.profile')
  if (profile !== undefined) return compile(parsePolicy(await read(profile), { file: profile }).policy)
  const own = config.value('caisson.seccomp')
  if (own === 'none') return { program: new Uint8Array(), notify: false }
  if (own === undefined || own === 'default' || own === 'nesting') {
    return inTurns(profileParts('system', own === 'nesting'))
  }
  return compile(resolveRules(JSON.parse(await read(own)) as SeccompRules))
}

function compile(policy: SeccompPolicy): Filter {
  const notify = [policy.defaultAction, ...policy.rules.map(({ action }) => action)].some(
    ({ kind }) => kind === 'notify',
  )
  return { program: filters().compile(policy).program, notify }
}

async function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ContainerError(error.code ?? 'EIO', `Cannot read the seccomp policy ${file}: ${error.message}`, {
      path: file,
      cause: error,
      hint: 'name an existing file as lxc.seccomp.profile, or remove the key to have the default filter',
    })
  })
}
