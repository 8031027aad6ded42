// lxc-top, lxc-unshare, lxc-usernsexec; and containers that are nothing but a file for lxc-start and lxc-execute.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'
import { call, commandOf, converse, env, makeBusybox, root } from '../support/tools.ts'

const skip = needsRoot

t.test('lxc-top in lines, and on a terminal sorted by keys', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'one')
  t.teardown(() => call(lxcpath, 'destroy', ['-f', 'two']))
  call(lxcpath, 'create', ['-t', 'busybox', '-n', 'two', '-f', join(lxcpath, 'initial.conf')])
  for (const name of ['one', 'two']) t.equal(call(lxcpath, 'start', [name]).status, 0)
  // Two has used more memory than one can have.
  t.equal(call(lxcpath, 'attach', ['two', '--', 'dd', 'if=/dev/zero', 'of=/dev/shm/x', 'bs=1M', 'count=20']).status, 0)

  const [program = '', ...args] = commandOf('top', ['-P', lxcpath, '-b', '-d', '0.1', '-s', 'm', '-r'])
  const batch = spawn(program, args, { cwd: root, env })
  let said = ''
  await new Promise<void>(resolve => {
    batch.stdout.on('data', chunk => {
      said += chunk
      if (said.split('\n').length > 4) resolve()
    })
  })
  batch.kill('SIGINT')
  t.equal(await new Promise(resolve => batch.once('close', resolve)), 0, 'ended by a signal is ended well')
  const rows = said.split('\n').slice(0, 4)
  for (const [at, row] of rows.entries()) {
    t.match(row, /^\d{13},(one|two)(,\d+){8}$/)
    t.equal(row.split(',')[1], at % 2 === 0 ? 'two' : 'one', 'the most memory first')
  }

  const ordered = (first: string, second: string) => new RegExp(`${first} [^]*${second} [^]*TOTAL 2 of 2`)
  const screen = await converse(
    lxcpath,
    'top',
    ['-d', '1000'],
    [
      [ordered('one', 'two'), 'm'],
      [ordered('one', 'two'), 'r'],
      [ordered('two', 'one'), 'n'],
      [ordered('two', 'one'), 'r'],
      [ordered('one', 'two'), 'q'],
    ],
  )
  t.match(screen, { status: 0 })
  t.match(screen.all, /Container {19}CPU {10}CPU {10}CPU {32}BlkIO {8}Mem/)
  t.match(screen.all, /Name {23}Used {10}Sys {9}User {20}Total\(Read\/Write\) {7}Used/)
  t.match(call(lxcpath, 'top', []), { status: 1, stderr: /needs a terminal: --batch/ })
  t.match(call(lxcpath, 'top', ['-b', '-s', 'x']), { status: 1, stderr: /--sort takes one of n, c, b, m, s, k, not x/ })
  t.match(call(lxcpath, 'top', ['-b', '-d', '0']), { status: 1, stderr: /--delay takes seconds/ })
})

t.test('lxc-unshare', { skip }, async t => {
  const lxcpath = directory(t)
  const unshare = (...args: string[]) => call(lxcpath, 'unshare', args, 'typed\n')
  t.match(unshare('-s', 'UTSNAME', '-H', 'lab', '--', 'sh', '-c', 'cat; hostname; exit 3'), {
    status: 3,
    stdout: 'typed\nlab\n',
  })
  t.not(hostname(), 'lab')
  t.equal(unshare('-s', 'PID|MOUNT', '-M', '--', 'sh', '-c', 'echo $$; ls -d /proc/[0-9]*').stdout.split('\n')[0], '1')
  t.match(
    unshare('-s', 'PID|MOUNT', '-M', '--', 'sh', '-c', 'set -- /proc/[0-9]*; echo $#; findmnt -no TARGET /dev/shm'),
    {
      stdout: /^1\n(\/dev\/shm\n)+$/,
    },
  )
  t.equal(unshare('-s', 'NETWORK', '--', 'ls', '/sys/../proc/self/net/dev_snmp6').stdout, 'lo\n')
  t.match(
    unshare(
      '-s',
      'USER',
      '-u',
      '5',
      '--',
      'sh',
      '-c',
      'id -u; id -g; grep CapEff /proc/self/status; cat /proc/self/uid_map',
    ),
    {
      stdout: /^5\n5\nCapEff:\t0{16}\n\s+5\s+0\s+1\n$/,
    },
  )
  t.match(unshare('-s', 'USER', '--', 'sh', '-c', 'kill -9 $$').status, 137)
  t.match(unshare('-s', 'IPC', '--', 'nothing').status, 127)
  const mistakes: [string[], RegExp][] = [
    [['--', 'true'], /missing option --namespaces/],
    [['-s', 'UTSNAME'], /A command to execute in the new namespace is required/],
    [['-s', 'UTS', '--', 'true'], /UTS is not a namespace: known are MOUNT, PID/],
    [['-s', 'PID', '-H', 'x', '--', 'true'], /--hostname needs -s UTSNAME/],
    [['-s', 'PID', '-M', '--', 'true'], /--remount needs -s MOUNT/],
    [['-s', 'NETWORK', '-i', 'nosuch0', '--', 'true'], /nosuch0/],
  ]
  for (const [args, says] of mistakes) t.match(unshare(...args), { status: 1, stderr: says }, args.join(' '))
})

