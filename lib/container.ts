import { existsSync } from 'node:fs'
import { attach } from './attach.ts'
import { Callbacks, type HookCallback } from './callbacks.ts'
import { type CloneOptions, clone } from './clone.ts'
import { Config } from './config/config.ts'
import { compileLimits, keepLimits, type Limits } from './config/limits.ts'
import type { HookName, MountEntry } from './config/options.ts'
import { type ConsoleOptions, type ConsoleStream, openConsole, readLog } from './console.ts'
import { ControlFiles } from './control_files.ts'
import { type CreateOptions, create } from './create.ts'
import { destroy } from './destroy.ts'
import { addDevice, removeDevice } from './devices.ts'
import { type ContainerError, refuseUnknown } from './errors.ts'
import { type ContainerEvent, type Ended, eventsOf, type State, waitForState } from './events.ts'
import { execute } from './execute.ts'
import { Files } from './files.ts'
import { findPlace, listPlaces } from './find.ts'
import { Handle } from './handle.ts'
import { readHardware } from './host/hardware.ts'
import {
  type AddressOptions,
  addLinks,
  addresses,
  attachInterface,
  detachInterface,
  type Interface,
  interfaces,
  limitInterface,
  removeLinks,
} from './interfaces.ts'
import type { Waiting } from './lock.ts'
import { changeInside, injected } from './mounts.ts'
import { native } from './native/binding.ts'
import type { Monitor } from './native/monitor.ts'
import type { TraceEntry } from './native/spec.ts'
import { watchNotices } from './notices.ts'
import type { ContainerProcess } from './process.ts'
import type { AttachOptions } from './process_options.ts'
import { isMonitored } from './recover.ts'
import { type RenameOptions, rename } from './rename.ts'
import { changeLimits } from './resources.ts'
import type { SyscallHandler } from './seccomp/notify.ts'
import { Snapshots } from './snapshots.ts'
import { start } from './start.ts'
import { readStats, type Stats } from './stats.ts'
import { type Place, placeFor, removeRunDir } from './store.ts'
import { onSyscall, type SyscallOptions } from './syscalls.ts'

/** How a container is started. */
export interface StartOptions {
  /** Instead of lxc.init.cmd. */
  command?: readonly string[]
  /** It ends with this process at the latest; default false: it outlives it. */
  foreground?: boolean
  /** Measure each step. */
  trace?: boolean
  /** Told of each default that this host or this user cannot hold, one sentence each: 'pids.max = 4096 does not hold: …'. */
  onNote?(note: string): void
}

const STOP_FIRST = 'stop it first, or give { force: true }'

export class Container implements AsyncDisposable {
  #handle: Handle
  #config: Config | undefined
  #foreground: Monitor | undefined
  readonly #hooks: Callbacks

  private constructor(place: Place, config?: Config, hooks = new Callbacks()) {
    this.#handle = new Handle(place)
    this.#config = config
    this.#hooks = hooks
  }

  /** Makes a container. Nothing of it is visible before it is whole. Throws ERR_CONTAINER_EXISTS, ERR_INVALID_NAME, ERR_TEMPLATE … */
  static async create(name: string, options: CreateOptions = {}): Promise<Container> {
    const hooks = new Callbacks()
    const place = await create(name, options, hooks)
    return new Container(place, await Config.read(place.configFile), hooks)
  }

  /**
   * Opens a container that exists. `lenient` is for looking at one, stopping it, destroying it: its config is read when it is first asked
   * for, and what is wrong in it is passed over. With `config` that is used instead of the container's own, and the container need not be on
   * disk: nothing is left of it at its end. Throws ERR_CONTAINER_NOT_FOUND, ERR_CONFIG_*.
   */
  static async open(
    name: string,
    options: { path?: string; lenient?: boolean; config?: Config } = {},
  ): Promise<Container> {
    refuseUnknown(options, ['path', 'lenient', 'config'], 'Container.open')
    if (options.config !== undefined) return new Container(placeFor(name, options.path), options.config)
    const place = await findPlace(name, options.path)
    return new Container(
      place,
      options.lenient || !existsSync(place.configFile) ? undefined : await Config.read(place.configFile),
    )
  }

  /** The containers of an lxcpath by name, leniently: those on disk (default), those that run, on disk or not, or all. */
  static async list(options: { path?: string; state?: 'defined' | 'active' | 'all' } = {}): Promise<Container[]> {
    refuseUnknown(options, ['path', 'state'], 'Container.list')
    const places = await listPlaces(options.path, options.state)
    return places.map(place => new Container(place))
  }

