/** Containers of the tests: their own lxcpath, the probe as init unless another is wanted, and destroyed at the end whatever happened. */
import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import { type AttachOptions, Container, type CreateOptions } from '../../lib/index.ts'
import { snapshot } from './host.ts'
import { parseReport, type Report } from './probe.ts'
import { directory, rootfs } from './rootfs.ts'

export interface TestContainer {
  readonly container: Container
  readonly lxcpath: string
  readonly rootfs: string
}

/** The tag of an lxcpath, for host snapshots. */
export const tagOf = (lxcpath: string): string => createHash('sha256').update(lxcpath).digest('hex').slice(0, 8)

/** What bears the tag of an lxcpath: cgroups, links, run directories, profiles. */
function tracesOf(tag: string): string[] {
  return Object.entries(snapshot(tag)).flatMap(([what, entries]) =>
    what === 'processes' || what === 'descriptors' ? [] : entries.filter(entry => entry.includes(tag)),
  )
}

/** Makes a container in an lxcpath of its own. */
export async function makeContainer(
  t: Test,
  options: CreateOptions & { init?: 'probe' | 'busybox' } = {},
): Promise<TestContainer> {
  const { init, ...rest } = options
  const lxcpath = options.path ?? directory(t)
  const root = typeof options.rootfs === 'string' ? options.rootfs : rootfs(t, init === undefined ? {} : { init })
  const container = await Container.create('c', { path: lxcpath, rootfs: root, ...rest })
  t.teardown(async () => {
    const there = await Container.open('c', { path: lxcpath }).catch(() => undefined)
    await there?.destroy({ force: true })
    const left = tracesOf(tagOf(lxcpath))
    if (left.length > 0) throw new Error(`the container has left on the host:\n${left.join('\n')}`)
  })
  return { container, lxcpath, rootfs: root }
}

/** Makes one and starts it. */
export async function startContainer(
  t: Test,
  options: CreateOptions & { init?: 'probe' | 'busybox' } = {},
): Promise<TestContainer> {
  const made = await makeContainer(t, options)
  await made.container.start()
  return made
}

/** What the probe sees when it is attached. */
export async function look(container: Container, options: AttachOptions = {}): Promise<Report> {
  return parseReport((await container.attach(['/probe'], options)).stdout)
}

/** The error that a promise rejects with. */
export async function errorOf(
  promise: PromiseLike<unknown>,
): Promise<Error & { code?: string; hint?: string; step?: string }> {
  const settled = await promise.then(
    () => undefined,
    (error: Error) => error,
  )
  if (settled === undefined) throw new Error('it did not reject')
  return settled
}

/** All that /dev of a container has (H5). */
export const DEVICES = [
  'console',
  'fd',
  'full',
  'mqueue',
  'null',
  'ptmx',
  'pts',
  'random',
  'shm',
  'stderr',
  'stdin',
  'stdout',
  'tty',
  'urandom',
  'zero',
]