t.test('lxc-unshare moves an interface, and waits for nobody as a daemon', { skip }, async t => {
  const lxcpath = directory(t)
  const file = join(lxcpath, 'said')
  // In a network namespace of the test's own, so that the host's is left alone.
  const inner = commandOf('unshare', [
    '-s',
    'NETWORK',
    '-i',
    'moved0',
    '-d',
    '--',
    'sh',
    '-c',
    `cat /proc/self/net/dev >${file}.new; mv ${file}.new ${file}`,
  ])
  const script = 'ip link add moved0 type veth peer name peer0 && "$@" && while [ ! -e "$0" ]; do sleep 0.05; done'
  const shell = spawn('unshare', ['--net', 'sh', '-c', script, file, ...inner], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const code = await new Promise(resolve => shell.once('close', resolve))
  t.equal(code, 0)
  t.match(readFileSync(file, 'utf8'), /moved0:/)
})

t.test('lxc-usernsexec', { skip }, async t => {
  const lxcpath = directory(t)
  const exec = (...args: string[]) => call(lxcpath, 'usernsexec', args)
  const map = ['-m', 'b:0:100000:10']
  t.match(exec(...map, '--', 'sh', '-c', 'cat /proc/self/uid_map /proc/self/gid_map; id -u; exit 3'), {
    status: 3,
    stdout: /^(\s+0\s+100000\s+10\n){2}0\n$/,
  })
  t.match(exec('-s', ...map, '--', 'cat', '/proc/self/uid_map').stdout, /^\s+0\s+100000\s+10\n\s+10\s+0\s+1\n$/)
  t.match(exec('-m', 'u:0:5:1', '-m', 'g:0:6:1', '--', 'cat', '/proc/self/gid_map').stdout, /^\s+0\s+6\s+1\n$/)
  const file = join(lxcpath, 'owned')
  t.equal(exec('-m', 'b:0:0:4000000000', '--', 'sh', '-c', `echo >${file}; chown 7:8 ${file}`).status, 0)
  t.notSame(readFileSync(`/proc/${process.pid}/mounts`, 'utf8').includes(`${lxcpath} `), true)
  t.equal(exec('-m', 'b:0:0:4000000000', '--', 'mount', '-t', 'tmpfs', 'x', lxcpath).status, 0, 'mounts of its own')
  t.ok(existsSync(file))
  t.match(exec('-m', 'b:0:0', '--', 'true'), { status: 1, stderr: /--map takes u:INSIDE:OUTSIDE:RANGE/ })
  t.match(exec(...map, '--', '/nothing').status, 127)
})

t.test('a container that is nothing but a file', { skip }, async t => {
  const lxcpath = directory(t)
  const file = join(lxcpath, 'job.conf')
  writeFileSync(file, 'lxc.net.0.type = empty\nlxc.uts.name = job\n')
  const execute = (...args: string[]) => call(lxcpath, 'execute', ['job', '-f', file, ...args])
  t.match(execute('--', 'sh', '-c', 'hostname; exit 3'), { status: 3, stdout: 'job\n' })
  t.match(execute('--', 'nothing'), { status: 127, stderr: /ENOENT/ })
  t.match(execute('--', '/etc/passwd'), { status: 126, stderr: /EACCES/ })
  t.match(execute('-u', '65534', '-g', '65534', '--', 'id', '-u').stdout, '65534\n')
  t.match(execute('-s', 'lxc.environment=A=1', '--', 'sh', '-c', 'echo $A').stdout, '1\n')
  t.match(execute(), { status: 1, stderr: /missing command, and no lxc.execute.cmd/ })
  t.match(call(lxcpath, 'execute', ['job', '--', 'true']), { status: 1, stderr: /does not exist/ }, 'without the file')

  t.teardown(() => call(lxcpath, 'stop', ['job', '-k']))
  t.equal(call(lxcpath, 'start', ['job', '-f', file, '--', 'sleep', '1000']).status, 0)
  t.equal(call(lxcpath, 'ls', ['--active']).stdout, 'job\n')
  t.equal(call(lxcpath, 'ls', ['--defined']).stdout, '')
  t.equal(call(lxcpath, 'info', ['job', '-sH']).stdout, 'RUNNING\n')
  t.equal(call(lxcpath, 'attach', ['job', '--', 'hostname']).stdout, 'job\n')
  t.equal(call(lxcpath, 'stop', ['job', '-k']).status, 0)
  t.equal(call(lxcpath, 'stop', ['job']).status, 2)
  t.equal(call(lxcpath, 'ls', []).stdout, '')
  t.notOk(existsSync(join(lxcpath, 'job')))
})
