/**
 * Interfaces outside a start, by a monitor process that lives for one request: it may enter a container's namespaces, which
 * no thread of Node may. It costs about a millisecond and does not block the event loop.
 */
import { closeSync, openSync } from 'node:fs'
import { ContainerError } from './errors.ts'
import { type Action, launchMonitor, toError } from './native/binding.ts'
import type { LinkRequest, LinkSpec, LinkState, Report } from './native/spec.ts'

/** A container's network namespace: its init as a pid of the host, or none for the caller's own. */
export interface Where {
  /** Or a file on which the namespace is kept. */
  readonly file?: string | undefined
  readonly pid?: number | undefined
  /** The container has a user namespace that the caller must join to have rights: set for users without root. */
  readonly joinUser?: boolean | undefined
}

export type Changes = Partial<Pick<LinkRequest, 'remove' | 'create' | 'shape' | 'unpin'>>

/** Makes, removes and shapes interfaces; all or nothing of what is created. */
export async function changeLinks(where: Where, changes: Changes, action: Action): Promise<void> {
  await ask(where, { ...changes, list: false, watch: false }, action)
}

/** The interfaces of a namespace as they are. */
export function listLinks(where: Where, action: Action): Promise<LinkState[]> {
  return ask(where, { list: true, watch: false }, action)
}

/**
 * The interfaces of a namespace now and again after every change, told by the kernel (netlink(7)), until the consumer stops
 * or the signal fires. The watching keeps the namespace alive.
 */
export async function* watchLinks(where: Where, action: Action, signal?: AbortSignal): AsyncGenerator<LinkState[]> {
  const lists: LinkState[][] = []
  let wake: (() => void) | undefined
  let failure: ContainerError | undefined
  const session = open(where, { list: true, watch: true }, action, (list, failed) => {
    if (list !== undefined) lists.push(list)
    failure = failed
    wake?.()
  })
  const stop = (): void => wake?.()
  signal?.addEventListener('abort', stop, { once: true })
  try {
    while (!signal?.aborted) {
      const next = lists.shift()
      if (next !== undefined) yield next
      else if (failure !== undefined) throw failure
      else await new Promise<void>(resolve => (wake = resolve))
    }
  } finally {
    signal?.removeEventListener('abort', stop)
    session.close()
  }
}

/** Empty fields of a LinkSpec, for requests that need only a few. */
export function bareLink(link: Partial<LinkSpec> & Pick<LinkSpec, 'kind'>): LinkSpec {
  const none = new Uint8Array()
  return {
    ...{
      name: '',
      hostName: '',
      parent: '',
      tag: '',
      mac: none,
      hostMac: none,
      mtu: 0,
      hostMtu: 0,
      up: true,
      mode: 0,
      flags: 0,
    },
    ...{
      vlan: 0,
      vlanFiltering: false,
      rxQueues: 0,
      txQueues: 0,
      addresses: [],
      routes: [],
      hostRoutes: [],
      proxies: [],
    },
    ...{ hostSettings: [], port: { isolated: false, tagged: [] }, rate: { ingress: 0, egress: 0, shaper: '' } },
    ...{ upPrograms: [], downPrograms: [] },
    ...link,
  }
}

type Settle = (list: LinkState[] | undefined, failure: ContainerError | undefined) => void

function ask(
  where: Where,
  request: Changes & Pick<LinkRequest, 'list' | 'watch'>,
  action: Action,
): Promise<LinkState[]> {
  return new Promise((resolve, reject) => {
    const session = open(where, request, action, (list, failure) => {
      session.close()
      if (list === undefined) reject(failure)
      else resolve(list)
    })
  })
}

/** Starts the process; `settle` is called with each whole list, and at the end of the channel. */
function open(
  where: Where,
  request: Changes & Pick<LinkRequest, 'list' | 'watch'>,
  action: Action,
  settle: Settle,
): { close(): void } {
  const descriptors = openNamespaces(where)
  const pieces: LinkState[] = []
  const listener = (report: Report | null): void => {
    if (report === null) settle(undefined, lost(action))
    else if (report.error !== undefined) settle(undefined, toError(report.error, action, report.cleanup))
    else {
      pieces.push(...report.links)
      if (report.kind === 'reply') settle(pieces.splice(0), undefined)
    }
  }
  try {
    const [netns, user] = descriptors.length === 0 ? [-1, -1] : [0, descriptors.length - 1 || -1]
    const spec: LinkRequest = { user, netns, remove: [], create: [], shape: [], unpin: '', ...request }
    const channel = launchMonitor('link', spec, descriptors, listener, action)
    channel.ref()
    return channel
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor)
  }
}

function openNamespaces({ pid, file, joinUser }: Where): number[] {
  if (file !== undefined) return [openSync(file, 'r')]
  if (pid === undefined) return []
  const descriptors = [openSync(`/proc/${pid}/ns/net`, 'r')]
  if (joinUser) descriptors.push(openSync(`/proc/${pid}/ns/user`, 'r'))
  return descriptors
}

function lost(action: Action): ContainerError {
  const subject = action.container === undefined ? '' : ` container ${JSON.stringify(action.container)}`
  return new ContainerError(
    'ERR_MONITOR_LOST',
    `Cannot ${action.verb}${subject}: the process that asks the kernel has ended`,
  )
}
