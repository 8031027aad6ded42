// The completion scripts, in the shells that they are for: what is offered for the beginning of a word.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { withShared } from '../../lib/tools/options.ts'
import type { Tool } from '../../lib/tools/tool.ts'
import { directory } from '../support/rootfs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const scripts = join(root, 'dist/completions')
const needs = (shell: string) =>
  existsSync(`/usr/bin/${shell}`) || existsSync(`/bin/${shell}`) ? false : `it needs ${shell} installed`

/** Containers to name, and a PATH with the tools in it. */
const lxcpath = directory(t)
const bin = directory(t)
for (const name of ['alpha', 'beta-1', 'beta-2']) {
  mkdirSync(join(lxcpath, name))
  writeFileSync(join(lxcpath, name, 'config'), 'lxc.uts.name = x\n')
}
for (const file of readdirSync(join(root, 'dist/bin')))
  if (file.endsWith('.js')) symlinkSync(join(root, 'dist/bin', file), join(bin, file.slice(0, -3)))
const env = { PATH: `${bin}:/usr/bin:/bin`, HOME: directory(t), TERM: 'dumb' }

/** A line up to the cursor, and what its last word can become. */
const OFFERED: readonly [line: string, offered: readonly string[]][] = [
  ['lxc-attach --clear-e', ['--clear-env']],
  [`lxc-info -P ${lxcpath} -n beta`, ['beta-1', 'beta-2']],
  [`lxc-info -P ${lxcpath} al`, ['alpha']],
  [`lxc-start -P ${lxcpath} beta-`, ['beta-1', 'beta-2']],
  [`lxc-attach -P ${lxcpath} al`, []],
  ['lxc-wait -s FRO', ['FROZEN']],
  ['lxc-info -c lxc.uts', ['lxc.uts.name']],
  ['lxc-unshare -s PI', ['PID']],
  ['lxc-create -B lo', ['loop']],
  ['lxc-config lxc.lxc', ['lxc.lxcpath']],
  [`lxc-device -P ${lxcpath} alpha a`, ['add']],
  ['lxc-attach -a x86_', ['x86_64']],
]

t.test('every option of every tool is in every script', async t => {
  const texts = ['lxc.bash', '_lxc', 'lxc.fish'].map(name => readFileSync(join(scripts, name), 'utf8'))
  for (const file of readdirSync(join(root, 'examples')).filter(name => /^lxc-.*\.ts$/.test(name))) {
    const { tool } = (await import(join(root, 'examples', file))) as { tool: Tool }
    const options = Object.keys(withShared(tool.options)).filter(name => name !== 'h')
    const [bash = '', zsh = '', fish = ''] = texts
    const ofBash = new RegExp(`^ {4}${tool.name}\\) options='([^']*)'`, 'm').exec(bash)?.[1]?.split(' ') ?? []
    const ofZsh = new RegExp(`^ {4}${tool.name}\\) _arguments[^]*?;;$`, 'm').exec(zsh)?.[0] ?? ''
    const ofFish = fish.split('\n').filter(line => line.startsWith(`complete -c ${tool.name} `))
    for (const option of options) {
      if (option === 'name' && tool.named === false && !('name' in tool.options)) continue
      t.ok(ofBash.includes(`--${option}`), `bash: ${tool.name} --${option}`)
      t.match(ofZsh, new RegExp(`--${option}[='}]`), `zsh: ${tool.name} --${option}`)
      t.ok(
        ofFish.some(line => line.includes(` -l ${option} `)),
        `fish: ${tool.name} --${option}`,
      )
    }
  }
})

t.test('bash', { skip: needs('bash') }, async t => {
  // Bash gives the words of a line to the function that completes it; = is one of them.
  const ask = `ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _lxc; printf '%s\\n' "\${COMPREPLY[@]}"; }`
  const offered = (line: string) => {
    const words = line.split(/ |(=)/).filter(word => word !== undefined && word !== '')
    const script = `source ${scripts}/lxc.bash; compopt() { :; }; ${ask}; ask "$@"`
    return execFileSync('bash', ['--norc', '-c', script, 'bash', ...words], { env, encoding: 'utf8' })
      .split('\n')
      .filter(Boolean)
  }
  for (const [line, wanted] of OFFERED) t.strictSame(offered(line), wanted, line)
  t.strictSame(offered('lxc-start -s lxc.net.0.ty'), ['lxc.net.0.type='], 'a key waits for its value')
  t.strictSame(offered('lxc-start -s lxc.net.0.type=mac'), ['macvlan'])
  t.strictSame(offered('lxc-start --define=lxc.net.0.type=mac'), ['macvlan'])
  t.strictSame(offered('lxc-wait --state=FRO'), ['FROZEN'])
})

t.test('fish', { skip: needs('fish') }, async t => {
  const offered = (line: string) => {
    const script = `source ${scripts}/lxc.fish; complete -C '${line}'`
    const said = execFileSync('fish', ['--no-config', '-c', script], { env, encoding: 'utf8' })
    return said.split('\n').flatMap(row => row.split('\t')[0] || [])
  }
  for (const [line, wanted] of OFFERED) t.strictSame(offered(line), wanted, line)
  t.strictSame(offered('lxc-start -s lxc.net.0.type=mac'), ['lxc.net.0.type=macvlan'])
})

t.test('zsh', { skip: needs('zsh') }, async t => {
  const zsh = spawn('script', ['-qec', 'stty -echo cols 200; exec zsh -f -i', '/dev/null'], { env })
  t.teardown(() => zsh.kill('SIGKILL'))
  let seen = ''
  let look: () => void = () => undefined
  zsh.stdout.on('data', chunk => {
    seen += chunk
    look()
  })
  const wait = (text: RegExp) =>
    new Promise<void>(resolve => {
      look = () => text.test(seen) && resolve()
      look()
    })
  const say = async (line: string, until: RegExp) => {
    seen = ''
    zsh.stdin.write(line)
    await wait(until)
  }
  // The widget prints what the line has become, and empties it.
  const setUp = [
    `fpath=(${scripts} $fpath); autoload -Uz compinit; compinit -u -D`,
    'finish() { zle expand-or-complete; print -r -- "<$BUFFER>"; BUFFER=; }; zle -N finish; bindkey "^T" finish',
    'unsetopt beep; setopt no_list_beep; PS1=; print re""ady',
  ]
  await say(`${setUp.join('; ')}\r`, /ready/)
  for (const [line, wanted] of OFFERED.filter(([, { length }]) => length === 1)) {
    seen = ''
    zsh.stdin.write(`${line}\x14`)
    await wait(/<[^>]*>/)
    t.match(seen, `<${line.slice(0, line.lastIndexOf(' '))} ${wanted[0]}`, line)
  }
})
