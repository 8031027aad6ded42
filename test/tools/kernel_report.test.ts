// lxc-checkconfig's report of a kernel: LXC's words in LXC's order, of a configuration or of what a kernel without one shows.
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { findConfig, type KernelSight, reportKernel } from '../../lib/tools/kernel_report.ts'

const MOUNTS = `proc /proc proc rw 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
`
const UNIFIED = 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n'

function report(config: string | undefined, shown: Record<string, string>, more: Partial<KernelSight> = {}): string[] {
  const files = {
    read: (path: string) => shown[path],
    exists: (path: string) => shown[path] !== undefined,
    release: '6.1.0',
  }
  const sight = { files, config, find: (name: string) => `/usr/bin/${name}`, isSetuid: () => true, ...more }
  return reportKernel(sight, (verdict, text) => (verdict === text ? text : `${text} (${verdict})`))
}

t.test('of a configuration', async t => {
  const config =
    'CONFIG_NAMESPACES=y\nCONFIG_USER_NS=y\n# CONFIG_PID_NS is not set\nCONFIG_SMP=y\nCONFIG_VETH=m\nCONFIG_BRIDGE=m\n'
  const shown = { '/proc/self/mounts': MOUNTS, '/proc/modules': 'veth 32768 0 - Live 0x0\n' }
  const lines = report(config, { ...shown, '/sys/fs/cgroup/systemd/cgroup.clone_children': '0' })
  t.strictSame(lines.slice(0, 25), [
    '',
    '--- Namespaces ---',
    'Namespaces: enabled',
    'Utsname namespace: missing',
    'Ipc namespace: required',
    'Pid namespace: required',
    'User namespace: enabled',
    'Network namespace: missing',
    '',
    '--- Control groups ---',
    'Cgroups: missing',
    'Cgroup namespace: missing',
    'Cgroup v1 mount points: ',
    ' - /sys/fs/cgroup/systemd',
    ' - /sys/fs/cgroup/freezer',
    'Cgroup v2 mount points: ',
    ' - /sys/fs/cgroup/unified',
    'Cgroup v1 clone_children flag: enabled',
    'Cgroup device: missing',
    'Cgroup sched: missing',
    'Cgroup cpu account: missing',
    'Cgroup memory controller: missing',
    'Cgroup cpuset: missing',
    '',
    '--- Misc ---',
  ])
  t.ok(lines.includes('Veth pair device: enabled, loaded'))
  t.ok(lines.includes('Bridges: enabled, not loaded'))
  t.equal(lines.at(-1), 'File capabilities: enabled')
})

t.test('users who can have no ranges of ids, and hierarchies that LXC needs', async t => {
  const none = report('CONFIG_USER_NS=y\n', { '/proc/self/mounts': '' }, { find: () => undefined })
  t.strictSame(none.slice(7, 9), ['newuidmap is not installed', 'newgidmap is not installed'])
  t.ok(none.includes('Cgroup v1 systemd controller: missing (required)'))
  t.ok(none.includes('Cgroup v1 freezer controller: missing (required)'))
  t.ok(report('CONFIG_USER_NS=y\n', {}, { isSetuid: () => false }).includes('Warning: newuidmap is not setuid-root'))
  const unified = report('', { '/proc/self/mounts': UNIFIED }, { find: () => undefined })
  t.strictSame(
    unified.filter(line => /v1 systemd|newuidmap/.test(line)),
    [],
  )
})

t.test('of a kernel that shows no configuration', async t => {
  const symbols = ['veth_newlink', 'eventfd_fget'].map(name => `0000000000000000 t ${name}\n`).join('')
  const lines = report(undefined, {
    '/proc/self/ns': '',
    '/proc/self/ns/pid': '',
    '/proc/cgroups': '#subsys_name\thierarchy\nmemory\t0\t70\t1\n',
    '/proc/kallsyms': symbols,
    '/proc/sys/fs/epoll': '',
  })
  const there = lines.filter(line => line.endsWith(': enabled')).map(line => line.split(':', 1)[0])
  t.strictSame(there, [
    ...['Namespaces', 'Pid namespace', 'Cgroups', 'Cgroup memory controller', 'Veth pair device'],
    ...['CONFIG_EVENTFD', 'CONFIG_EPOLL', 'File capabilities'],
  ])
})

t.test('where the configuration is looked for', async t => {
  const files = { read: () => undefined, exists: () => false, release: '6.1.0' }
  const among = (shown: Record<string, Buffer>) => (path: string) => shown[path]
  const text = 'CONFIG_X=y\n'
  t.strictSame(findConfig(files, among({ '/proc/config.gz': gzipSync(text) })), { text, lines: [] })
  t.strictSame(findConfig(files, among({ '/boot/config-6.1.0': Buffer.from(text) }), '/no'), {
    text,
    lines: ['Kernel configuration not found at /no; searching...', 'Kernel configuration found at /boot/config-6.1.0'],
  })
  t.match(findConfig(files, among({})), { text: undefined, lines: [/not found/, /asking the running kernel/] })
})
