// The lxc-* tools option by option: what each adds, as scripts see it. Where LXC's own are installed, both are asked the same.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'
import { call, env, makeBusybox, root } from '../support/tools.ts'
import { until } from '../support/until.ts'

const skip = needsRoot
const hasLxc = existsSync('/usr/bin/lxc-info')
const skipWithoutLxc = needsRoot || (hasLxc ? false : "it needs LXC's own tools: apt-get install lxc")

t.test('lxc-attach: architecture, context, some namespaces', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'web')
  t.equal(call(lxcpath, 'start', ['web']).status, 0)
  const attach = (...args: string[]) => call(lxcpath, 'attach', ['web', ...args])
  t.equal(attach('-a', 'i686', '--', 'uname', '-m').stdout, 'i686\n')
  t.match(attach('-a', 'i68', '--', 'true'), {
    status: 1,
    stderr: /"i68" is no architecture\n {2}hint: did you mean "i686"/,
  })
  if (!existsSync('/sys/fs/selinux/enforce'))
    t.match(attach('-c', 'x_t', '--', 'true'), { status: 1, stderr: /"x_t": this kernel does not run SELinux/ })
  const looks = ['--', 'sh', '-c', 'echo $$; echo /sys/class/net/*; ls /proc/1/root/bin/busybox']
  const without = attach('-s', 'PID|NETWORK', ...looks)
  const own = attach('-s', 'PID|NETWORK', '-R', ...looks)
  t.match(own.stdout, /^\d{1,3}\n\/sys\/class\/net\/lo\n/, 'its /sys and its /proc are of the container')
  t.not(without.stdout.split('\n')[1], undefined)
  t.equal(attach('-R', '--', 'sh', '-c', 'echo $PPID').stdout, '0\n', 'it says nothing to a whole attach')
  t.match(
    readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter(line => line.startsWith('proc /proc ')).length,
    1,
  )
  t.match(attach('-s', 'MOUNTS', '--', 'true'), { status: 1, stderr: /MOUNTS is not a namespace: known are MOUNT/ })
  t.match(attach('-e=CAP', '--', 'true').status, 1, '-e takes what is glued to it')
  t.match(attach('-eCAP|LSM', '--', 'sh', '-c', 'grep CapBnd /proc/self/status').stdout, /CapBnd:\t0+1f+\n/)
  t.equal(
    attach('--clear-env', '--keep-var', 'TERM', '-v', 'A=b=c', '--', 'sh', '-c', 'echo $TERM $A').stdout,
    'xterm b=c\n',
  )
  t.match(attach('-u', 'nosuch', '--', 'id'), { status: 1, stderr: /no such user/ })
  t.equal(attach('-u', '7', '-g', '8', '--', 'sh', '-c', 'id -u; id -g').stdout, '7\n8\n')
})

