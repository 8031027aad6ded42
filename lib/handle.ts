/** The monitor of one container, as the verbs use it: reached, asked, waited for. */
import { existsSync, fstatSync } from 'node:fs'
import path from 'node:path'
import { reach } from './adopt.ts'
import type { Running } from './attach.ts'
import type { Config } from './config/config.ts'
import { wasStarted } from './ephemeral.ts'
import { ContainerError } from './errors.ts'
import { type Ended, endOf, isLost, readEnd, watch } from './events.ts'
import { readHost } from './host/host.ts'
import type { Subject } from './interfaces.ts'
import { type Waiting, withLock } from './lock.ts'
import { type Action, check, native } from './native/binding.ts'
import type { Monitor } from './native/monitor.ts'
import type { Report, StartSpec } from './native/spec.ts'
import { readTag } from './network/names.ts'
import { prepareNetwork } from './prepare_network.ts'
import { recoverPlace, removeIfEnded } from './recover.ts'
import type { Running as Measured } from './resources.ts'
import { demandRights } from './rights.ts'
import { makeRunDir, type Place } from './store.ts'

/** How long init may take to shut down before everything is killed (LXC's default). */
const STOP_MS = 60_000

export class Handle {
  readonly place: Place
  #told: { readonly file: string; readonly spec: StartSpec } | undefined

  constructor(place: Place) {
    this.place = place
  }

  action(verb: string): Action {
    return { verb, container: this.place.name }
  }

  error(
    code: 'ERR_CONTAINER_RUNNING' | 'ERR_CONTAINER_NOT_RUNNING',
    verb: string,
    state: string,
    hint?: string,
  ): ContainerError {
    return new ContainerError(code, `Cannot ${verb} container "${this.place.name}": ${state}`, {
      container: this.place.name,
      hint,
    })
  }

  async network(verb: string): Promise<Subject> {
    const { pid, init, spec } = await this.running(verb)
    native().addon.closeDescriptors([init])
    const joinUser = process.geteuid?.() !== 0 && spec.namespaces.includes('user')
    return { name: this.place.name, lxcpath: this.place.lxcpath, pid, joinUser }
  }

  /** Those of lxc.net.N; `present` when they exist. */
  async links(index: number, config: Config, present: boolean) {
    const { links } = await prepareNetwork(config, { ...this.place, root: readHost().root, present })
    return links.filter(({ tag }) => readTag(tag)?.index === index)
  }

  /** Holds the container against other operations while `act` runs. Throws ERR_CONTAINER_BUSY, EACCES where it is somebody else's. */
  async exclusive<T>(verb: string, waiting: Waiting, act: () => Promise<T>): Promise<T> {
    const { name, directory, runDir } = this.place
    const action = `${verb} container "${name}"`
    // These two write elsewhere.
    if (verb !== 'start' && verb !== 'clone') demandRights(`Cannot ${action}`, directory, name)
    makeRunDir(this.place)
    return withLock(path.join(runDir, 'operation'), action, waiting, act)
  }

  /** Asks for the end, and waits until the monitor has undone everything. One that ended by itself meanwhile has ended too. */
  async end(verb: string, waiting: Waiting, ask: (monitor: Monitor) => Promise<unknown>): Promise<void> {
    const monitor = await this.connect(verb)
    try {
      const gone = endOf(monitor, waiting, this.action(verb))
      await monitor.request('subscribe', this.action(verb))
      await ask(monitor)
      await gone
    } catch (error) {
      if (!isLost(error)) throw error
      await recoverPlace(this.place)
    } finally {
      monitor.close()
    }
    await this.forget(verb)
  }

  /** Asks init to shut down, and kills everything after the timeout (ms); `force` kills at once. */
  async stop({ force = false, timeout = STOP_MS, signal }: { force?: boolean } & Waiting): Promise<void> {
    const action = this.action('stop')
    await this.end('stop', { signal }, monitor =>
      force ? monitor.request('kill', action) : monitor.request('stop', action, { timeoutMs: timeout }),
    )
  }

