// The lxc-* tools as people use them: the cookbook, on a terminal and in scripts.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { needsRoot } from '../support/host.ts'
import { call, commandOf, converse, env, makeBusybox, root } from '../support/tools.ts'

const skip = needsRoot

t.test('the cookbook', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'my-container', 'lxc.group = cookbook\n')
  t.equal(call(lxcpath, 'start', ['-n', 'my-container', '-d']).status, 0)
  const info = call(lxcpath, 'info', ['-n', 'my-container'])
  for (const label of ['Name: ', 'State: ', 'PID: ', 'CPU use: ', 'BlkIO use: ', 'Memory use: '])
    t.match(info.stdout, new RegExp(`^${label.padEnd(16)}\\S`, 'm'))
  t.match(call(lxcpath, 'info', ['my-container', '-pH']).stdout, /^\d+\n$/)
  t.equal(call(lxcpath, 'info', ['my-container', '-c', 'lxc.uts.name']).stdout, 'lxc.uts.name = my-container\n')
  t.equal(
    call(lxcpath, 'ls', ['-f']).stdout,
    'NAME         STATE   AUTOSTART GROUPS   IPV4 IPV6 UNPRIVILEGED \n' +
      'my-container RUNNING 0         cookbook -    -    true         \n',
  )
  t.equal(call(lxcpath, 'ls', ['--stopped']).stdout, '')
  t.equal(call(lxcpath, 'ls', ['-g', 'cookbook', '^my']).stdout, 'my-container\n')
  t.equal(call(lxcpath, 'freeze', ['my-container']).status, 0)
  t.match(call(lxcpath, 'ls', ['-f']).stdout, /FROZEN/)
  t.equal(call(lxcpath, 'unfreeze', ['my-container']).status, 0)
  t.equal(call(lxcpath, 'wait', ['my-container', '-s', 'RUNNING|FROZEN', '-t', '5']).status, 0)
  t.match(call(lxcpath, 'cgroup', ['my-container', 'pids.current']).stdout, /^\d+\n$/)
  t.equal(call(lxcpath, 'stop', ['-n', 'my-container']).status, 0)
  t.equal(call(lxcpath, 'stop', ['-n', 'my-container']).status, 2, 'it was not running')
  t.equal(call(lxcpath, 'destroy', ['-n', 'my-container']).status, 0)
  t.notOk(existsSync(join(lxcpath, 'my-container')))
})

t.test('lxc-attach ends as its program ends', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'web')
  t.equal(call(lxcpath, 'start', ['web']).status, 0)
  const attach = (...args: string[]) => call(lxcpath, 'attach', ['web', ...args], 'typed\n')
  t.match(attach('--', 'sh', '-c', 'cat; echo error >&2; exit 7'), { status: 7, stdout: 'typed\n', stderr: 'error\n' })
  t.equal(attach('--', 'sh', '-c', 'kill -9 $$').status, 137)
  t.match(attach('nothing'), { status: 127, stderr: /^lxc-attach: web: .*ENOENT/ })
  t.match(attach('/etc/passwd'), { status: 126, stderr: /EACCES/ })
  t.equal(attach('--clear-env', '-v', 'A=1', '--', 'sh', '-c', 'echo $A$PS9').stdout, '1\n')
  const shell = await converse(
    lxcpath,
    'attach',
    ['web'],
    [
      [/# /, 'stty size\r'],
      [/33 101/, "sh -c 'echo ready$((1+1)); exec sleep 1000'\r"],
      [/ready2/, '\x03'],
      [/# /, 'exit 5\r'],
    ],
  )
  t.match(shell, { status: 5 }, 'window size, Ctrl-C and the exit code')
})