  /** The `lxc.*` keys; changes take effect at the next start, and last when saved. */
  get config(): Config {
    const { configFile } = this.#handle.place
    this.#config ??= existsSync(configFile) ? Config.readNow(configFile, { lenient: true }) : new Config()
    return this.#config
  }

  get name(): string {
    return this.#handle.place.name
  }

  /** The lxcpath it lives in. */
  get path(): string {
    return this.#handle.place.lxcpath
  }

  /** RUNNING, STOPPED, FROZEN … as its monitor says; STOPPED without one. */
  async state(): Promise<State> {
    return (await this.#handle.ask('state'))?.report.state ?? 'STOPPED'
  }

  /** The pid of its first process, in this process's pid namespace; null when it does not run. */
  async initPid(): Promise<number | null> {
    return (await this.#handle.ask('state'))?.report.pid || null
  }

  /**
   * Starts it and resolves once its init has been exec'ed. It outlives this process, unless `foreground`: then it ends with this process
   * at the latest. Resolves to how long each step took, with `trace`.
   */
  async start(options: StartOptions & Waiting = {}): Promise<readonly TraceEntry[]> {
    refuseUnknown(options, ['command', 'foreground', 'trace', 'onNote', 'timeout', 'signal'], 'start')
    return this.#handle.exclusive('start', options, async () => {
      const { state } = (await this.#handle.ask('state'))?.report ?? {}
      if (state !== undefined) throw this.#handle.error('ERR_CONTAINER_RUNNING', 'start', `it is ${state} already`)
      const { foreground = false, command, trace = false } = options
      const hooks = this.#hooks
      const made = await start(this.#handle.place, this.config, { foreground, command, trace, hooks }, [], options)
      const { monitor, answer, notes } = made
      native().addon.closeDescriptors(answer.descriptors)
      if (foreground) this.#foreground = monitor
      else if (hooks.points.length === 0) monitor.close()
      else monitor.once('exited', () => monitor.close())
      for (const note of notes) options.onNote?.(note)
      return made.trace
    })
  }

  /** Runs a program, lxc.execute.cmd when none is named, as the container's only process under a tiny init: lxc-execute. */
  execute(command?: readonly string[], options: AttachOptions = {}): ContainerProcess {
    return execute(this.#handle.place, this.config, command, options, this.#hooks)
  }

  /** Runs a program inside the running container; a shell of root's when none is named. */
  attach(command: readonly string[] = ['/bin/sh'], options: AttachOptions = {}): ContainerProcess {
    return attach(this.name, command, options, () => this.#handle.running('attach to'))
  }

  /** Stops all its processes where they are; resolves when all stand still. Throws ERR_TIMEOUT, and it runs on. */
  async freeze(options: Waiting = {}): Promise<void> {
    await this.#handle.demand('freeze', 'freeze', { timeoutMs: options.timeout ?? 10_000 })
  }

  async unfreeze(_options: Waiting = {}): Promise<void> {
    await this.#handle.demand('thaw', 'unfreeze')
  }

  /** Asks init to shut down, and kills everything after the timeout (ms; default 60,000); `force` kills at once. */
  async stop(options: { force?: boolean } & Waiting = {}): Promise<void> {
    refuseUnknown(options, ['force', 'timeout', 'signal'], 'stop')
    await this.#handle.stop(options)
  }

  /** Asks init to shut down and waits; kills nothing. Throws ERR_TIMEOUT, and it goes on shutting down. */
  async shutdown(options: Waiting = {}): Promise<void> {
    await this.#handle.end('shut down', options, monitor => monitor.request('stop', this.#handle.action('shut down')))
  }

  /** Asks init to reboot (lxc.signal.reboot); resolves when it runs again. */
  async reboot(options: Waiting = {}): Promise<void> {
    await this.#handle.reboot(options)
    await this.wait('RUNNING', options)
  }

  /** Resolves with the first of those states that it is in. */
  async wait(state: State | readonly State[], options: Waiting = {}): Promise<State> {
    const wanted = typeof state === 'string' ? [state] : state
    return waitForState(this.#handle.place, wanted, options)
  }

  /** Resolves when init has ended, or at once when it has: a halt by reboot(2) counts as exit code 0. */
  async exited(options: Waiting = {}): Promise<Ended> {
    const end = await this.#handle.ending(options)
    await this.#handle.forget('wait for')
    return end
  }

  /**
   * What happens to it, as it comes, until it has ended or the signal fires: states, the end, processes killed for want of memory, and on
   * cgroup v2 also processes that wait for a resource (PSI) and the cgroup becoming empty. Throws ERR_CONTAINER_NOT_RUNNING.
   */
  events(options: { signal?: AbortSignal } = {}): AsyncIterable<ContainerEvent> {
    const connect = () => this.#handle.connect('watch')
    const observe = async (push: (event: ContainerEvent) => void) =>
      watchNotices((await this.#handle.measured('watch')).cgroups, push)
    return { [Symbol.asyncIterator]: () => eventsOf(connect, observe, this.#handle.action('watch'), options) }
  }

  /** Control files of its cgroups: `get`, `set`. */
  readonly cgroup = new ControlFiles(() => this.#handle)

  /**
   * Changes limits, all or none; they are kept in the config, and on a running container take effect at once. Throws ERR_INVALID_OPTION
   * for a limit that makes no sense, ERR_NO_CGROUP for one that this host cannot hold.
   */
  async limit(limits: Limits): Promise<void> {
    const settings = isMonitored(this.#handle.place.runDir)
      ? await changeLimits((await this.#handle.measured('limit')).cgroups, limits)
      : compileLimits(limits, readHardware())
    keepLimits(this.config, settings)
    await this.config.save()
  }

  /** What it uses now. */
  async stats(): Promise<Stats> {
    const { cgroups, pid } = await this.#handle.measured('read the statistics of')
    return readStats(cgroups, pid)
  }

  /**
   * Its console (default) or one of its ttys, as a stream. The console begins with its log and may have any number of viewers; one that
   * reads nothing for two seconds while there is output loses it. A tty has one viewer. Throws ERR_CONTAINER_BUSY, ERR_CONTAINER_STATE.
   */
  async console(options: ConsoleOptions = {}): Promise<ConsoleStream> {
    const verb = 'open the console of'
    return openConsole(await this.#handle.connect(verb), this.#handle.action(verb), options)
  }

  /** What was written to its console lately. */
  async consoleLog(options: { clear?: boolean } = {}): Promise<Buffer> {
    refuseUnknown(options, ['clear'], 'consoleLog')
    const { descriptors } = await this.#handle.demand('log', 'read the console of', { number: options.clear ? 1 : 0 })
    return readLog(descriptors)
  }

  /** The interfaces it has now, lo among them. */
  async interfaces(): Promise<readonly Interface[]> {
    return interfaces(await this.#handle.network('look at the network of'))
  }

  /**
   * Its addresses, without those of lo and link-local ones. With a timeout (ms) it waits until there is one. Throws ERR_TIMEOUT.
   */
  async ips(options: AddressOptions = {}): Promise<string[]> {
    refuseUnknown(options, ['family', 'interface', 'timeout', 'signal'], 'ips')
    return addresses(await this.#handle.network('read the addresses of'), options)
  }

  /** Moves an interface of the host into it, under that name. It is lent until `detachInterface` or the end. */
  async attachInterface(host: string, name?: string): Promise<void> {
    await attachInterface(await this.#handle.network(`attach "${host}" to`), host, name)
  }

  /** Moves an interface of it to the host, under that name. */
  async detachInterface(name: string, host?: string): Promise<void> {
    await detachInterface(await this.#handle.network(`detach "${name}" from`), name, host)
  }

  /** Makes the interface number N of the config (lxc.net.N) in the running container. */
  async addNetwork(index: number): Promise<void> {
    await addLinks(
      await this.#handle.network('add an interface to'),
      await this.#handle.links(index, this.config, false),
    )
  }

  /** Removes the interface number N of the config from the running container; the config stays. */
  async removeNetwork(index: number): Promise<void> {
    await removeLinks(
      await this.#handle.network('remove an interface from'),
      await this.#handle.links(index, this.config, true),
    )
  }

  /** Limits a veth of the running container, in bits per second seen from the container; what is left out is unlimited. */
  async limitInterface(name: string, limits: { ingress?: number; egress?: number }): Promise<void> {
    refuseUnknown(limits, ['ingress', 'egress'], 'limitInterface')
    await limitInterface(await this.#handle.network(`limit "${name}" of`), name, limits)
  }

  /**
   * Answers system calls of the container and of what is attached to it: those whose rule says `notify` (Linux 5.0). From now on, after each
   * start too, until disposed of; the event loop stays alive as long. Without a handler such a call waits. One process answers at a time:
   * another one that asks takes over when the first has ended, with the calls that it left. A handler that throws fails its call with
   * ENOSYS; `onError` hears of it, and of a filter without such a rule, instead of a process warning.
   */
  onSyscall(handler: SyscallHandler, options: SyscallOptions = {}): Disposable {
    refuseUnknown(options, ['onError'], 'onSyscall')
    return onSyscall(this.#handle.place, handler, options)
  }

  /**
   * Calls a function at a point of its life, from the next start, clone or destruction by this object on until disposed of. Functions of a
   * point come before its programs (lxc.hook.*), in this process, one after the other, and the container waits for them, a minute at most.
   * One that throws fails what is being done with ERR_HOOK; after the end it is a process warning. A start needs this process to live; at the
   * end, and when the container reboots, `stop` and `post-stop` are called only while it does.
   */
  onHook(type: HookName, callback: HookCallback): Disposable {
    return this.#hooks.add(type, callback)
  }

  /** Its files, running or not: `read`, `write`, `push`, `pull`. */
  readonly files = new Files(this)

  /** Its snapshots: `create`, `list`, `restore`, `rename`, `destroy`, `destroyAll`. It must be stopped for all but `list`. */
  readonly snapshots = new Snapshots({
    place: () => this.#handle.place,
    exclusive: (verb, waiting, act) => this.#handle.exclusive(verb, waiting, act),
    open: place => Container.open(place.name, { path: place.lxcpath }),
    reload: () => this.#reload(),
  })

  /** Makes a copy of the stopped container; with `snapshot` it shares what does not change, where the storage can. */
  async clone(name: string, options: CloneOptions = {}): Promise<Container> {
    const place = await this.#handle.exclusive('clone', options, () =>
      clone(this.#handle.place, name, options, made => this.#hooks.call('clone', made, null)),
    )
    return Container.open(place.name, { path: place.lxcpath })
  }

  /** Gives the stopped container another name, or lxcpath. It must have no snapshots, and no clone may stand on its storage. */
  async rename(name: string, options: RenameOptions = {}): Promise<void> {
    refuseUnknown(options, ['path', 'timeout', 'signal'], 'rename')
    const before = this.#handle.place
    this.#handle = new Handle(await this.#handle.exclusive('rename', options, () => rename(before, name, options)))
    await removeRunDir(before)
    await this.#reload()
  }

  /** Mounts something into it while it runs; gone at its end. Throws the kernel's reason, or ERR_CONTAINER_NOT_RUNNING. */
  async mount(entry: MountEntry): Promise<void> {
    const mounts = [injected(entry)]
    await changeInside(this.name, 'mount into', await this.#handle.running('mount into'), { mounts })
  }

  /** Takes the topmost mount at a path inside away. EINVAL when nothing is mounted there. */
  async unmount(target: string): Promise<void> {
    await changeInside(this.name, 'unmount in', await this.#handle.running('unmount in'), { unmounts: [target] })
  }

  /** Lets it use a device of the host while it runs, as `as` inside (default: the same path): node and cgroup rule. */
  async addDevice(device: string, as?: string): Promise<void> {
    await addDevice(this.#handle.place, await this.#handle.running('add a device to'), device, as)
  }

  /** Takes a device away that was added, by its path inside. */
  async removeDevice(device: string): Promise<void> {
    await removeDevice(this.#handle.place, await this.#handle.running('remove a device from'), device)
  }

  /** Removes it from disk; `force` stops it first. Throws ERR_CONTAINER_RUNNING, ERR_CONTAINER_BUSY. */
  async destroy(options: { force?: boolean; snapshots?: boolean } = {}): Promise<void> {
    refuseUnknown(options, ['force', 'snapshots'], 'destroy')
    if (isMonitored(this.#handle.place.runDir)) {
      if (!options.force) throw this.#handle.error('ERR_CONTAINER_RUNNING', 'destroy', 'it is running', STOP_FIRST)
      await this.#kill()
    }
    await this.#handle.exclusive('destroy', {}, () => destroy(this.#handle.place, this.config, this.#hooks, options))
    await removeRunDir(this.#handle.place)
  }

  /** Stops it when it runs; it stays on disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#foreground?.close()
    if (isMonitored(this.#handle.place.runDir)) await this.#kill()
  }

  // ── how it is done ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Stops it at once; one that has just ended by itself is stopped, too. */
  async #kill(): Promise<void> {
    await this.stop({ force: true }).catch((error: ContainerError) => {
      if (error.code !== 'ERR_CONTAINER_NOT_RUNNING') throw error
    })
  }

  /** The config as it now is on disk. */
  async #reload(): Promise<void> {
    this.config.clear()
    this.config.file = this.#handle.place.configFile
    await this.config.load(this.#handle.place.configFile)
  }
}
