/**
 * A router container between two networks that have nothing to do with each other: `left` reaches `right` through it, and through it
 * alone.
 *
 *   node --import=@tapjs/typescript/import examples/router.ts      (needs root)
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Container, ManagedNetwork } from '../lib/index.ts'

const lxcpath = mkdtempSync(path.join(tmpdir(), 'caisson-router-'))
const plain = { path: lxcpath, template: 'busybox', idmap: false } as const
const undo: (() => Promise<unknown>)[] = []

async function make(name: string, network: string[]): Promise<Container> {
  const container = await Container.create(name, { ...plain, network: network.map(link => ({ type: 'veth', link })) })
  undo.push(() => container.destroy({ force: true }))
  await container.start()
  return container
}

async function show(container: Container, ...command: string[]): Promise<void> {
  const { stdout, exitCode } = await container.attach(command, { reject: false })
  console.log(`${container.name}$ ${command.join(' ')}\n${stdout}${exitCode === 0 ? '' : `(exit code ${exitCode})\n`}`)
}

try {
  // Neither network has a way out or a route to the other: the host is no router between them.
  for (const name of ['left0', 'right0']) {
    const network = await ManagedNetwork.create(name, { nat: false, isolation: false, dns: false, filter: false })
    undo.push(() => network.destroy())
  }
  const router = await make('router', ['left0', 'right0'])
  const left = await make('left', ['left0'])
  const right = await make('right', ['right0'])
  const [toLeft, toRight] = await Promise.all(
    ['eth0', 'eth1'].map(name => router.ips({ interface: name, timeout: 5000 })),
  )
  const [target] = await right.ips({ timeout: 5000 })
  await router.attach(['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward'])
  await left.attach(['ip', 'route', 'replace', 'default', 'via', `${toLeft?.[0]}`])
  await right.attach(['ip', 'route', 'replace', 'default', 'via', `${toRight?.[0]}`])
  await show(left, 'ip', 'route')
  await show(left, 'ping', '-c', '2', `${target}`)
  await show(left, 'traceroute', '-n', '-m', '3', '-w', '1', `${target}`)
  await router.stop({ force: true })
  await show(left, 'ping', '-c', '1', '-W', '1', `${target}`)
} finally {
  for (const step of undo.reverse()) await step()
  rmSync(lxcpath, { recursive: true, force: true })
}
