// LXC's first steps, word for word, as somebody at a terminal takes them: run by 61-cookbook.test.ts, as root and as an ordinary user, on a
// machine of its own with a bridge, where the image server that everybody knows by name is this process.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { join, normalize } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { globalConfig } from '../../lib/index.ts'
import { project } from '../support/life.ts'
import { Screen } from '../support/terminal.ts'

const home = process.env.HOME as string
const isRoot = process.getuid?.() === 0
const certificate = join(home, 'certificate.pem')
const env = {
  ...process.env,
  PATH: `${join(home, 'bin')}:${process.env.PATH}`,
  TERM: 'xterm',
  NODE_EXTRA_CA_CERTS: certificate,
}
const lxcpath = globalConfig('lxc.lxcpath') as string

/** The commands as an installed package puts them on PATH. */
function install(): void {
  mkdirSync(join(home, 'bin'))
  for (const file of readdirSync(join(project, 'dist/bin')).filter(name => name.endsWith('.js'))) {
    const words = `exec '${process.execPath}' '${join(project, 'dist/bin', file)}' "$@"`
    writeFileSync(join(home, 'bin', file.slice(0, -3)), `#!/bin/sh\n${words}\n`, { mode: 0o755 })
  }
}

/** Types a command line at a shell without a terminal. Its images come from this process, which does not stand still for it. */
async function call(line: string, input = '') {
  const shell = spawn('sh', ['-c', line], { env, cwd: home })
  shell.stdin.on('error', () => undefined).end(input) // not every command reads
  const [stdout, stderr] = [shell.stdout, shell.stderr].map(stream => text(stream))
  const status = await new Promise<number | null>(resolve => shell.once('close', resolve))
  return { status, stdout: (await stdout) as string, stderr: (await stderr) as string }
}

/** Types it at a terminal. */
const type = (line: string) => new Screen(line.split(' '), { env, cwd: home })

/** images.linuxcontainers.org, with what it has in a directory. */
async function serveImages(www: string): Promise<void> {
  const key = join(home, 'key.pem')
  const names = ['-subj', '/CN=images', '-addext', 'subjectAltName=DNS:images.linuxcontainers.org']
  const files = ['-keyout', key, '-out', certificate]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...names, ...files], {
    stdio: 'pipe',
  })
  const server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, response) => {
    const file = join(www, normalize(request.url ?? '/'))
    if (!existsSync(file)) response.writeHead(404).end()
    else response.end(readFileSync(file))
  })
  await new Promise<void>(resolve => server.listen(443, '127.0.0.1', resolve))
  t.teardown(() => void server.close())
}

t.setTimeout(240_000)
install()
await serveImages(process.env.CAISSON_TEST_IMAGES as string)

t.test('lxc-create asks what the image server should send', async t => {
  const only = await call('lxc-create -t download -n my-container -- --list -d debian')
  t.equal(only.status, 1, 'a list is all that was wanted')
  if (isRoot) t.equal(only.stderr, '')
  else
    t.match(
      only.stderr,
      /^lxc-create: .*default\.conf has names of before LXC 2\.1: .*"lxc\.idmap" since LXC 2\.1, and 1 more\n$/,
    )
  t.match(only.stdout, /^---\nDIST\tRELEASE\tARCH\tVARIANT\tBUILD\n---\ndebian\tbookworm\t\w+\tdefault\t\S+\n---\n$/m)
  t.notMatch(only.stdout, /alpine/)
  const screen = type('lxc-create -t download -n my-container')
  await screen.see(/^---\r\nDIST\tRELEASE\tARCH\tVARIANT\tBUILD\r\n---\r\nalpine\t3\.20\t\w+\tdefault/m)
  const [, arch] = await screen.see(/^debian\tbookworm\t(\w+)\tdefault\t\S+\r\n---\r\n/m)
  await screen.answer(/Distribution: /, 'debian\r')
  await screen.answer(/Release: /, 'bookworm\r')
  await screen.answer(/Architecture: /, `${arch}\r`)
  t.equal(await screen.over(), 0, screen.all)
  t.equal(readFileSync(join(lxcpath, 'my-container/rootfs/etc/motd'), 'utf8'), 'from the image\n')
  t.equal(
    (await call('lxc-info -n my-container -c lxc.net.0.link')).stdout,
    'lxc.net.0.link = lxcbr0\n',
    'it begins with default.conf',
  )
  const [map] = (await call('lxc-info -n my-container -H -c lxc.idmap')).stdout.split('\n')
  if (!isRoot) t.equal(map, 'u 0 1700000000 65536', 'and with the id map of there')
})