t.test('lxc-copy', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'base')
  const copy = (...args: string[]) => call(lxcpath, 'copy', ['base', ...args])
  const given = directory(t)
  writeFileSync(join(given, 'file'), 'from the host\n')
  t.teardown(() => {
    for (const name of readdirSync(lxcpath).filter(name => name !== 'base')) call(lxcpath, 'destroy', ['-f', name])
  })

  const mounts = copy('-e', '-N', 'seen', '-m', `bind=${given}:/mnt/b:ro,overlay=${given}:/mnt/o`)
  t.match(mounts, { status: 0, stdout: 'Created seen as clone of base\n' })
  const inside = 'cat /mnt/b/file /mnt/o/file; echo new >/mnt/o/new && ls /mnt/o; echo new >/mnt/b/new'
  t.match(call(lxcpath, 'attach', ['seen', '--', 'sh', '-c', inside]), {
    status: 1,
    stdout: 'from the host\nfrom the host\nfile\nnew\n',
    stderr: /Read-only/,
  })
  t.strictSame(readdirSync(given), ['file'], 'an overlay keeps what is changed in the copy')
  t.equal(call(lxcpath, 'stop', ['seen', '-k']).status, 0)
  t.notOk(existsSync(join(lxcpath, 'seen')), 'it is gone when it stops')

  const named = copy('-e', '-t')
  const name = /^Created (base_\w{6}) as clone of base\n$/.exec(named.stdout)?.[1] ?? ''
  t.match(call(lxcpath, 'attach', [name, '--', 'grep', '-c', '^none / overlay', '/proc/mounts']).stdout, '1\n')
  t.equal(call(lxcpath, 'stop', [name, '-k']).status, 0)
  t.notOk(existsSync(join(lxcpath, name)))

  t.equal(copy('-e', '-D', '-N', 'kept').status, 0)
  t.equal(call(lxcpath, 'attach', ['kept', '--', 'touch', '/kept']).status, 0)
  t.equal(call(lxcpath, 'stop', ['kept', '-k']).status, 0)
  t.equal(call(lxcpath, 'start', ['kept']).status, 0)
  t.equal(call(lxcpath, 'attach', ['kept', '--', 'ls', '/kept']).stdout, '/kept\n')
  t.match(call(lxcpath, 'destroy', ['base']), { status: 1, stderr: /"kept" stands on its storage/ })

  t.equal(copy('-N', 'loop', '-B', 'loop', '-L', '48M').status, 0)
  t.match(readFileSync(join(lxcpath, 'loop/config'), 'utf8'), /lxc.rootfs.path = loop:/)
  const hook = join(given, 'hook')
  writeFileSync(hook, `#!/bin/sh\necho "$@" >${join(given, 'told')}\n`, { mode: 0o755 })
  writeFileSync(join(lxcpath, 'base/config'), `lxc.hook.clone = ${hook}\n`, { flag: 'a' })
  t.equal(copy('-N', 'hooked', '-p', join(given, 'other'), '-K', '--', '--one', 'two').status, 0)
  t.match(readFileSync(join(given, 'told'), 'utf8'), /--one two\n$/)
  t.match(readFileSync(join(given, 'other/hooked/config'), 'utf8'), /lxc.uts.name = base\n/, 'the host name is kept')
  t.equal(call(join(given, 'other'), 'copy', ['hooked', '-N', 'renamed', '-R']).status, 0)
  t.strictSame(readdirSync(join(given, 'other')), ['renamed'])

  for (const [args, says] of [
    [[], /missing option --newname/],
    [['-N', 'x', '-t'], /--tmpfs needs --ephemeral/],
    [['-N', 'x', '-m', `bind=${given}`], /--mount needs --ephemeral/],
    [['-e', '-t', '-D'], /--tmpfs keeps nothing/],
    [['-e', '-m', 'bind=relative'], /--mount takes bind=\/SOURCE/],
    [['-N', 'x', '-L', 'much'], /--fssize takes a size/],
    [['-N', 'x', '-R', '-p', given], /--rename stays in its lxcpath/],
    [['-N', 'x', '-B', 'loops'], /Unknown storage backend "loops"/],
  ] as const)
    t.match(copy(...args), { status: 1, stderr: says }, args.join(' '))
  t.equal(call(lxcpath, 'destroy', ['base', '-f', '-s']).status, 0, 'and what stands on it')
  t.notOk(existsSync(join(lxcpath, 'kept')))
})

t.test('lxc-create: storage', { skip }, async t => {
  const lxcpath = directory(t)
  const create = (...args: string[]) => call(lxcpath, 'create', ['c', '-t', 'busybox', ...args])
  t.teardown(() => call(lxcpath, 'destroy', ['c']))
  t.equal(create('-B', 'zfs,loop,dir', '--fssize', '48M', '--fstype', 'ext4').status, 0)
  t.match(readFileSync(join(lxcpath, 'c/config'), 'utf8'), /lxc.rootfs.path = loop:/, 'the first that works')
  t.equal(call(lxcpath, 'destroy', ['c']).status, 0)
  t.equal(call(lxcpath, 'create', ['c', '-t', 'none']).status, 0)
  t.match(readFileSync(join(lxcpath, 'c/config'), 'utf8'), /lxc.rootfs.path = \/\n/)
  for (const [args, says] of [
    [['-B', 'lvm', '--vgname', 'no-such-group'], /Cannot use storage backend "lvm"/],
    [['-B', 'zfs', '--zfsroot', 'no/such'], /Cannot use storage backend "zfs"/],
    [['-B', 'dri'], /Unknown storage backend "dri"\n {2}hint: did you mean "dir"/],
    [['--rbdpool', 'x'], /there is no Ceph RBD storage/],
    [['-B', 'rbd'], /there is none for Ceph RBD\n {2}hint: map the image/],
    [['--fstype', 'ext5'], /--fstype takes one of ext4, xfs, btrfs/],
    [['--fssize', '1Q'], /--fssize takes a size/],
  ] as const)
    t.match(call(lxcpath, 'create', ['d', '-t', 'busybox', ...args]), { status: 1, stderr: says }, args.join(' '))
  t.notOk(existsSync(join(lxcpath, 'd')), 'and nothing is left')
})

