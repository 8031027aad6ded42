/**
 * Files of a container from outside, running or not. Paths are resolved below its root by openat2(2), so that no link of the
 * container leads out of it; what must be mounted for that is mounted in a namespace of its own and goes with its holder.
 *
 * Into a running container files are written by a shell of its own: only inside are its ids ids, and its mounts mounted.
 */
import { randomUUID } from 'node:crypto'
import { fstatSync, readFile } from 'node:fs'
import { chmod, chown, lstat, mkdir, open, readFile as readHostFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { throwIfAborted } from './abort.ts'
import type { Config } from './config/config.ts'
import { ContainerError, errnoName, refuseUnknown } from './errors.ts'
import { type ClosedRoot, isClosed, isClosedDirectory, makeClosed, readClosed, writeClosed } from './files_user.ts'
import { shiftId } from './host/shift.ts'
import type { Progress } from './image/template.ts'
import { check, native } from './native/binding.ts'
import { startProgram } from './native/program.ts'
import type { ContainerProcess } from './process.ts'
import type { AttachOptions } from './process_options.ts'
import { contentOf } from './rootfs.ts'
import { copyShifted, counter } from './storage/copy.ts'
import { type Shown, withView } from './storage/view.ts'

export interface WriteOptions {
  /** Default 0o644. */
  mode?: number
  /** As inside; default 0, and in a sandbox who its programs run as. */
  uid?: number
  gid?: number
}

/** How a copy goes on; it can be broken off, and then what it has copied stays. */
export interface TransferOptions {
  onProgress?(progress: Progress): void
  signal?: AbortSignal
}

/** What files need of their container. */
export interface FilesOf {
  readonly name: string
  readonly config: Config
  /** Who owns what is written, where that is no choice: only these ids may be mapped. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  initPid(): Promise<number | null>
  attach(command: readonly string[], options?: AttachOptions): ContainerProcess
}

interface Root extends Shown {
  /** Of the init of a running container. */
  readonly pid?: number
  /** Of a stopped container whose files are not the caller's to look at. */
  readonly closed?: ClosedRoot
}

function transfer(phase: 'push' | 'pull', options: TransferOptions) {
  refuseUnknown(options, ['onProgress', 'signal'], phase)
  const { signal, onProgress } = options
  throwIfAborted(signal, `${phase} files`)
  const report = (done: number, total?: number): void =>
    onProgress?.({ phase, done, ...(total === undefined ? {} : { total }) })
  return { signal, report }
}

function throwAborted(error: Error, signal: AbortSignal | undefined, verb: string): never {
  throwIfAborted(signal, `${verb} files`)
  throw error
}

async function pullClosed(
  root: ClosedRoot,
  guest: string,
  host: string,
  { signal, report }: ReturnType<typeof transfer>,
): Promise<void> {
  if (await isClosedDirectory(root, guest, signal)) {
    await mkdir(host, { recursive: true })
    return copyShifted(root.directory, host, { from: root.shift }, { signal, onBytes: report, fromAt: guest })
  }
  const { mode, data } = await readClosed(root, guest, signal)
  await writeFile(host, data, { mode: mode & 0o777, signal })
  report(data.length, data.length)
}

/** Written beside and renamed, as is done outside. */
const WRITE = 'umask 077; cat >"$1.$2"; chmod "$3" "$1.$2"; chown "$4" "$1.$2"; mv -f "$1.$2" "$1"'

export class Files {
  readonly #of: FilesOf

  constructor(of: FilesOf) {
    this.#of = of
  }

  /** The contents of a regular file. Throws ENOENT, EISDIR and what else the kernel says. */
  async read(file: string): Promise<Buffer> {
    return this.#root('read', async root => {
      if (root.closed !== undefined) return (await readClosed(root.closed, file)).data
      const descriptor = this.#open(root, file)
      try {
        // Opened without waiting: a FIFO or device is refused here and not read (CVE-2024-9676 is that class).
        if (!fstatSync(descriptor).isFile()) throw this.#error('EINVAL', 'read', file, 'it is no regular file')
        return await promisify(readFile)(descriptor)
      } finally {
        native().addon.closeDescriptors([descriptor])
      }
    })
  }

  /** Writes a file; who reads it meanwhile finds the old one or the new one. Its directory must exist. */
  async write(file: string, data: string | Uint8Array, options: WriteOptions = {}): Promise<void> {
    const { mode = 0o644 } = options
    const { uid, gid } = { uid: 0, gid: 0, ...this.#of.owner, ...options }
    if ((await this.#of.initPid()) !== null) {
      const args = [file, `caisson-${randomUUID()}`, mode.toString(8), `${uid}:${gid}`]
      await this.#of.attach(['/bin/sh', '-euc', WRITE, 'sh', ...args], { input: data })
      return
    }
    await this.#root('write', async root => {
      if (root.closed !== undefined) return writeClosed(root.closed, file, data, { mode, uid, gid })
      await this.#below(root, path.posix.dirname(file), async directory => {
        const target = `${directory}/${path.posix.basename(file)}`
        const beside = `${target}.caisson-${randomUUID()}`
        try {
          await writeFile(beside, data, { flag: 'wx', mode: 0o600 })
          await chown(beside, shiftId(root.shift, 'uid', uid), shiftId(root.shift, 'gid', gid))
          await chmod(beside, mode)
          await rename(beside, target)
        } finally {
          await rm(beside, { force: true })
        }
      })
    })
  }

  /** Copies a file, or a directory with all that is in it, into the container. Modes and owners are kept. Progress is of bytes. */
  async push(host: string, guest: string, options: TransferOptions = {}): Promise<void> {
    const { signal, report } = transfer('push', options)
    const info = await lstat(host)
    if (!info.isDirectory()) {
      const owner = this.#of.owner ?? { uid: info.uid, gid: info.gid }
      const data = await readHostFile(host, { signal }).catch(error => throwAborted(error, signal, 'push'))
      await this.write(guest, data, { mode: info.mode & 0o7777, ...owner })
      return report(data.length, data.length)
    }
    if ((await this.#of.initPid()) !== null) {
      await this.#of.attach(['/bin/sh', '-euc', 'mkdir -p "$1"', 'sh', guest])
      const tar = startProgram('tar', ['--create', '--file=-', '--numeric-owner', '.'], { cwd: host, signal })
      const owners = this.#of.owner === undefined ? [] : ['-o']
      const counted = (tar.stdout as Readable).pipe(counter(report))
      const input = { input: counted, ...(signal && { signal }) }
      await this.#of.attach(['tar', '-x', '-p', ...owners, '-f', '-', '-C', guest], input).then(
        () => undefined,
        (error: unknown) => {
          tar.kill()
          throw error
        },
      )
      await tar.done
      return
    }
    await this.#root('push', async root => {
      if (root.closed !== undefined) {
        await makeClosed(root.closed, guest, signal)
        const { directory, shift } = root.closed
        return copyShifted(host, directory, { to: shift }, { signal, onBytes: report, toAt: guest })
      }
      await this.#below(root, path.posix.dirname(guest), async parent => {
        await mkdir(`${parent}/${path.posix.basename(guest)}`).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'EEXIST') throw error
        })
        await this.#below(root, guest, directory =>
          copyShifted(host, directory, { to: root.shift }, { signal, onBytes: report, seenTo: root.through }),
        )
      })
    })
  }

  /** Copies a file, or a directory with all that is in it, out of the container. Owners are those of the inside. Progress is of bytes. */
  async pull(guest: string, host: string, options: TransferOptions = {}): Promise<void> {
    const { signal, report } = transfer('pull', options)
    await this.#root('pull', async root => {
      if (root.closed !== undefined) return pullClosed(root.closed, guest, host, { signal, report })
      const descriptor = this.#open(root, guest)
      try {
        const info = fstatSync(descriptor)
        if (info.isDirectory()) {
          await mkdir(host, { recursive: true })
          const given = { through: root.pid, seenFrom: root.through, signal, onBytes: report }
          return await copyShifted(`/proc/self/fd/${descriptor}`, host, { from: root.shift }, given)
        }
        if (!info.isFile()) throw this.#error('EINVAL', 'pull', guest, 'it is no regular file')
        const file = await open(host, 'w', info.mode & 0o777)
        try {
          const data = await promisify(readFile)(descriptor)
          await file.writeFile(data, { signal }).catch(error => throwAborted(error, signal, 'pull'))
          report(data.length, data.length)
        } finally {
          await file.close()
        }
      } finally {
        native().addon.closeDescriptors([descriptor])
      }
    })
  }

  /** The root, as it is seen while `act` runs. */
  async #root<T>(verb: string, act: (root: Root) => Promise<T>): Promise<T> {
    const pid = await this.#of.initPid()
    const map = this.#of.config.value('lxc.idmap')
    const shift = map.length === 0 ? undefined : map
    if (pid !== null) return act({ path: `/proc/${pid}/root`, shift, pid, through: undefined })
    const content = contentOf(this.#of.config)
    if (content === undefined)
      throw this.#error('ERR_ROOTFS_MISSING', verb, '/', 'it has no root file system of its own')
    const { name } = this.#of
    const open = (shown: Shown): Promise<T> =>
      act(
        shown.through === undefined && isClosed(shown.shift)
          ? { ...shown, closed: { name, directory: shown.path, shift: shown.shift } }
          : shown,
      )
    return withView(content, 'write', open).catch(error => {
      throw this.#explain(error, verb)
    })
  }

  /** An error of Node's says nothing of the container, and names a descriptor instead of the file. */
  #explain(error: NodeJS.ErrnoException, verb: string): Error {
    if (error instanceof ContainerError || error.code === undefined) return error
    const hint = 'its files belong to ids that only root and the container itself may act for: start it first'
    const isDenied = ['EACCES', 'EPERM'].includes(error.code) && process.geteuid?.() !== 0
    const [, text] = errnoName(-(error.errno ?? 0))
    return new ContainerError(error.code, `Cannot ${verb} files of container "${this.#of.name}": ${text}`, {
      container: this.#of.name,
      syscall: error.syscall,
      ...(isDenied ? { hint } : {}),
      cause: error,
    })
  }

  #open(root: Root, file: string): number {
    return check(native().addon.openBelow(root.path, file), { verb: `open ${file} of`, container: this.#of.name })
  }

  /** A directory of the container as a path that names its descriptor. */
  async #below<T>(root: Root, directory: string, act: (path: string) => Promise<T>): Promise<T> {
    const descriptor = this.#open(root, directory)
    try {
      return await act(`/proc/self/fd/${descriptor}`)
    } finally {
      native().addon.closeDescriptors([descriptor])
    }
  }

  #error(code: string, verb: string, file: string, state: string): ContainerError {
    return new ContainerError(code, `Cannot ${verb} "${file}" of container "${this.#of.name}": ${state}`, {
      container: this.#of.name,
      path: file,
    })
  }
}
