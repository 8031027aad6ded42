/**
 * Names for containers that are on several networks: for each such set of networks one hosts file with the names of all, in a directory
 * beside theirs whose name is theirs with colons between, which no interface's name holds. The networks' lock is held meanwhile.
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Names, printHosts, writeHosts } from './dns.ts'
import { readLeases } from './leases.ts'
import { readSettings } from './settings.ts'

/** The file for this set, made now if it is the first container on it. */
export async function joinHosts(path: string, names: readonly string[]): Promise<string> {
  const directory = join(path, names.toSorted().join(':'))
  await mkdir(directory, { recursive: true })
  return publish(path, directory, names)
}

/** Tells every set of which a network is that its names have changed. */
export async function publishJoined(path: string, name: string): Promise<void> {
  for (const set of await setsWith(path, name)) await publish(path, join(path, set), set.split(':'))
}

/** Removes them, when the network is destroyed. */
export async function forgetJoined(path: string, name: string): Promise<void> {
  for (const set of await setsWith(path, name)) await rm(join(path, set), { recursive: true, force: true })
}

async function setsWith(path: string, name: string): Promise<string[]> {
  return (await readdir(path)).filter(set => set.includes(':') && set.split(':').includes(name))
}

async function publish(path: string, directory: string, names: readonly string[]): Promise<string> {
  const networks = await Promise.all(names.map(name => namesOf(join(path, name))))
  const file = join(directory, 'hosts')
  await writeHosts(file, printHosts(networks))
  return file
}

async function namesOf(directory: string): Promise<Names> {
  const settings = await readSettings(directory)
  return { leases: await readLeases(join(directory, 'leases')), domain: settings?.domain }
}