t.test('answers may come from a pipe, and may be wrong', async t => {
  const create = (answers: string, ...given: string[]) =>
    call(`lxc-create -t download -n other -- ${given.join(' ')}`, answers)
  t.match(await create('3.20\namd64\n', '-d alpine'), { status: 0, stdout: /Release: \nArchitecture: \n/ })
  t.equal((await call('lxc-destroy -n other')).status, 0)
  t.match(await create('debian\n'), {
    status: 1,
    stderr: /^lxc-create: other: no release was given; --release gives it, too$/m,
  })
  t.match(await create('debain\nbookworm\namd64\n'), {
    status: 1,
    stderr: /Cannot find image "debain\/.*did you mean "debian\/bookworm/s,
  })
  t.match(await create('', '--list -d debian --sever x'), {
    status: 1,
    stderr: /unknown option --sever; did you mean --server/,
  })
  t.notOk(existsSync(join(lxcpath, 'other')), 'nothing is half-made')
})

t.test('started, and looked at', async t => {
  t.match((await call('lxc-ls -f')).stdout, /^my-container STOPPED 0 +- +- +- +(true|false) +$/m)
  t.match(await call('lxc-start -n my-container -d'), { status: 0, stdout: '', stderr: '' })
  const { stdout } = await call('lxc-info -n my-container')
  const labels = [
    'Name',
    'State',
    'PID',
    'IP',
    'CPU use',
    'BlkIO use',
    'Memory use',
    'KMem use',
    'Link',
    ' TX bytes',
    ' RX bytes',
    ' Total bytes',
  ]
  for (const label of labels) t.match(stdout, new RegExp(`^${`${label}:`.padEnd(16)}\\S`, 'm'))
  t.match(stdout, /^State: {10}RUNNING$/m)
  t.match(stdout, /^IP: {13}10\.0\.3\.7$/m)
  t.match((await call('lxc-ls -f')).stdout, /^my-container RUNNING 0 +- +10\.0\.3\.7 +\S+ +true +$/m)
})

t.test('lxc-attach: a shell with job control', async t => {
  const screen = type('lxc-attach -n my-container')
  const prompt = /# /
  const enter = (line: string) => screen.answer(prompt, `${line}\r`)
  await enter('id -u; cat /etc/motd')
  await screen.see(/^0\r\nfrom the image/m)
  await enter('stty size')
  await screen.see(/33 101/)
  await screen.see(prompt)
  screen.resize({ rows: 20, columns: 70 })
  screen.type('stty size\r')
  await screen.see(/20 70/)
  // What is typed before the program has the terminal would be the shell's.
  await enter(`sh -c 'trap "echo again" CONT; echo begun$((1+1)); while :; do sleep 0.1; done'`)
  await screen.answer(/begun2/, '\x1a')
  await screen.see(/\[1\]\+ +Stopped/)
  await enter('fg')
  await screen.answer(/\nagain/, '\x03')
  await enter('echo it ended with $?')
  await screen.see(/it ended with 130/)
  await enter('sleep 1000 & jobs') // which the end of the session does not wait for
  await screen.see(/\[1\]\+ +Running +sleep 1000/)
  await enter("sh -c 'echo begun$((1+1)); exec cat'")
  await screen.answer(/begun2\r\n/, 'a line\r')
  await screen.see(/a line\r\na line\r\n/)
  screen.type('\x04')
  await enter('exit 7')
  t.equal(await screen.over(), 7, screen.all)
})

t.test('lxc-attach ends as its program ends', async t => {
  const attach = (command: string, input = '') => call(`lxc-attach -n my-container -- ${command}`, input)
  t.match(await attach('sh -c "cat; echo error >&2; exit 9"', 'typed\n'), {
    status: 9,
    stdout: 'typed\n',
    stderr: 'error\n',
  })
  t.match(await attach(`sh -c 'kill -TERM $$'`), { status: 143 })
  t.match(await attach('nothing'), { status: 127, stderr: /nothing/ })
  t.match(await attach('/etc/motd'), { status: 126, stderr: /\/etc\/motd/ })
})

