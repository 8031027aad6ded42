// For each row of the table: values that are right, with what they mean in LXC's text form, and values that are wrong.
import { CONTAINER_KEYS, EXTENSION_KEYS, GLOBAL_KEYS } from '../../lib/config/keys.ts'

export type Pattern = keyof typeof CONTAINER_KEYS | keyof typeof EXTENSION_KEYS | keyof typeof GLOBAL_KEYS
export const ALL_KEYS = { ...CONTAINER_KEYS, ...EXTENSION_KEYS, ...GLOBAL_KEYS }

export interface Sample {
  /** `[text, canonical]`; a text alone is canonical. */
  readonly right: readonly (string | readonly [text: string, canonical: string])[]
  readonly wrong: readonly string[]
  /** What stands for `*` in the name. */
  readonly member?: string
}

const BOOL: Sample = { right: ['0', '1', ['0x1', '1'], ['+0', '0']], wrong: ['2', '-1', 'true', '0 0'] }
const WHOLE: Sample = {
  right: ['0', '4294967295', ['010', '8'], ['0x1F', '31']],
  wrong: ['-1', '4294967296', '1k', '1.5', '08', 'x'],
}
const COMMAND: Sample = { right: ['/bin/true', '/bin/sh -c "echo $A # b"', 'a = b'], wrong: [] }
const PATH: Sample = { right: ['/a/b', 'a', '/', '/a b', ['/a//b/./c/', '/a/b/c']], wrong: [`/${'a'.repeat(4096)}`] }
const RELATIVE: Sample = { right: ['a', 'a/b', ['a//b', 'a/b']], wrong: ['/a', '../a', 'a/../b', 'a..b'] }
const TEXT: Sample = { right: ['a', 'a b', 'ä'], wrong: [] }
const SIGNAL: Sample = {
  right: [
    ['SIGTERM', '15'],
    ['sigterm', '15'],
    '9',
    ['SIGRTMIN+3', '37'],
    ['SIGRTMAX-0', '64'],
    '0',
    ['SIGCHLD', '17'],
    ['SIGPOLL', '29'],
  ],
  wrong: ['TERM', 'SIGX', '65', '-1', 'SIGRTMIN', 'SIGRTMIN+31', 'SIGRTMAX--1'],
}
const ENVIRONMENT: Sample = { right: ['A=b', 'A=', 'A=b=c', 'HOME', 'A= b'], wrong: ['=a'] }
const OFFSET: Sample = {
  right: [['1h', '3600s'], ['-2m', '-120s'], '5s', ['7ms', '7000000ns'], ['-1 us', '-1000ns'], '0ns'],
  wrong: ['5', '5d', 'h', '1.5h', '9007199254740993s'],
}
const LOG_SIZE: Sample = {
  right: [['auto', '131072'], ['1', '4096'], '4096', ['5000', '8192'], ['1MB', '1048576'], ['2 kb', '4096']],
  wrong: ['-1', '1TB', 'big', '1.5kB'],
}
const VLAN: Sample = { right: ['0', '4094'], wrong: ['4095', '-1', 'none1'] }
const NAME: Sample = { right: ['eth0', 'a.b-c_d'], wrong: ['a'.repeat(16), 'a/b', '..', 'a b'] }
const NOTHING: Sample = { right: [], wrong: ['x'] }
const NAMESPACES: Sample = { right: ['user', 'net', ['MNT', 'mnt'], 'time'], wrong: ['network', 'mount'] }

