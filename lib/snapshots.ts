/** `container.snapshots`: the snapshots of one container, each operation under its lock. */
import type { Waiting } from './lock.ts'
import {
  createSnapshot,
  destroyAllSnapshots,
  destroySnapshot,
  listSnapshots,
  renameSnapshot,
  restoreAs,
  restoreInPlace,
  type Snapshot,
} from './snapshot.ts'
import type { Place } from './store.ts'

/** What snapshots need of their container, of whichever class that is. */
export interface SnapshotsOf<C> {
  place(): Place
  exclusive<T>(verb: string, waiting: Waiting, act: () => Promise<T>): Promise<T>
  open(place: Place): Promise<C>
  reload(): Promise<void>
}

export class Snapshots<C> {
  readonly #of: SnapshotsOf<C>

  constructor(of: SnapshotsOf<C>) {
    this.#of = of
  }

  /** Keeps the present state; gives its name, `snapN`. */
  create(options: { comment?: string } & Waiting = {}): Promise<string> {
    return this.#of.exclusive('make a snapshot of', options, () => createSnapshot(this.#of.place(), options))
  }

  list(): Promise<readonly Snapshot[]> {
    return listSnapshots(this.#of.place())
  }

  /** Puts the container back into that state, or makes a new container of it. What is there stays until the new stands. */
  async restore(name: string, as?: string, options: Waiting = {}): Promise<C> {
    const own = this.#of.place()
    const made = await this.#of.exclusive('restore', options, async () => {
      if (as !== undefined && as !== own.name) return restoreAs(own, name, as, options)
      await restoreInPlace(own, name, options)
      return own
    })
    if (made === own) await this.#of.reload()
    return this.#of.open(made)
  }

  /** Gives a snapshot another name, which is a name of containers. Throws ERR_CONTAINER_EXISTS. */
  rename(name: string, to: string): Promise<void> {
    return this.#of.exclusive('rename a snapshot of', {}, () => renameSnapshot(this.#of.place(), name, to))
  }

  destroy(name: string): Promise<void> {
    return this.#of.exclusive('destroy a snapshot of', {}, () => destroySnapshot(this.#of.place(), name))
  }

  destroyAll(): Promise<void> {
    return this.#of.exclusive('destroy the snapshots of', {}, () => destroyAllSnapshots(this.#of.place()))
  }
}