t.test('lxc-start, lxc-stop, lxc-wait, lxc-device', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'web')
  const other = directory(t)
  t.match(
    call(lxcpath, 'start', [
      'web',
      '-p',
      join(other, 'pid'),
      '-L',
      join(other, 'log'),
      '-s',
      'lxc.environment=A=1',
      '-C',
    ]).status,
    0,
  )
  t.equal(readFileSync(join(other, 'pid'), 'utf8'), call(lxcpath, 'info', ['web', '-pH']).stdout)
  t.equal(call(lxcpath, 'wait', ['web', '-s', 'STOPPED', '-t', '0']).status, 1)
  t.equal(call(lxcpath, 'wait', ['web', '-s', 'FROZEN|RUNNING']).status, 0)
  t.equal(call(lxcpath, 'wait', ['nobody', '-s', 'STOPPED']).status, 0, 'what is not there is STOPPED')
  t.match(call(lxcpath, 'wait', ['nobody', '-s', 'RUNNING']), { status: 1, stderr: /does not exist/ })
  t.match(call(lxcpath, 'wait', ['web', '-s', 'RUNING']), { status: 1, stderr: /did you mean RUNNING/ })
  const netns = (name: string) => call(lxcpath, 'attach', [name, '--', 'readlink', '/proc/self/ns/net']).stdout
  t.teardown(() => call(lxcpath, 'destroy', ['-f', 'two']))
  t.equal(
    call(lxcpath, 'create', ['-t', 'busybox', '-n', 'two', '-f', join(lxcpath, 'initial.conf'), '--privileged']).status,
    0,
  )
  t.equal(call(lxcpath, 'start', ['two', '--share-net', 'web']).status, 0)
  t.equal(netns('two'), netns('web'))
  t.match(call(lxcpath, 'start', ['x', '--share-pid']), {
    status: 1,
    stderr: /option --share-pid needs a value: NAME\|PID/,
  })
  t.equal(call(lxcpath, 'device', ['web', 'add', '/dev/fuse']).status, existsSync('/dev/fuse') ? 0 : 1)
  if (existsSync('/dev/fuse')) {
    t.equal(call(lxcpath, 'attach', ['web', '--', 'test', '-c', '/dev/fuse']).status, 0)
    t.equal(call(lxcpath, 'device', ['web', '--', 'del', '/dev/fuse']).status, 0)
    t.equal(call(lxcpath, 'attach', ['web', '--', 'test', '-e', '/dev/fuse']).status, 1)
  }
  t.match(call(lxcpath, 'device', ['web', 'add', 'nosuch0']), { status: 1, stderr: /no network interface nosuch0/ })
  const pid = call(lxcpath, 'info', ['web', '-pH']).stdout
  t.equal(call(lxcpath, 'stop', ['web', '-r', '-t', '20']).status, 0)
  t.not(call(lxcpath, 'info', ['web', '-pH']).stdout, pid, 'it has rebooted')
  t.equal(call(lxcpath, 'freeze', ['web']).status, 0)
  t.match(call(lxcpath, 'attach', ['web', '--', 'true']), {
    status: 1,
    stderr: /it is frozen\n {2}hint: thaw it first with lxc-unfreeze/,
  })
  t.equal(call(lxcpath, 'unfreeze', ['web']).status, 0)
  t.equal(call(lxcpath, 'stop', ['web', '-W']).status, 0)
  t.equal(call(lxcpath, 'wait', ['web', '-s', 'STOPPED', '-t', '20']).status, 0)
  t.equal(call(lxcpath, 'stop', ['web', '--nolock']).status, 2)
  t.equal(call(lxcpath, 'stop', ['nobody']).status, 2)
})

