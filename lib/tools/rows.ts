/** The rows of lxc-ls: containers, and those that run inside them. */
import type { Container } from '../container.ts'
import type { State } from '../events.ts'
import { addresses, type Interface, interfaces } from '../interfaces.ts'
import { type Init, type Nested, nestedIn } from '../nested.ts'
import type { Stats } from '../stats.ts'

/** What the columns tell of one. */
export interface Row {
  readonly name: string
  /** How deep it is inside others. */
  readonly depth: number
  readonly state: State
  readonly pid: number | undefined
  readonly autostart: boolean
  readonly groups: readonly string[]
  readonly unprivileged: boolean
  ips(family: 4 | 6): Promise<string[]>
  interfaces(): Promise<readonly Interface[]>
  /** Undefined where nobody can tell. */
  stats(): Promise<Stats> | undefined
  look(): Promise<void>
}

/** A container of this host, asked once for what several columns tell. */
export class ContainerRow implements Row {
  readonly container: Container
  readonly depth = 0
  state: State = 'STOPPED'
  pid: number | undefined
  #interfaces: Promise<readonly Interface[]> | undefined
  #stats: Promise<Stats> | undefined

  constructor(container: Container) {
    this.container = container
  }

  get name(): string {
    return this.container.name
  }

  get autostart(): boolean {
    return Boolean(this.container.config.value('lxc.start.auto'))
  }

  get groups(): readonly string[] {
    return this.container.config.get('lxc.group') ?? []
  }

  get unprivileged(): boolean {
    return (this.container.config.get('lxc.idmap') ?? []).length > 0
  }

  async look(): Promise<void> {
    this.pid = (await this.container.initPid()) ?? undefined
    if (this.pid !== undefined) this.state = await this.container.state()
  }

  ips(family: 4 | 6): Promise<string[]> {
    return this.container.ips({ family })
  }

  interfaces(): Promise<readonly Interface[]> {
    this.#interfaces ??= this.container.interfaces()
    return this.#interfaces
  }

  stats(): Promise<Stats> {
    this.#stats ??= this.container.stats()
    return this.#stats
  }
}

/** One inside another. What it uses is counted with that. */
class NestedRow implements Row {
  readonly depth: number
  readonly #nested: Nested

  constructor(nested: Nested, depth: number) {
    this.#nested = nested
    this.depth = depth
  }

  get name(): string {
    return this.#nested.name
  }

  get pid(): number | undefined {
    return this.#nested.pid
  }

  get state(): State {
    return this.#nested.pid === undefined ? 'STOPPED' : 'RUNNING'
  }

  get autostart(): boolean {
    return this.#nested.autostart
  }

  get groups(): readonly string[] {
    return this.#nested.groups
  }

  get unprivileged(): boolean {
    return this.#nested.unprivileged
  }

  ips(family: 4 | 6): Promise<string[]> {
    return addresses(this.#subject(), { family })
  }

  interfaces(): Promise<readonly Interface[]> {
    return interfaces(this.#subject())
  }

  stats(): undefined {
    return undefined
  }

  async look(): Promise<void> {
    // All that can be known is known.
  }

  #subject() {
    return { name: this.name, lxcpath: this.#nested.lxcpath, pid: this.pid as number }
  }
}

/** A row with those inside it behind it, down to a depth. */
export function withNested(row: Row, deepest: number, processes: readonly Init[]): Row[] {
  if (row.pid === undefined || row.depth >= deepest) return [row]
  const inside = nestedIn(row.pid, processes).map(nested => new NestedRow(nested, row.depth + 1))
  return [row, ...inside.flatMap(each => withNested(each, deepest, processes))]
}
