/** Profiles, kept in files: one for each, by name, in a directory of the user's own. */
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'
import { checkProfile, checkProfileName, PRESETS, type Profile } from './config/profile.ts'
import { ContainerError, nearest } from './errors.ts'
import { ifMissing, writeWhole } from './host/file.ts'

/** /var/lib/caisson/profiles, or below XDG_DATA_HOME for who is not root. */
function defaultPath(): string {
  if (process.geteuid?.() === 0) return '/var/lib/caisson/profiles'
  return path.join(process.env.XDG_DATA_HOME ?? path.join(homedir(), '.local/share'), 'caisson/profiles')
}

/** Where LXC's packages put configs that are included by name. */
const SHIPPED = '/usr/share/lxc/config'

export class Profiles {
  readonly path: string

  private constructor(directory: string) {
    this.path = directory
  }

  /** Opens a directory of profiles; default: /var/lib/caisson/profiles, or below XDG_DATA_HOME. It is made when something is kept. */
  static open(directory: string = defaultPath()): Profiles {
    return new Profiles(path.resolve(directory))
  }

  /** The names of all, presets among them. */
  async list(): Promise<string[]> {
    const files = (await readdir(this.path).catch(ifMissing)) ?? []
    const kept = files.flatMap(file => (file.endsWith('.json') ? [file.slice(0, -'.json'.length)] : []))
    return [...new Set([...Object.keys(PRESETS), ...kept])].sort()
  }

  /** One by its name. Throws ERR_PROFILE_NOT_FOUND. */
  async get(name: string): Promise<Profile> {
    const profile = (await this.#read(name)) ?? PRESETS[name]
    if (profile !== undefined) return profile
    const near = nearest(name, await this.list())
    throw new ContainerError('ERR_PROFILE_NOT_FOUND', `Cannot find profile "${name}" in ${this.path}`, {
      path: this.path,
      hint: near === undefined ? 'list() says which there are' : `did you mean "${near}"?`,
    })
  }

  /** Keeps a new one. Throws ERR_PROFILE_EXISTS, ERR_INVALID_OPTION. */
  async create(name: string, profile: Profile): Promise<void> {
    if ((await this.#read(name)) !== undefined)
      throw new ContainerError('ERR_PROFILE_EXISTS', `Cannot create profile "${name}": it exists`, {
        hint: 'edit() it',
      })
    await this.#write(name, profile)
  }

  /** Changes one: what `change` gives takes its place. Containers that were made with it stay as they are. */
  async edit(name: string, change: (profile: Profile) => Profile): Promise<void> {
    await this.#write(name, change(structuredClone(await this.get(name))))
  }

  /** Gives one that is kept another name. */
  async rename(name: string, to: string): Promise<void> {
    await this.#demand(name)
    checkProfileName(to)
    if ((await this.#read(to)) !== undefined)
      throw new ContainerError('ERR_PROFILE_EXISTS', `Cannot rename profile "${name}": "${to}" exists`)
    await rename(this.file(name), this.file(to))
  }

  /** Removes one that is kept; a preset of that name is then seen again. */
  async remove(name: string): Promise<void> {
    await this.#demand(name)
    await rm(this.file(name))
  }

  /** The file of one, which the option `profiles` takes, too. */
  file(name: string): string {
    checkProfileName(name)
    return path.join(this.path, `${name}.json`)
  }

  async #demand(name: string): Promise<void> {
    if ((await this.#read(name)) !== undefined) return
    if (PRESETS[name] === undefined) await this.get(name)
    throw new ContainerError('ERR_INVALID_OPTION', `Cannot change profile "${name}": it is a preset`, {
      hint: 'create one of that name, which is taken instead',
    })
  }

  async #read(name: string): Promise<Profile | undefined> {
    const text = await readFile(this.file(name), 'utf8').catch(ifMissing)
    return text === undefined ? undefined : parseProfile(name, text)
  }

  async #write(name: string, profile: Profile): Promise<void> {
    checkProfileName(name)
    checkProfile(name, profile)
    await mkdir(this.path, { recursive: true, mode: 0o700 })
    await writeWhole(this.file(name), `${JSON.stringify(profile, printBigint, 2)}\n`)
  }
}

const printBigint = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? Number(value) : value)

function parseProfile(name: string, text: string): Profile {
  let profile: Profile
  try {
    profile = JSON.parse(text) as Profile
  } catch (cause) {
    throw new ContainerError('ERR_INVALID_OPTION', `Cannot read profile "${name}": it is damaged`, { cause })
  }
  checkProfile(name, profile)
  return profile
}

/** What the names of the option `profiles` stand for: profiles, and config files that are included. */
export async function findProfiles(
  names: readonly string[],
): Promise<{ readonly profiles: readonly Profile[]; readonly includes: readonly string[] }> {
  const store = Profiles.open()
  const profiles: Profile[] = []
  const includes: string[] = []
  for (const name of names) {
    if (name.endsWith('.json') && name.includes('/')) profiles.push(parseProfile(name, await readFile(name, 'utf8')))
    else if (name.includes('/')) includes.push(name)
    else if ((await store.list()).includes(name)) profiles.push(await store.get(name))
    else if (/^[\w.-]+$/.test(name) && (await isFile(`${SHIPPED}/${name}.conf`))) includes.push(name)
    else await store.get(name)
  }
  return { profiles, includes }
}

const isFile = (file: string): Promise<boolean> =>
  readFile(file).then(
    () => true,
    () => false,
  )