t.test('lxc-snapshot', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'web')
  t.teardown(() => call(lxcpath, 'destroy', ['-f', 'before']))
  const snapshot = (...args: string[]) => call(lxcpath, 'snapshot', ['web', ...args])
  t.equal(snapshot('-L').stdout, 'No snapshots\n')
  const comment = join(lxcpath, 'comment')
  writeFileSync(comment, 'why it is\n')
  t.equal(snapshot('-c', comment).status, 0)
  t.match(
    snapshot('-L', '-C').stdout,
    new RegExp(`^snap0 \\(${lxcpath}/web/snaps\\) \\d{4}:\\d\\d:\\d\\d \\d\\d:\\d\\d:\\d\\d\nwhy it is\n$`),
  )
  t.equal(snapshot('-r', 'snap0', '-N', 'before').status, 0)
  t.ok(existsSync(join(lxcpath, 'before/config')))
  t.equal(snapshot('-r', 'snap0').status, 0)
  t.match(snapshot('-r', 'snap7'), { status: 1, stderr: /snap7/ })
  t.match(call(lxcpath, 'destroy', ['web']), { status: 1, stderr: /it has 1 snapshots/ })
  t.equal(snapshot('-d', 'ALL').status, 0)
  t.equal(snapshot('-L').stdout, 'No snapshots\n')
})

t.test('lxc-config, lxc-update-config, lxc-info of what is not there', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'web')
  t.match(call(lxcpath, 'info', ['nobody']), { status: 1, stderr: /^lxc-info: nobody: nobody doesn't exist/ })
  t.match(call(lxcpath, 'info', ['web', '-c', 'lxc.uts.nam', '-c', 'lxc.uts.name']), {
    status: 1,
    stdout: 'lxc.uts.name = web\n',
    stderr: /lxc.uts.nam invalid; did you mean lxc.uts.name/,
  })
  const own = (tool: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, `dist/bin/lxc-${tool}.js`), ...args], {
      encoding: 'utf8',
    })
    return { status, stdout, stderr }
  }
  t.match(own('config', '-l').stdout, /^lxc\.lxcpath$/m)
  t.match(own('config', 'lxc.lxcpat'), {
    status: 1,
    stderr: /Unknown configuration item: lxc.lxcpat; did you mean lxc.lxcpath/,
  })
  const file = join(lxcpath, 'old')
  writeFileSync(file, 'lxc.utsname = web\n')
  t.equal(own('update-config', '-c', file).status, 0)
  t.strictSame(
    [readFileSync(file, 'utf8'), readFileSync(`${file}.backup`, 'utf8')],
    ['lxc.uts.name = web\n', 'lxc.utsname = web\n'],
  )
  t.match(own('update-config'), { status: 1, stderr: /missing option --config/ })
})

t.test('what all tools have', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'web')
  const log = join(lxcpath, 'log')
  t.equal(call(lxcpath, 'start', ['web', '-o', log, '-l', 'TRACE']).status, 0)
  t.match(readFileSync(log, 'utf8'), /^lxc-start web \d{14}\.\d{3} TRACE {4}\S/m)
  t.match(call(lxcpath, 'start', ['nobody', '-q', '-o', log]), { status: 1, stderr: '' })
  t.match(readFileSync(log, 'utf8'), /^lxc-start nobody \d{14}\.\d{3} ERROR {4}.*does not exist/m)
  t.match(call(lxcpath, 'stop', ['web', '-k', '-o', 'none']).status, 0)
  t.match(call(lxcpath, 'ls', ['-l', 'LOUD']), { status: 1, stderr: /unknown log priority LOUD/ })
  t.match(call(lxcpath, 'stop', ['--usage']).stdout, /^Usage: lxc-stop NAME \[options\]\n$/)
  t.match(call(lxcpath, 'stop', ['--version']).stdout, /^\d+\.\d+\.\d+\n$/)
  t.match(call(lxcpath, 'stop', ['-?']).stdout, /\n {2}2 {5}it was not running\n/)
  const two = directory(t)
  mkdirSync(join(two, 'far'))
  writeFileSync(join(two, 'far/config'), 'lxc.uts.name = far\n')
  t.equal(call(lxcpath, 'ls', ['-P', two]).stdout, 'web\nfar\n', 'several lxcpaths')
  const rcfile = join(lxcpath, 'rc')
  writeFileSync(rcfile, 'lxc.uts.name = other\n')
  t.equal(call(lxcpath, 'info', ['web', '--rcfile', rcfile, '-c', 'lxc.uts.name']).stdout, 'lxc.uts.name = other\n')
})

