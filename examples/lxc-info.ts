#!/usr/bin/env node
import { isConfigKey, nearestKey } from '../lib/config/names.ts'
/** lxc-info(1) */
import type { Container } from '../lib/container.ts'
import { ContainerError } from '../lib/errors.ts'
import { UsageError } from '../lib/tools/options.ts'
import { size } from '../lib/tools/text.ts'
import { type Call, defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-info',
  lenient: true,
  summary: 'Shows what a container is and what it uses.',
  options: {
    config: { short: 'c', value: 'KEY', multiple: true, help: 'the value of a key of its config' },
    ips: { short: 'i', help: 'its addresses' },
    state: { short: 's', help: 'its state' },
    pid: { short: 'p', help: 'the pid of its init' },
    stats: { short: 'S', help: 'what it uses' },
    'no-humanize': { short: 'H', help: 'plain numbers; with one of the above, only the value' },
  },
  details: 'What only a running container has is left out of a stopped one.',
  exitCodes: { 0: 'it was shown', 1: 'there is no such container, or no such key' },
  examples: [
    ['lxc-info web', 'all of it'],
    ['lxc-info web -iH', 'nothing but its addresses'],
    ['lxc-info web -c lxc.net.0.link', 'a key of its config'],
  ],
  async run(call) {
    const { options, say, warn } = call
    const container = await openOrSay(call)
    const raw = options['no-humanize'] === true
    const filters = [options.ips, options.state, options.pid, options.stats].filter(Boolean).length
    const all = filters === 0 && options.config === undefined
    const bare = raw && filters + (options.config?.length ?? 0) === 1
    const put = (label: string, value: string) => say(bare ? value : `${`${label}:`.padEnd(16)}${value}`)
    if (all) put('Name', container.name)
    if (all || options.state) put('State', await container.state())
    const pid = await container.initPid()
    if (pid !== null) {
      if (all || options.pid) put('PID', String(pid))
      if (all || options.ips) for (const address of await container.ips()) put('IP', address)
      if (all || options.stats) await showStats(container, raw, put)
    }
    let code = 0
    for (const key of options.config ?? []) {
      if (!isConfigKey(key)) {
        const near = nearestKey(key)
        warn(`${key} invalid${near === undefined ? '' : `; did you mean ${near}?`}`)
        code = 1
        continue
      }
      const value = [container.config.get(key as never) ?? []].flat().join('\n')
      say(bare ? value : `${key} = ${value}`)
    }
    return code
  },
})

/** As LXC says it, since scripts look for these words. */
async function openOrSay({ name, open }: Pick<Call<never>, 'name' | 'open'>): Promise<Container> {
  return open().catch(error => {
    if (error instanceof ContainerError && error.code === 'ERR_CONTAINER_NOT_FOUND')
      throw new UsageError(`${name} doesn't exist: ${error.path} is missing`)
    throw error
  })
}

type Put = (label: string, value: string) => void

async function showStats(container: Container, raw: boolean, put: Put): Promise<void> {
  const amount = (bytes: number) => (raw ? String(bytes) : size(bytes))
  const { cpu, memory, io } = await container.stats()
  put('CPU use', raw ? String(cpu.usageUsec * 1000) : `${(cpu.usageUsec / 1e6).toFixed(2)} seconds`)
  put('BlkIO use', amount(io.readBytes + io.writeBytes))
  put('Memory use', amount(memory.current))
  if (memory.kernel !== undefined) put('KMem use', amount(memory.kernel))
  for (const { name, peer, rxBytes, txBytes } of await container.interfaces()) {
    if (name === 'lo') continue
    put('Link', peer ?? name)
    put(' TX bytes', amount(txBytes))
    put(' RX bytes', amount(rxBytes))
    put(' Total bytes', amount(txBytes + rxBytes))
  }
}

main(import.meta, tool)
