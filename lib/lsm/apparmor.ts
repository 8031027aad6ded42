/**
 * AppArmor: which profile a container gets, its loading by apparmor_parser(8) and its removal.
 *
 * A profile of its own is generated for each container (`generated`, and the default). It is loaded before the monitor starts, stands in
 * the ledger, and goes when the container has ended; recover() removes what a killed monitor left. A kernel that runs no AppArmor has
 * nothing to load; on every other the generated profile is in force or the start fails. A profile that is named is always demanded.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from '../config/config.ts'
import { ContainerError } from '../errors.ts'
import { hasProgram, runProgram } from '../native/program.ts'
import { type AppArmorFeatures, generateProfile, policyNamespace } from './profile.ts'

const SECURITYFS = '/sys/kernel/security/apparmor'

/** What this host's AppArmor can do. Undefined: the kernel runs none. */
export interface AppArmorHost {
  readonly features: AppArmorFeatures
  /** Policy can be loaded: this is root, outside any profile, and the parser is there. */
  readonly loads: boolean
  /** Why it cannot. */
  readonly obstacle: string | undefined
}

/** Probes once per call; a few reads. */
export function readAppArmor(): AppArmorHost | undefined {
  if (text('/sys/module/apparmor/parameters/enabled') !== 'Y') return undefined
  const has = (feature: string) => existsSync(`${SECURITYFS}/features/${feature}`)
  const obstacle = obstacleToLoading()
  return {
    features: {
      mount: has('mount'),
      unix: has('network/af_unix') || has('network_v8/af_unix') || has('network_v9/af_unix'),
      stack: text(`${SECURITYFS}/features/domain/stack`) === 'yes',
      mqueue: has('ipc/posix_mqueue'),
      userns: has('namespaces/userns_create'),
    },
    loads: obstacle === undefined,
    obstacle,
  }
}

function obstacleToLoading(): string | undefined {
  if (process.geteuid?.() !== 0) return 'only root can load policy'
  const label = text('/proc/self/attr/apparmor/current') ?? text('/proc/self/attr/current')
  if (label !== undefined && label !== 'unconfined') return `this process is confined itself, by "${label}"`
  if (!existsSync(SECURITYFS)) return 'securityfs is not mounted'
  return hasProgram('apparmor_parser') ? undefined : 'apparmor_parser is not installed'
}

function text(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}

/** What a start has to load first, and what init's exec is to enter ('' leaves the label as it is). */
export interface AppArmorChoice {
  readonly label: string
  readonly profile?:
    | { readonly name: string; readonly text: string; readonly namespace: string | undefined }
    | undefined
}

/** Chooses by lxc.apparmor.*. `tag` is the container's, caisson.NAME.HASH. Throws ERR_FEATURE_MISSING for what is asked for and not there. */
export function chooseProfile(
  config: Config,
  tag: string,
  userNamespace: boolean,
  host = readAppArmor(),
): AppArmorChoice {
  const wanted = config.value('lxc.apparmor.profile') ?? (host?.loads ? 'generated' : 'unchanged')
  if (wanted === 'unchanged') return { label: '' }
  if (wanted === 'unconfined') return { label: host === undefined ? '' : 'unconfined' }
  if (wanted !== 'generated') return { label: named(config, wanted, host) }
  if (host === undefined) return { label: '' }
  if (!host.loads)
    throw missing(
      config,
      `the profile cannot be loaded: ${host.obstacle}`,
      'install the package "apparmor", or write lxc.apparmor.profile = unconfined',
    )
  if (!host.features.mount && !config.value('lxc.apparmor.allow_incomplete')) {
    throw missing(config, 'this kernel does not mediate mounts', 'set lxc.apparmor.allow_incomplete = 1 to go without')
  }
  const nesting = config.value('lxc.apparmor.allow_nesting')
  const { features } = host
  const profile = generateProfile({
    name: tag,
    features,
    nesting,
    userNamespace,
    raw: config.value('lxc.apparmor.raw'),
  })
  const namespace = nesting && features.stack ? policyNamespace(tag) : undefined
  return {
    label: namespace === undefined ? tag : `${tag}//&:${namespace}:`,
    profile: { name: tag, text: profile, namespace },
  }
}

function named(config: Config, name: string, host: AppArmorHost | undefined): string {
  if (host === undefined) {
    throw missing(
      config,
      `profile "${name}" was asked for and this kernel does not run AppArmor`,
      'boot with apparmor=1 security=apparmor, or write lxc.apparmor.profile = unconfined',
    )
  }
  const loaded = text(`${SECURITYFS}/profiles`)
  const known = loaded?.split('\n').some(line => line.replace(/ \(\w+\)$/, '') === name)
  if (known === false) throw missing(config, `profile "${name}" is not loaded`, 'load it: apparmor_parser -r FILE')
  return name
}

function missing(config: Config, state: string, hint: string): ContainerError {
  return new ContainerError('ERR_FEATURE_MISSING', `Cannot use AppArmor: ${state}`, {
    hint,
    ...config.where('lxc.apparmor.profile'),
  })
}

/** Loads the chosen profile, or replaces it; `directory` keeps its text and the compiled form between starts. */
export async function loadProfile({ profile }: AppArmorChoice, directory: string): Promise<void> {
  if (profile === undefined) return
  const cache = path.join(directory, 'cache')
  await mkdir(cache, { recursive: true, mode: 0o700 })
  const file = path.join(directory, 'profile')
  if (text(file) !== profile.text.trim()) await writeFile(file, profile.text, { mode: 0o600 })
  if (profile.namespace !== undefined) mkdirSync(namespacePath(profile.namespace), { recursive: true })
  // What the distribution pins as policy features may lack what this kernel mediates, mounts among them (Debian 12).
  const features = ['--policy-features', `${SECURITYFS}/features`]
  await runProgram('apparmor_parser', ['--replace', '--write-cache', '--cache-loc', cache, ...features, file])
}

/** Removes a generated profile and its policy namespace; neither has to be there. True when something was. */
export function unloadProfile(name: string): boolean {
  const namespace = removeNamespace(namespacePath(policyNamespace(name)))
  return removeLoaded(name) || namespace
}

const namespacePath = (name: string): string => `${SECURITYFS}/policy/namespaces/${name}`

function removeNamespace(directory: string): boolean {
  if (!existsSync(directory)) return false
  rmdirSync(directory)
  return true
}

/** The kernel takes the bare name, without a parser: removing must work where only the monitor's leavings are. */
function removeLoaded(name: string): boolean {
  const known = text(`${SECURITYFS}/profiles`)
    ?.split('\n')
    .some(line => line.replace(/ \(\w+\)$/, '') === name)
  if (known) writeFileSync(`${SECURITYFS}/.remove`, name)
  return known === true
}
