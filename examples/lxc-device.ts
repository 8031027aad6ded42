#!/usr/bin/env node
/** lxc-device(1) */
import { existsSync } from 'node:fs'
import { UsageError } from '../lib/tools/options.ts'
import { defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-device',
  containers: 'active',
  summary: 'Gives a device node or a network interface of the host to a running container, or takes it back.',
  synopsis: 'add|del DEVICE [AS]',
  words: 'any',
  wordsAre: ['add', 'del'],
  options: {},
  details: 'A DEVICE that is the name of a network interface is moved; any other is the path of a device node.',
  examples: [
    ['lxc-device web add /dev/ttyUSB0', 'a device node, with the rule that lets it be used'],
    ['lxc-device web add eth1 eth0', 'an interface, which is eth0 inside'],
    ['lxc-device web del eth0 eth1', 'takes it back'],
  ],
  async run({ words, open }) {
    if (process.geteuid?.() !== 0) throw new UsageError('lxc-device must be run as root')
    const [action, device, as] = words
    if ((action !== 'add' && action !== 'del') || device === undefined)
      throw new UsageError('takes add or del, and a device')
    const container = await open()
    if (device.startsWith('/')) {
      if (action === 'add') await container.addDevice(device, as)
      else await container.removeDevice(as ?? device)
    } else if (action === 'del') await container.detachInterface(device, as)
    else if (existsSync(`/sys/class/net/${device}`)) await container.attachInterface(device, as)
    else throw new UsageError(`there is no network interface ${device}; a device node is given by its path`)
    return 0
  },
})

main(import.meta, tool)
