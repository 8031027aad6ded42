/**
 * /etc/hosts, /etc/hostname and /etc/resolv.conf of a container whose network is managed: files of the host, shown read only. The image
 * stays as it is, its root may be read only, and nothing of them goes with it to another host. They are mounted below the pre-opened root
 * (openat2(2)); a symlink of the image is covered itself, so that where it leads does not matter.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ManagedNetwork } from './managed_network.ts'
import type { MountSpec } from './native/spec.ts'
import { printResolvers } from './network/dns.ts'
import { ATTRIBUTE } from './spec/mount.ts'

interface Named {
  readonly runDir: string
  readonly hostname: string
}

/** The files of a container on these networks, in the order of its interfaces; none where all leave names alone. */
export async function nameFiles(
  networks: readonly ManagedNetwork[],
  { runDir, hostname }: Named,
): Promise<MountSpec[]> {
  const [first, ...others] = networks.filter(({ settings }) => settings.dns !== false)
  if (first === undefined) return []
  const all = [first, ...others] as const
  const domains = all.flatMap(({ settings }) => (settings.domain === undefined ? [] : [settings.domain]))
  await writeFile(join(runDir, 'hostname'), `${hostname}\n`, { mode: 0o644 })
  return [
    shown(await ManagedNetwork.hostsFile([...all]), 'hosts'),
    shown(join(runDir, 'hostname'), 'hostname'),
    await resolverFile(
      runDir,
      all.flatMap(({ resolvers }) => resolvers),
      [...new Set(domains)],
    ),
  ]
}

/** /etc/resolv.conf with these servers; without any, the host's. */
export async function resolverFile(
  runDir: string,
  servers: readonly string[],
  domains: readonly string[],
): Promise<MountSpec> {
  const file = join(runDir, 'resolv.conf')
  await writeFile(file, await printResolvers(servers, domains), { mode: 0o644 })
  return shown(file, 'resolv.conf')
}

function shown(source: string, name: string): MountSpec {
  return {
    source,
    target: `etc/${name}`,
    type: '',
    recursive: false,
    relative: false,
    attributes: ATTRIBUTE.rdonly,
    cleared: 0,
    options: [],
    propagation: 'unchanged',
    create: 'cover',
    // A root file system without /etc, or a read-only one without the file, does without.
    optional: true,
    idmap: 'none',
    userNamespace: -1,
  }
}
