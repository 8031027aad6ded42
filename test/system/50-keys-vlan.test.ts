// Keys of interfaces that need what many kernels lack (ipvlan, vlan, VLANs of a bridge), in running containers; where the kernel has none
// the start is refused. The VM lane runs this in Debian's full kernel.
import { execFileSync } from 'node:child_process'
import type { Test } from 'tap'
import { errorOf } from '../support/container.ts'
import { alone, hostLinks, ip, started } from '../support/network.ts'
import { directory } from '../support/rootfs.ts'

/** Whether the kernel makes such an interface. */
function has(...words: string[]): boolean {
  try {
    ip('link', 'add', ...words)
    ip('link', 'delete', words[0] === 'link' ? (words[2] as string) : (words[0] as string))
    return true
  } catch {
    return false
  }
}

async function kinds(t: Test): Promise<void> {
  ip('link', 'add', 'base0', 'type', 'veth', 'peer', 'name', 'base1')
  for (const name of ['base0', 'base1']) ip('link', 'set', name, 'up')
  const details = async (lines: string): Promise<string> => {
    const container = await started(t, directory(t), 'c', [], lines.replaceAll('N.', 'lxc.net.0.'))
    const words = ['-t', String(await container.initPid()), '-n', 'ip', '-d', 'link', 'show']
    const shown = execFileSync('nsenter', words, { encoding: 'utf8' })
    await container.destroy({ force: true })
    return shown
  }

  await t.test('lxc.net.[i].ipvlan.mode and lxc.net.[i].ipvlan.isolation', async t => {
    const lines = 'N.type = ipvlan\nN.link = base0\nN.name = ip0\n'
    if (!has('link', 'base0', 'try0', 'type', 'ipvlan', 'mode', 'l2')) {
      t.match(await errorOf(details(lines)), { step: 'link.create' }, 'refused: this kernel has none')
      return
    }
    for (const mode of ['l2', 'l3', 'l3s'])
      t.match(await details(`${lines}N.ipvlan.mode = ${mode}\n`), new RegExp(`ipvlan +mode ${mode} `), mode)
    for (const isolation of ['bridge', 'private', 'vepa'])
      t.match(
        await details(`${lines}N.ipvlan.isolation = ${isolation}\n`),
        new RegExp(`ipvlan .* ${isolation}\\b`),
        isolation,
      )
  })

  await t.test('lxc.net.[i].vlan.id', async t => {
    const lines = 'N.type = vlan\nN.link = base0\nN.name = v7\nN.vlan.id = 7\n'
    if (!has('link', 'base0', 'try0', 'type', 'vlan', 'id', '9'))
      t.match(await errorOf(details(lines)), { step: 'link.create' }, 'refused: this kernel has none')
    else t.match(await details(lines), /vlan protocol 802\.1Q id 7/)
  })

  await t.test('lxc.net.[i].veth.vlan.id and lxc.net.[i].veth.vlan.tagged.id', async t => {
    const filters = has('try0', 'type', 'bridge', 'vlan_filtering', '1')
    ip('link', 'add', 'br0', 'type', 'bridge', ...(filters ? ['vlan_filtering', '1'] : []))
    const lines =
      'lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.veth.pair = outer0\n' +
      'lxc.net.0.veth.vlan.id = 7\nlxc.net.0.veth.vlan.tagged.id = 8\nlxc.net.0.veth.vlan.tagged.id = 9\n'
    if (filters) {
      const container = await started(t, directory(t), 'c', [], lines)
      t.strictSame(vlansOf('outer0'), ['7 PVID Egress Untagged', '8', '9'])
      await container.destroy({ force: true })
    } else
      t.match(
        await errorOf(started(t, directory(t), 'c', [], lines)),
        { step: 'link.create' },
        'refused: it filters none',
      )
    ip('link', 'delete', 'br0')
  })
  ip('link', 'delete', 'base0')
  t.strictSame(await hostLinks(), ['lo'])
}

/** bridge(8) is of iproute2, as ip(8) is. */
function vlansOf(port: string): string[] {
  const shown = execFileSync('bridge', ['vlan', 'show', 'dev', port], { encoding: 'utf8' })
  const lines = shown.trim().split('\n').slice(1)
  return lines.map(line => line.replace(port, '').trim().replace(/\s+/g, ' '))
}

alone(import.meta.url, 'VLANs', kinds)