t.test('lxc-console, and the way out of it', async t => {
  const screen = type('lxc-console -n my-container')
  await screen.see(/Connected to tty 1/)
  await screen.see(/Type <Ctrl\+a q> to exit the console/)
  screen.type('\r')
  await screen.answer(/# /, 'stty size; tty\r')
  await screen.see(/33 101\r\n\/dev\/tty1/)
  screen.resize({ rows: 24, columns: 80 })
  await screen.answer(/# /, 'stty size\r')
  await screen.see(/24 80/)
  await screen.answer(/# /, "sh -c 'echo begun$((1+1)); exec cat -v'\r")
  await screen.answer(/begun2/, '\x01\x01\r')
  await screen.see(/\^A\r\n\^A\r\n/)
  screen.type('\x03')
  await screen.see(/# /)
  screen.type('\x01q')
  t.equal(await screen.over(), 0, screen.all)
  t.equal((await call('lxc-info -n my-container -sH')).stdout, 'RUNNING\n')
})

t.test('frozen and thawed', async t => {
  t.match(await call('lxc-freeze -n my-container'), { status: 0, stdout: '', stderr: '' })
  t.equal((await call('lxc-info -n my-container -sH')).stdout, 'FROZEN\n')
  t.match(await call('lxc-attach -n my-container -- true'), { status: 1, stderr: /frozen.*lxc-unfreeze/s })
  t.match(await call('lxc-unfreeze -n my-container'), { status: 0, stdout: '', stderr: '' })
  t.equal((await call('lxc-info -n my-container -sH')).stdout, 'RUNNING\n')
})

t.test('stopped, run in the foreground, destroyed', async t => {
  t.match(await call('lxc-stop -n my-container'), { status: 0, stdout: '', stderr: '' })
  t.equal((await call('lxc-info -n my-container -sH')).stdout, 'STOPPED\n')
  const screen = type('lxc-start -n my-container -F')
  await screen.answer(/activate this console/, '\r')
  await screen.answer(/# /, 'stty size\r')
  await screen.see(/33 101/)
  await screen.answer(/# /, 'poweroff\r')
  t.equal(await screen.over(), 0, screen.all)
  t.match(await call('lxc-destroy -n my-container'), { status: 0, stdout: '', stderr: '' })
  t.notOk(existsSync(join(lxcpath, 'my-container')))
  t.equal((await call('lxc-ls')).stdout, '')
})

t.test('what is somebody else’s', { skip: isRoot ? 'root may all' : false }, async t => {
  const [hidden, shown] = [process.env.CAISSON_TEST_HIDDEN, process.env.CAISSON_TEST_SHOWN]
  const says = (what: string) =>
    new RegExp(
      `(^|\\n)lxc-[a-z]+: (\\w+: )?Cannot ${what}.*: permission denied for /.*\\n  hint: root may: run this as that user, .*\\n$`,
    )
  for (const line of ['start', 'stop', 'attach', 'info', 'freeze', 'console', 'destroy', 'snapshot', 'wait -s STOPPED'])
    t.match(await call(`lxc-${line} -P ${hidden} -n rooted`), {
      status: 1,
      stdout: '',
      stderr: says('open container "rooted"'),
    })
  for (const line of ['ls', 'autostart -L'])
    t.match(await call(`lxc-${line} -P ${hidden}`), { status: 1, stdout: '', stderr: says('list containers') })
  t.match(await call(`lxc-create -P ${hidden} -n new -t busybox`), {
    status: 1,
    stderr: says('create container "new"'),
  })
  t.match(await call(`lxc-start -P ${shown} -n rooted`), {
    status: 1,
    stderr: /not granted to "caisson-tester"\n {2}hint: /,
  })
  for (const verb of ['destroy', 'snapshot'])
    t.match(await call(`lxc-${verb} -P ${shown} -n rooted`), { status: 1, stderr: says('[a-z ]+ container "rooted"') })
  t.equal((await call(`lxc-info -P ${shown} -n rooted -sH`)).stdout, 'STOPPED\n', 'nothing has happened to it')
})