t.test('missing rights are said, with what would help', { skip }, async t => {
  const as = (tool: string, ...args: string[]) => {
    const words = [
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      process.execPath,
      join(root, `dist/bin/lxc-${tool}.js`),
    ]
    const { status, stderr } = spawnSync('setpriv', [...words, ...args], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: '/' },
    })
    return { status, stderr }
  }
  const reachable = spawnSync('setpriv', [
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    'test',
    '-r',
    join(root, 'dist/bin/lxc-ls.js'),
  ])
  if (reachable.status !== 0) return t.comment('the checkout cannot be read by others')
  t.match(as('device', 'web', 'add', '/dev/null'), { status: 1, stderr: /must be run as root/ })
  t.match(as('unshare', '-s', 'MOUNT', '--', 'true'), {
    status: 1,
    stderr: /only root may.*\n {2}hint: run it as root, or make a user namespace/,
  })
  t.match(as('usernsexec', '--', 'true'), {
    status: 1,
    stderr: /Failed to find subuid or subgid allocation\n {2}hint: usermod/,
  })
})

t.test('lxc-ls and lxc-info as those of LXC', { skip: skipWithoutLxc }, async t => {
  const lxcpath = directory(t)
  for (const [name, lines] of [
    ['alpha', 'lxc.start.auto = 1\nlxc.group = one\nlxc.group = two\n'],
    ['b', 'lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n'],
    ['gamma', ''],
  ] as const) {
    mkdirSync(join(lxcpath, name))
    writeFileSync(join(lxcpath, name, 'config'), `lxc.uts.name = ${name}\nlxc.rootfs.path = dir:/nothing\n${lines}`)
  }
  const lxc = (tool: string, args: readonly string[]) => {
    const { status, stdout } = spawnSync(`/usr/bin/lxc-${tool}`, ['-P', lxcpath, ...args], { encoding: 'utf8' })
    return { status, stdout: stdout.replaceAll(/ +$/gm, '') }
  }
  const ours = (tool: string, args: readonly string[]) => {
    const { status, stdout } = call(lxcpath, tool, args)
    return { status, stdout: stdout.replaceAll(/ +$/gm, '') }
  }
  for (const [tool, ...args] of [
    ['ls'],
    ['ls', '-1'],
    ['ls', '-f'],
    ['ls', '-f', '-F', 'NAME,PID,GROUPS,INTERFACE,UNPRIVILEGED'],
    ['ls', '-f', '-F', 'name,state'],
    ['ls', '--stopped', '-f'],
    ['ls', '--running'],
    ['ls', '--active'],
    ['ls', '-g', 'two'],
    ['ls', '--filter', 'a$'],
    ['info', 'alpha'],
    ['info', '-n', 'alpha', '-s', '-H'],
    ['info', 'alpha', '-p', '-i'],
    ['info', 'alpha', '-c', 'lxc.uts.name', '-c', 'lxc.start.auto'],
    ['info', 'alpha', '-c', 'lxc.uts.name', '-H'],
    ['snapshot', 'alpha', '-L'],
    ['autostart', '-L', '-a'],
    ['wait', 'alpha', '-s', 'STOPPED'],
    ['wait', 'alpha', '-s', 'RUNNING', '-t', '0'],
    ['stop', 'alpha'],
    ['stop', 'nobody'],
    ['info', 'nobody'],
    ['destroy', 'nobody'],
    ['attach', 'alpha', '--', 'true'],
    ['freeze', 'alpha'],
    ['cgroup', 'alpha', 'memory.max'],
    ['create', 'alpha', '-t', 'busybox'],
    ['create', 'new'],
    ['start', 'nobody'],
  ] as [string, ...string[]][])
    t.strictSame(ours(tool, args), lxc(tool, args), `lxc-${tool} ${args.join(' ')}`)
})

