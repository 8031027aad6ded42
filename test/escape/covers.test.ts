// What covers /proc and /sys stays where it is. A prober inside, root with all that root has there, tries every way to take a cover off or to
// go round it; the host looks at what the container's init sees before and after. Controls: a cover that was put on inside is taken off
// again, and without a user namespace all are.
import t from 'tap'
import type { CreateOptions } from '../../lib/index.ts'
import { makeContainer, startContainer } from '../support/container.ts'
import { attack, canariesOf, coversOf, initOf, seenBy, uncover } from '../support/covers.ts'
import { needsRoot } from '../support/host.ts'

const skip = needsRoot
/** The covers alone, without what else would forbid a try. */
const bare = { seccomp: false, config: 'lxc.apparmor.profile = unconfined' } as const

t.test('E-B21 covers stay, whatever root inside tries', { skip }, async t => {
  for (const options of [{}, bare]) {
    const { container } = await startContainer(t, options)
    t.strictSame(await attack(t, container), {}, options === bare ? 'without a filter' : 'with the filter')
  }
})

t.test('in every flavour of lxc.mount.auto', { skip }, async t => {
  for (const auto of ['proc:rw sys:rw', 'proc:mixed sys:mixed cgroup:mixed', 'proc sys:ro cgroup:ro:force']) {
    const { container } = await startContainer(t, { ...bare, config: `${bare.config}\nlxc.mount.auto = ${auto}` })
    t.strictSame(await attack(t, container), {}, auto)
  }
})

t.test('where containers run inside, they stay; a /proc of their own is what was asked for', { skip }, async t => {
  const { container } = await startContainer(t, { ...bare, profiles: ['nesting'] })
  const ways = new Set(Object.values(await attack(t, container)).flat())
  t.strictSame([...ways].sort(), ['new mount', 'new mount below'])
})

t.test('E-I15 file systems that are ways into the kernel are not mounted', { skip }, async t => {
  const types = ['debugfs', 'tracefs', 'securityfs', 'configfs', 'pstore', 'efivarfs']
  const script = types.map(type => `mount -t ${type} none /tmp && echo ${type}`).join('; ')
  const mounted = async (options: CreateOptions) => {
    const { container } = await startContainer(t, options)
    return (await container.attach(['sh', '-c', script], { reject: false })).stdout
  }
  t.equal(await mounted({}), '')
  t.equal(await mounted(bare), '')
  t.equal(await mounted({ ...bare, profiles: ['nesting'] }), '')
  t.match(await mounted({ ...bare, idmap: false }), /debugfs|tracefs|securityfs/, 'control: the host’s root may')
})

t.test('after a reboot and for execute() too', { skip }, async t => {
  const { container } = await startContainer(t, bare)
  await container.reboot({ timeout: 20_000 })
  t.strictSame(await attack(t, container), {})
  const { container: other } = await makeContainer(t, bare)
  const script =
    'umount -l /proc/interrupts /proc/sys; wc -c </proc/interrupts; mount -t proc proc /tmp || echo refused'
  const { stdout } = await other.execute(['sh', '-c', script])
  t.equal(stdout, '0\nrefused\n')
})

/** What takes off a cover that is not locked, where the others are; a bind without what is below it is refused for their sake. */
const LOOSENING = [
  'umount',
  'move',
  'deep bind',
  'deep clone',
  'over',
  'beneath',
  'pivot',
  'propagation',
  'umount for good',
]

t.test('control: a cover of its own is taken off, in each of these ways', { skip }, async t => {
  const { container } = await startContainer(t, bare)
  await container.attach(['mount', '--bind', '/dev/null', '/proc/uptime'])
  const init = await initOf(container)
  t.equal(seenBy(init, '/proc/uptime'), '')
  t.strictSame(await uncover(container, [{ point: '/proc/uptime', masks: true }]), { '/proc/uptime': LOOSENING })
  t.not(seenBy(init, '/proc/uptime'), '', 'and the host sees it')
})

t.test('control: without a user namespace the host sees what was covered', { skip }, async t => {
  const { container } = await startContainer(t, { ...bare, idmap: false })
  const init = await initOf(container)
  const covers = coversOf(init)
  const [canary = ''] = canariesOf(covers)
  t.equal(seenBy(init, canary), '')
  const readOnly = covers.find(({ masks }) => !masks)?.point as string
  const ways = await uncover(
    container,
    covers.filter(({ point }) => [canary, readOnly].includes(point)),
  )
  const all = [...LOOSENING, 'bind', 'clone', 'new mount'].sort()
  t.strictSame(ways[canary]?.toSorted(), all)
  t.strictSame(ways[readOnly]?.toSorted(), [...all, 'remount'].sort())
  t.not(seenBy(init, canary), '')
})
