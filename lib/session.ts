/**
 * What the sandboxes of one Node process share: host ids, names, and one ledger.
 *
 * A sandbox writes nothing to disk. Its cgroups carry the session's number, and the session's run directory has a ledger that says so and
 * a lock that this process holds while it lives: when it was killed, and the monitors with it, the next session or recover() removes
 * what is left. Ranges of ids are claimed by the block, with a lock on one byte of a file for each, so that no two processes use one.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Host } from './host/host.ts'
import { SANDBOX_POOL } from './host/users.ts'
import { type LedgerEntry, SESSION } from './ledger.ts'
import { tryLock } from './lock.ts'
import { native } from './native/binding.ts'
import { recoverSessions } from './recover.ts'
import { makeRunDir, type Place, placeOf, runRoot } from './store.ts'

const RANGE = 65_536
/** Ranges claimed at a time. */
const BLOCK = 32

export class Session {
  readonly id = randomBytes(4).toString('hex')
  readonly #host: Host
  /** Its run directory: there as long as this process. */
  readonly directory: string
  readonly #mapped: boolean
  readonly #free: number[] = []
  #block = Math.floor(Math.random() * (SANDBOX_POOL.count / RANGE / BLOCK))
  #count = 0
  #isLeft = false

  constructor(host: Host) {
    this.#host = host
    this.#mapped = host.root && isMapped(SANDBOX_POOL.first, SANDBOX_POOL.count)
    const place: Place = { ...placeOf(SESSION, ''), runDir: path.join(runRoot(), this.id, SESSION) }
    makeRunDir(place)
    this.directory = place.runDir
    const lock = tryLock(path.join(this.directory, 'lock'), 'begin a session of sandboxes') as number
    this.#writeLedger()
    // Nobody waits for it; what it can't remove it finds again.
    recoverSessions().catch(error => process.emitWarning(error as Error))
    process.once('exit', () => {
      // What still runs ends with this process, and removes its own cgroups; the ledger is for those that can't.
      native().addon.closeDescriptors([lock])
      if (!this.#isLeft) removeDirectory(path.dirname(this.directory))
    })
  }

  /** The monitor of a sandbox was killed: the ledger stays for the next session, or recover(), to clean up by. */
  leave(): void {
    this.#isLeft = true
  }

  /** A name that no other sandbox of this host has. */
  name(): string {
    return `run-${++this.#count}`
  }

  /** Names the cgroups of a sandbox; what the ledger looks for. */
  tag(name: string): string {
    return `caisson.${name}.${this.id}`
  }

  /** The first of a free range of host ids; undefined where the caller can map none but its own. */
  takeIds(): number | undefined {
    if (!this.#mapped) return undefined
    if (this.#free.length === 0) this.#claim()
    return this.#free.shift()
  }

  giveIds(first: number | undefined): void {
    if (first !== undefined) this.#free.push(first)
  }

  #claim(): void {
    const blocks = SANDBOX_POOL.count / RANGE / BLOCK
    for (let tries = 0; tries < blocks; tries++) {
      const block = this.#block
      this.#block = (block + 1) % blocks
      // Held until this process ends.
      if (tryLock(path.join(runRoot(), 'sandbox-ids'), 'claim ids', block) === undefined) continue
      for (let i = 0; i < BLOCK; i++) this.#free.push(SANDBOX_POOL.first + (block * BLOCK + i) * RANGE)
      return
    }
  }

  #writeLedger(): void {
    const entries = this.#host.cgroups.hierarchies.flatMap(({ mount, base }): LedgerEntry[] =>
      base === undefined ? [] : [{ kind: 'cgroups', path: path.posix.join(mount, base.path, `*.${this.id}`) }],
    )
    const ledger = { version: 1, bootId: this.#host.bootId, name: SESSION, lxcpath: '', entries }
    const file = path.join(this.directory, 'ledger.json')
    writeFileSync(`${file}.new`, `${JSON.stringify(ledger, null, 1)}\n`, { mode: 0o600 })
    renameSync(`${file}.new`, file)
  }
}

/** A program that has given up its rights leaves its ledger to the next session, which finds no lock on it. */
function removeDirectory(directory: string): void {
  try {
    rmSync(directory, { recursive: true, force: true })
  } catch (error) {
    if (!['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

/** Whether ids are ids of this process's user namespace: they are not for the root of a small container. */
function isMapped(first: number, count: number): boolean {
  return readFileSync('/proc/self/uid_map', 'utf8')
    .split('\n')
    .some(line => {
      const [inside, , length] = line.trim().split(/\s+/).map(Number) as [number, number, number]
      return inside <= first && first + count <= inside + length
    })
}