  /** Asks init to reboot; resolves when it is being started again. */
  async reboot(waiting: Waiting): Promise<void> {
    const action = this.action('reboot')
    const monitor = await this.connect('reboot')
    try {
      const isAgain = (report: Report) => report.kind === 'state' && report.state === 'STARTING'
      const again = watch(monitor, action, waiting, isAgain)
      await monitor.request('subscribe', action)
      await monitor.request('reboot', action)
      await again
    } finally {
      monitor.close()
    }
  }

  /** How init ended, once it has. */
  async ending(waiting: Waiting): Promise<Ended> {
    const monitor = await reach(this.place, this.action('wait for'))
    if (monitor === undefined) return readEnd(this.place)
    try {
      const gone = endOf(monitor, waiting, this.action('wait for'))
      await monitor.request('subscribe', this.action('wait for'))
      return await gone
    } catch (error) {
      if (!isLost(error)) throw error
      return await readEnd(this.place)
    } finally {
      monitor.close()
    }
  }

  /** Removes what is left of an ephemeral container that has ended. Others come back to theirs. */
  async forget(verb: string): Promise<void> {
    if (!wasStarted(this.place) && existsSync(this.place.directory)) return
    await this.exclusive(verb, {}, () => removeIfEnded(this.place))
  }

  async connect(verb: string): Promise<Monitor> {
    const monitor = await reach(this.place, this.action(verb))
    if (monitor === undefined)
      throw this.error('ERR_CONTAINER_NOT_RUNNING', verb, 'it is not running', 'start it first')
    return monitor
  }

  async ask(verb: 'state'): Promise<Awaited<ReturnType<Monitor['request']>> | undefined> {
    const monitor = await reach(this.place, this.action('look at'))
    if (monitor === undefined) return undefined
    try {
      return await monitor.request(verb, this.action('look at'))
    } catch (error) {
      if (error instanceof ContainerError && error.code === 'ERR_MONITOR_LOST') return undefined
      throw error
    } finally {
      monitor.close()
    }
  }

  async demand(verb: 'freeze' | 'thaw' | 'log', action: string, options: { number?: number; timeoutMs?: number } = {}) {
    const monitor = await this.connect(action)
    try {
      return await monitor.request(verb, this.action(action), options)
    } finally {
      monitor.close()
    }
  }

  /** The Spec that it was started with, and a pidfd of its init. */
  async running(verb: string): Promise<Running> {
    const monitor = await this.connect(verb)
    try {
      const { report, descriptors } = await monitor.request('spec', this.action(verb))
      if (report.state === 'FROZEN' && verb === 'attach to') {
        native().addon.closeDescriptors(descriptors)
        throw new ContainerError(
          'ERR_CONTAINER_FROZEN',
          `Cannot ${verb} container "${this.place.name}": it is frozen`,
          {
            container: this.place.name,
            hint: 'unfreeze it first',
          },
        )
      }
      const [init, told] = descriptors as [number, number]
      const spec = this.#decode(told, verb)
      native().addon.closeDescriptors([told])
      return { spec, pid: report.pid, init }
    } finally {
      monitor.close()
    }
  }

  /** What the monitor was told. The file is sealed: the same one says the same. */
  #decode(told: number, verb: string): StartSpec {
    const { dev, ino, ctimeNs } = fstatSync(told, { bigint: true })
    const file = `${dev} ${ino} ${ctimeNs}`
    if (this.#told?.file !== file)
      this.#told = { file, spec: check<StartSpec>(native().addon.decodeSpec(told), this.action(verb)) }
    return this.#told.spec
  }

  /** Its cgroups and its init, while it runs. */
  async measured(verb: string): Promise<{ cgroups: Measured; pid: number }> {
    const { spec, pid, init } = await this.running(verb)
    native().addon.closeDescriptors([init])
    return { cgroups: { name: this.place.name, cgroup: spec.cgroup }, pid }
  }
}