t.test('consoles', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'web', 'lxc.tty.max = 1\n')
  const foreground = await converse(
    lxcpath,
    'start',
    ['web', '-F'],
    [
      [/activate/, '\r'],
      [/# /, 'stty size\r'],
      [/33 101/, 'poweroff\r'],
    ],
  )
  t.match(foreground, { status: 0 }, 'in the foreground the terminal is the console')
  t.match(foreground.all, /system is going down/, 'to the last word')
  t.equal(call(lxcpath, 'start', ['web', '-L', join(lxcpath, 'log')]).status, 0)
  const viewer = await converse(
    lxcpath,
    'console',
    ['web', '-t', '0'],
    [
      [/activate/, '\r'],
      [/# /, 'echo seen$((1+1))\r'],
      [/seen2/, '\x01q'],
    ],
  )
  t.match(viewer, { status: 0 }, 'a viewer begins with the log, and leaves')
  t.match(readFileSync(join(lxcpath, 'log'), 'utf8'), /seen2/, 'the log has what the viewer saw')
  t.equal(call(lxcpath, 'info', ['web', '-sH']).stdout, 'RUNNING\n')
  t.match(call(lxcpath, 'console', ['web', '-t', '9']), { status: 1, stderr: /it has 1 ttys/ })
  t.equal(call(lxcpath, 'stop', ['web', '-k']).status, 0)
})

t.test('lxc-execute', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'job')
  t.match(call(lxcpath, 'execute', ['job', '--', 'sh', '-c', 'echo out; exit 3']), { status: 3, stdout: 'out\n' })
  t.match(call(lxcpath, 'execute', ['job', '--', 'sh', '-c', 'kill -TERM $$']), { status: null, signal: 'SIGTERM' })
})

t.test('a mistake is one clear sentence', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'web')
  const mistakes: [tool: string, args: string[], status: number, says: RegExp][] = [
    ['start', [], 1, /^lxc-start: missing container name, use --name option\n/],
    ['start', ['nobody'], 1, /^lxc-start: nobody: Cannot open container "nobody": .* does not exist\n {2}hint: lxc-ls/],
    [
      'attach',
      ['web'],
      1,
      /^lxc-attach: web: Cannot attach to container "web": it is not running\n {2}hint: .*lxc-start/,
    ],
    ['create', ['web', '-t', 'busybox'], 1, /^lxc-create: web: .*"web"/],
    ['create', ['new', '-t', 'bsybox'], 1, /did you mean "busybox"/],
    ['create', ['new'], 1, /A template must be specified/],
    ['stop', ['web', '-k', '-r'], 1, /--kill goes with none of/],
    ['info', ['--ipz', 'web'], 1, /did you mean --ips/],
  ]
  for (const [tool, args, status, says] of mistakes)
    t.match(call(lxcpath, tool, args), { status, stdout: '', stderr: says }, `${tool} ${args.join(' ')}`)
  t.equal(call(lxcpath, 'info', ['-q', 'nobody']).stderr, '', '--quiet')
  t.equal(call(lxcpath, 'start', ['web']).status, 0)
  t.match(call(lxcpath, 'start', ['web']), { status: 0, stderr: /Container is already running/ })
  t.match(call(lxcpath, 'destroy', ['web']), { status: 1, stderr: /lxc-stop/ })
})

t.test('lxc-monitor tells of all containers of an lxcpath', { skip }, async t => {
  const lxcpath = makeBusybox(t, 'one')
  t.equal(call(lxcpath, 'create', ['-t', 'busybox', '-n', 'two', '-f', join(lxcpath, 'initial.conf')]).status, 0)
  t.teardown(() => call(lxcpath, 'destroy', ['-f', 'two']))
  t.equal(call(lxcpath, 'start', ['one']).status, 0)
  const [program = '', ...args] = commandOf('monitor', ['-P', lxcpath, 'one|two'])
  const monitor = spawn(program, args, { cwd: root, env })
  t.teardown(() => monitor.kill())
  let said = ''
  const heard = (text: string) =>
    new Promise<void>(resolve => {
      const look = () => said.includes(text) && resolve()
      monitor.stdout.on('data', look)
      look()
    })
  monitor.stdout.on('data', chunk => {
    said += chunk
  })
  await heard("'one' changed state to [RUNNING]\n")
  for (const _ of ['at first', 'again']) {
    said = ''
    t.equal(call(lxcpath, 'start', ['two']).status, 0)
    await heard("'two' changed state to [RUNNING]\n")
    t.equal(call(lxcpath, 'stop', ['two', '-k']).status, 0)
    await heard("'two' exited with status [137]\n'two' changed state to [STOPPED]\n")
  }
  said = ''
  t.equal(call(lxcpath, 'freeze', ['one']).status, 0)
  await heard("'one' changed state to [FROZEN]\n")
  t.equal(call(lxcpath, 'stop', ['one', '-k']).status, 0)
  await heard("'one' changed state to [STOPPED]\n")
})
