/** The runtimes of the comparison, each with the defaults of its own documentation or generator, with a program to run in the same root. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Container, run } from '../lib/index.ts'
import { probe } from '../test/support/probe.ts'
import { isInstalled, type Place } from './peers.ts'

/** A runtime in its defaults: `run` gives what the program printed. */
export interface Contestant {
  readonly name: string
  /** What "defaults" means for it. */
  readonly how: string
  readonly version: string
  run(command: readonly string[]): Promise<string>
}

const output = ([program = '', ...args]: readonly string[]): string =>
  execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 26 })

/** The version of the Debian package, or what the program says of itself. */
function versionOf(name: string): string {
  try {
    return output(['dpkg-query', '-W', '-f', `$\{Version}`, name])
  } catch {
    return '–'
  }
}

/** What a runtime of OCI generates itself; changed are the command, the terminal, and a /tmp that can be written to. */
function fromBundle(program: 'runc' | 'crun', place: Place): Contestant {
  let serial = 0
  const prefix =
    program === 'crun' && place.hidden !== undefined ? ['nsenter', `--mount=/proc/${place.hidden.pid}/ns/mnt`] : []
  return {
    name: program,
    how: `\`${program} spec\`${prefix.length > 0 ? ', where the v2 hierarchy is hidden, since it refuses hybrid hosts' : ''}`,
    version: versionOf(program),
    run: async command => {
      const id = `compare-${program}-${process.pid}-${++serial}`
      const bundle = join(place.directory, id)
      mkdirSync(bundle)
      execFileSync(program, ['spec'], { cwd: bundle })
      const file = join(bundle, 'config.json')
      const config = JSON.parse(readFileSync(file, 'utf8'))
      Object.assign(config.process, { terminal: false, args: command })
      config.root.path = place.rootfs
      config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] })
      writeFileSync(file, JSON.stringify(config))
      return output([...prefix, program, 'run', '--bundle', bundle, id])
    },
  }
}

/** The first id that LXC's user is granted. */
const FIRST = 1_800_000_000

/** In a mount namespace of its own, where newuidmap(1) reads that root may use these ids. */
function granted(place: Place, command: readonly string[]): string[] {
  const ids = join(place.directory, 'subids')
  writeFileSync(ids, `root:${FIRST}:65536\n`)
  const script = `mount -n --bind ${ids} /etc/subuid && mount -n --bind ${ids} /etc/subgid && exec "$@"`
  return ['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh', ...command]
}

/** lxc-execute with what lxc-create writes for a container of root, or of a user. */
function fromLxc(place: Place, unprivileged: boolean): Contestant {
  let serial = 0
  const lines = [
    'lxc.include = /usr/share/lxc/config/common.conf',
    ...(unprivileged ? ['lxc.include = /usr/share/lxc/config/userns.conf'] : []),
    ...(unprivileged ? [`lxc.idmap = u 0 ${FIRST} 65536`, `lxc.idmap = g 0 ${FIRST} 65536`] : []),
    'lxc.net.0.type = empty',
    'lxc.mount.entry = tmpfs tmp tmpfs mode=1777 0 0',
    `lxc.rootfs.path = dir:${place.rootfs}`,
  ]
  const kind = unprivileged ? 'lxc-user' : 'lxc-root'
  const config = join(place.directory, `${kind}.conf`)
  writeFileSync(config, `${lines.join('\n')}\n`)
  return {
    name: unprivileged ? 'lxc, unprivileged' : 'lxc',
    how: `\`lxc-execute\` with common.conf${unprivileged ? ', userns.conf and 65,536 ids' : ', as root'}`,
    version: versionOf('lxc'),
    run: async command => {
      const name = `compare-${kind}-${process.pid}-${++serial}`
      const execute = ['lxc-execute', '-n', name, '-P', place.directory, '-f', config, '--', ...command]
      return output(unprivileged ? granted(place, execute) : execute)
    },
  }
}

function bubblewrap(place: Place): Contestant {
  const options = [
    '--ro-bind',
    place.rootfs,
    '/',
    '--proc',
    '/proc',
    '--dev',
    '/dev',
    '--tmpfs',
    '/tmp',
    '--unshare-all',
  ]
  return {
    name: 'bubblewrap',
    how: '`bwrap --unshare-all` with `--proc`, `--dev` and `--tmpfs /tmp`, as root',
    version: versionOf('bubblewrap'),
    run: async command => output(['bwrap', ...options, ...command]),
  }
}

/** All that are installed. Ours come first. The container is the caller's to destroy. */
export async function contestants(place: Place, version: string): Promise<[Container, readonly Contestant[]]> {
  copyFileSync(probe, join(place.rootfs, 'probe'))
  const container = await Container.create('compare', { path: join(place.directory, 'ours'), rootfs: place.rootfs })
  const ours: Contestant[] = [
    {
      name: 'caisson, container',
      how: '`Container.create()`, `execute()`, as root',
      version,
      run: async command => (await container.execute(command as [string], { maxBuffer: 2 ** 26 })).stdout,
    },
    {
      name: 'caisson, run()',
      how: '`run()` in that root, as root',
      version,
      run: async command => (await run(command as [string], { rootfs: place.rootfs, maxBuffer: 2 ** 26 })).stdout,
    },
  ]
  const others = [
    ...(isInstalled('lxc-execute') ? [fromLxc(place, false), fromLxc(place, true)] : []),
    ...(['runc', 'crun'] as const).filter(isInstalled).map(program => fromBundle(program, place)),
    ...(isInstalled('bwrap') ? [bubblewrap(place)] : []),
  ]
  return [container, [...ours, ...others]]
}