export const SAMPLES: Readonly<Record<Pattern, Sample>> = {
  'lxc.include': { right: ['/dev/null'], wrong: ['/nonexistent/file'] },
  'lxc.uts.name': { right: ['web', 'a'.repeat(64)], wrong: ['a'.repeat(65)] },
  'lxc.arch': { right: ['x86_64', 'i686', 'riscv64'], wrong: ['x86-64', 'AMD64'] },
  'lxc.init.cmd': COMMAND,
  'lxc.execute.cmd': COMMAND,
  'lxc.init.uid': WHOLE,
  'lxc.init.gid': WHOLE,
  'lxc.init.groups': { right: ['5', '1000'], wrong: ['-1', 'wheel'] },
  'lxc.init.cwd': PATH,
  'lxc.ephemeral': BOOL,
  'lxc.signal.halt': SIGNAL,
  'lxc.signal.reboot': SIGNAL,
  'lxc.signal.stop': SIGNAL,
  'lxc.start.auto': BOOL,
  'lxc.start.delay': WHOLE,
  'lxc.start.order': { right: ['0', '-5', '2147483647'], wrong: ['2147483648', '1.5'] },
  'lxc.group': { right: ['onboot', 'web'], wrong: [] },
  'lxc.monitor.unshare': WHOLE,
  'lxc.monitor.signal.pdeath': SIGNAL,
  'lxc.sched.core': BOOL,
  'lxc.log.level': { right: [['1', 'DEBUG'], ['trace', 'TRACE'], 'ERROR'], wrong: ['9', 'LOUD'] },
  'lxc.log.file': { right: ['/dev/null', ['//dev/null', '/dev/null']], wrong: [] },
  'lxc.log.syslog': { right: ['daemon', 'local7'], wrong: ['local8', 'user'] },
  'lxc.environment': ENVIRONMENT,
  'lxc.environment.runtime': ENVIRONMENT,
  'lxc.environment.hooks': ENVIRONMENT,
  'lxc.hook.version': { right: ['0', '1'], wrong: ['2'] },
  'lxc.hook': NOTHING,
  'lxc.hook.pre-start': COMMAND,
  'lxc.hook.pre-mount': COMMAND,
  'lxc.hook.mount': COMMAND,
  'lxc.hook.autodev': COMMAND,
  'lxc.hook.start-host': COMMAND,
  'lxc.hook.start': COMMAND,
  'lxc.hook.stop': COMMAND,
  'lxc.hook.post-stop': COMMAND,
  'lxc.hook.clone': COMMAND,
  'lxc.hook.destroy': COMMAND,
  'lxc.rootfs.path': {
    right: [
      '/srv/web',
      'dir:/srv/web',
      'overlay:/a:/b:/c',
      'overlayfs:/a:/b',
      'zfs:tank/web',
      'nbd:/a.img:2',
      'loop:/a b.img',
    ],
    wrong: ['aufs:/a:/b', '/a:/b', 'dir:', 'overlay:/a'],
  },
  'lxc.rootfs.mount': PATH,
  'lxc.rootfs.options': {
    right: ['ro', 'idmap=container,nosuid', 'size=1m,rootcontext=a'],
    wrong: ['optional', 'ro,create=dir', 'idmap=x'],
  },
  'lxc.rootfs.managed': BOOL,
  'lxc.autodev': BOOL,
  'lxc.autodev.tmpfs.size': { right: ['500000', '0'], wrong: ['-1', 'big'] },
  'lxc.mount.fstab': PATH,
  'lxc.mount.entry': {
    right: [
      '/a b none bind 0 0',
      'tmpfs tmp tmpfs size=1m,create=dir',
      '/a\\040b c none rbind,create=file,optional,relative',
      'overlay x overlay lowerdir=/optional/relative,upperdir=/u,workdir=/w',
      'proc proc proc nodev # old comment',
    ],
    wrong: ['/a', 'a b c d e f', '/a b none bind, create=dir', '/a b none create=link', '/a b none bind,idmap=x'],
  },
  'lxc.mount.auto': {
    right: [
      ['proc', 'proc:mixed'],
      'proc:rw',
      'sys:ro',
      'cgroup',
      'cgroup:rw:force',
      'cgroup-full:mixed',
      'cgroup2:ro',
      'shmounts:/a',
      'shmounts:/a:/b',
    ],
    wrong: ['proc:ro', 'cgroup:full', 'shmounts:', 'sysfs'],
  },
  'lxc.console.path': { right: ['none', '/dev/tty3'], wrong: [] },
  'lxc.console.logfile': PATH,
  'lxc.console.rotate': BOOL,
  'lxc.console.size': LOG_SIZE,
  'lxc.console.buffer.size': LOG_SIZE,
  'lxc.tty.max': WHOLE,
  'lxc.tty.dir': { right: ['lxc'], wrong: ['a'.repeat(256)] },
  'lxc.pty.max': WHOLE,
  'lxc.idmap': {
    right: ['u 0 100000 65536', ['g\t0  0x64 1', 'g 0 100 1']],
    wrong: ['b 0 100000 65536', 'u 0 1', 'u 0 1 1 1', 'u0 1 1', 'u 0 1 0', 'u 0 4294967295 2', 'u -1 1 1'],
  },
  'lxc.namespace.clone': NAMESPACES,
  'lxc.namespace.keep': NAMESPACES,
  'lxc.namespace.share.*': { right: ['1', 'other', '/var/lib/lxc/other'], wrong: [], member: 'net' },
  'lxc.time.offset.boot': OFFSET,
  'lxc.time.offset.monotonic': OFFSET,
  'lxc.prlimit.*': {
    right: [
      '1024',
      '1024:4096',
      'unlimited',
      ['-1', 'unlimited'],
      ['1 : unlimited', '1:unlimited'],
      ['1:', '1'],
      ['5:5', '5'],
    ],
    wrong: ['x', ':1', '2:1', '1:2:3', '18446744073709551616'],
    member: 'nofile',
  },
  'lxc.sysctl.*': { right: ['1', '4096 131072'], wrong: [], member: 'net.ipv4.ip_forward' },
  'lxc.proc.*': { right: ['10', 'a b'], wrong: [], member: 'oom_score_adj' },
  'lxc.keyring.session': BOOL,
  'lxc.no_new_privs': BOOL,
  'lxc.cap.drop': {
    right: ['chown', 'checkpoint_restore', ['0', 'chown'], '63'],
    wrong: ['CAP_CHOWN', 'none', 'chwon', '64'],
  },
  'lxc.cap.keep': { right: ['chown', 'none'], wrong: ['CHOWN', 'all'] },
  'lxc.apparmor.profile': { right: ['generated', 'unconfined', 'my-profile'], wrong: [] },
  'lxc.apparmor.allow_incomplete': BOOL,
  'lxc.apparmor.allow_nesting': BOOL,
  'lxc.apparmor.raw': { right: ['deny /a/** wklx,'], wrong: [] },
  'lxc.selinux.context': TEXT,
  'lxc.selinux.context.keyring': TEXT,
  'lxc.seccomp.profile': PATH,
  'lxc.seccomp.allow_nesting': BOOL,
  'lxc.seccomp.notify.proxy': {
    right: ['unix:/run/a.sock', 'unix:@name'],
    wrong: ['/run/a.sock', 'unix:', 'unix:a', `unix:/${'a'.repeat(107)}`],
  },
  'lxc.seccomp.notify.cookie': TEXT,
  'lxc.cgroup2.*': { right: ['512M', 'c 1:3 rwm'], wrong: [], member: 'memory.max' },
  'lxc.cgroup.*': { right: ['512M', '0-1'], wrong: [], member: 'memory.limit_in_bytes' },
  'lxc.cgroup.dir': RELATIVE,
  'lxc.cgroup.dir.monitor': RELATIVE,
  'lxc.cgroup.dir.monitor.pivot': RELATIVE,
  'lxc.cgroup.dir.container': RELATIVE,
  'lxc.cgroup.dir.container.inner': { right: ['inner'], wrong: ['a/b', '..', '.', '/a'] },
  'lxc.cgroup.relative': BOOL,
  'lxc.net': NOTHING,
  'lxc.net.[i]': NOTHING,
  'lxc.net.[i].type': { right: ['veth', 'none', 'ipvlan'], wrong: ['bridge', 'VETH'] },
  'lxc.net.[i].flags': { right: ['up', ['1', 'up']], wrong: [] },
  'lxc.net.[i].link': { ...NAME, right: [...NAME.right, 'eth+'] },
  'lxc.net.[i].l2proxy': BOOL,
  'lxc.net.[i].name': NAME,
  'lxc.net.[i].hwaddr': {
    right: ['10:66:6a:12:34:56', 'xx:66:6A:xX:00:0x'],
    wrong: ['10:66:6a:12:34', '10-66-6a-12-34-56', 'zz:66:6a:12:34:56'],
  },
  'lxc.net.[i].mtu': { right: ['1500'], wrong: ['-1', 'big'] },
  'lxc.net.[i].ipv4.address': {
    right: [
      ['10.0.3.5', '10.0.3.5/8'],
      ['172.16.0.1', '172.16.0.1/16'],
      ['192.168.1.1', '192.168.1.1/24'],
      '10.0.3.5/24',
      ['10.0.3.5/24 10.0.3.255', '10.0.3.5/24'],
      '10.0.3.5/24 10.0.3.0',
      '10.0.3.5/32',
    ],
    wrong: ['10.0.3', '10.0.3.5/33', '10.0.3.5/24 x', '10.0.3.5/24 10.0.3.255 1', 'fe80::1'],
  },
  'lxc.net.[i].ipv4.gateway': { right: ['10.0.3.1', 'auto', 'dev'], wrong: ['10.0.3.1/24', 'automatic', 'fe80::1'] },
  'lxc.net.[i].ipv6.address': {
    right: [['fd00::5', 'fd00::5/64'], 'fd00::5/128'],
    wrong: ['fd00::5/129', '10.0.3.5', 'fd00::5%eth0'],
  },
  'lxc.net.[i].ipv6.gateway': {
    right: ['fd00::1', ['fd00:0:0:0::01', 'fd00::1'], 'auto', 'dev'],
    wrong: ['10.0.3.1', 'fd00::1/64'],
  },
  'lxc.net.[i].script.up': COMMAND,
  'lxc.net.[i].script.down': COMMAND,
  'lxc.net.[i].macvlan.mode': { right: ['private', 'passthru'], wrong: ['bridged'] },
  'lxc.net.[i].ipvlan.mode': { right: ['l3', 'l3s', 'l2'], wrong: ['L3'] },
  'lxc.net.[i].ipvlan.isolation': { right: ['bridge', 'vepa'], wrong: ['none'] },
  'lxc.net.[i].vlan.id': VLAN,
  'lxc.net.[i].veth.mode': { right: ['bridge', 'router'], wrong: ['p2p'] },
  'lxc.net.[i].veth.pair': NAME,
  'lxc.net.[i].veth.ipv4.route': { right: ['10.1.0.0/16'], wrong: ['10.1.0.0', '10.1.0.0/33'] },
  'lxc.net.[i].veth.ipv6.route': { right: ['fd01::/48'], wrong: ['fd01::', 'fd01::/129'] },
  'lxc.net.[i].veth.vlan.id': { ...VLAN, right: [...VLAN.right, 'none'] },
  'lxc.net.[i].veth.vlan.tagged.id': VLAN,
  'lxc.net.[i].veth.n_rxqueues': { right: ['1', '8'], wrong: ['0', '-1'] },
  'lxc.net.[i].veth.n_txqueues': { right: ['1', '8'], wrong: ['0', 'x'] },
  'caisson.rootfs.fstype': { right: ['btrfs', 'xfs', 'ext4'], wrong: ['ntfs'] },
  'caisson.overlay.tmpfs': { right: ['0', '67108864', ['64MB', '67108864']], wrong: ['x', '-1'] },
  'caisson.seccomp': { right: ['default', 'nesting', 'none', '/a/seccomp.json'], wrong: [] },
  'caisson.net.[i].limit.ingress': {
    right: ['10Mbit', ['0.5kbit', '500bit'], ['1000kbit', '1Mbit']],
    wrong: ['10', '0bit', '10MB'],
  },
  'caisson.net.[i].limit.egress': { right: ['1Gbit'], wrong: ['fast'] },
  'lxc.lxcpath': PATH,
  'lxc.default_config': PATH,
  'lxc.bdev.lvm.vg': TEXT,
  'lxc.bdev.lvm.thin_pool': TEXT,
  'lxc.bdev.zfs.root': TEXT,
  'lxc.bdev.rbd.rbdpool': TEXT,
  'lxc.bdev.rbd.rbduser': TEXT,
  'lxc.cgroup.pattern': { ...RELATIVE, right: ['lxc/%n'] },
  'lxc.cgroup.use': { right: ['memory', 'cpu'], wrong: [] },
}

/** A name of the pattern. */
export function nameOf(pattern: Pattern, index = 0): string {
  return pattern.replace('[i]', String(index)).replace('*', SAMPLES[pattern].member ?? '')
}