t.test(
  'lxc-checkconfig says of the kernel what that of LXC says, and then what mends it',
  {
    skip: skipWithoutLxc,
  },
  async t => {
    const config = join(directory(t), 'config')
    writeFileSync(
      config,
      '# Linux/x86 6.1.0 Kernel Configuration\nCONFIG_NAMESPACES=y\nCONFIG_PID_NS=y\nCONFIG_VETH=m\n',
    )
    const report = (program: string, ...args: string[]) => {
      const { stdout } = spawnSync(program, args, { env: { ...env, CONFIG: config }, encoding: 'utf8' })
      return stdout.replace(/^(LXC version |usage : CONFIG=\S+).*$/gm, '$1')
    }
    const ours = report(process.execPath, join(root, 'dist/bin/lxc-checkconfig.js'))
    const theirs = report('/usr/bin/lxc-checkconfig')
    t.match(theirs, /^Ipc namespace: required$/m)
    t.equal(ours.slice(0, theirs.length), theirs)
    t.match(ours.slice(theirs.length), /^--- This host and this user ---\nkernel: yes, Linux \d/)
  },
)

t.test('lxc-ls --nesting', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'outer')
  t.equal(call(lxcpath, 'start', ['outer']).status, 0)
  const config = (name: string, text: string) =>
    `mkdir -p /var/lib/lxc/${name}; printf '${text}' >/var/lib/lxc/${name}/config; `
  const inside = config('in', 'lxc.start.auto = 1\\nlxc.group = nested\\n') + config('off', 'lxc.idmap = u 0 0 1\\n')
  const links =
    'ln -s /proc/1/environ /var/lib/lxc/config; mkdir /var/lib/lxc/link; ln -s /etc/debian_version /var/lib/lxc/link/config'
  t.equal(call(lxcpath, 'attach', ['outer', '--', 'sh', '-c', inside + links]).status, 0)
  const columns = ['-f', '-F', 'NAME,STATE,AUTOSTART,GROUPS,RAM,UNPRIVILEGED']
  const plain = call(lxcpath, 'ls', columns).stdout.split('\n')
  t.equal(plain.length, 3, 'not without being asked')
  const nested = call(lxcpath, 'ls', ['--nesting', ...columns])
    .stdout.split('\n')
    .map(line => line.replaceAll(/ +/g, ' '))
  t.match(nested, [
    /^NAME STATE/,
    /^outer RUNNING 0 - [\d.]+MB true $/,
    '\\in STOPPED 1 nested - false ',
    '\\off STOPPED 0 - - true ',
  ])
  t.strictSame(call(lxcpath, 'ls', ['--nesting=1', '-1']).stdout, 'outer\nin\noff\n')
  t.equal(call(lxcpath, 'ls', ['--nesting', '-g', 'nested']).stdout, 'in\n')
  t.equal(call(lxcpath, 'ls', ['--nesting', '--running']).stdout, 'outer\n')
  // One that runs is the first process of a pid namespace inside, in a cgroup of its name.
  const pid = call(lxcpath, 'info', ['outer', '-pH']).stdout.trim()
  const own = /^\d+:pids:(.*)$|^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))
  const mount = own?.[1] === undefined ? '/sys/fs/cgroup' : '/sys/fs/cgroup/pids'
  const cgroup = `${mount}${own?.[1] ?? own?.[2]}/lxc.payload.in`
  const run = `mkdir ${cgroup}; echo $$ >${cgroup}/cgroup.procs; nsenter -t ${pid} -U -p -n unshare -fp sleep 1000 >/dev/null &`
  if (existsSync(mount)) {
    execFileSync('sh', ['-c', run], { stdio: ['ignore', 'ignore', 'inherit'] })
    const look = () => call(lxcpath, 'ls', ['--nesting', '-f', '-F', 'NAME,STATE,PID']).stdout
    const shown = /^\\in +RUNNING \d+ +$/m
    await until(() => shown.test(look()), 'it is shown')
    t.equal(call(lxcpath, 'ls', ['--nesting', '--running']).stdout, 'outer\nin\n')
  }
  t.equal(call(lxcpath, 'stop', ['outer', '-k']).status, 0)
})
