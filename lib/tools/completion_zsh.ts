/** The completion script for zsh(1): a function for `compdef`, over _arguments. */
import {
  type Completed,
  type Completing,
  completedOptions,
  completedWords,
  keys,
  listing,
  quote,
} from './completion.ts'
import type { Tool } from './tool.ts'

const HELPERS = `
_lxc_path() {
  local at
  reply=()
  for ((at = 2; at < $#words; at++)); do
    case $words[at] in
      -P|--lxcpath) reply+=(-P $words[at+1]) ;;
      --lxcpath=*) reply+=(-P \${words[at]#*=}) ;;
    esac
  done
}
_lxc_containers() {
  local -a reply; _lxc_path
  compadd -- \${(f)"$(lxc-ls -1 \${=1} $reply 2>/dev/null)"}
}
_lxc_snapshots() {
  local -a reply; _lxc_path
  local at name=$line[1]
  at=$words[(I)(-n|--name)]; ((at > 0)) && name=$words[at+1]
  compadd -- \${(f)"$(lxc-snapshot -L $reply -n $name 2>/dev/null | sed -n 's/ (.*//p')"}
}
_lxc_interfaces() { compadd -- /sys/class/net/*(N:t) }
`

/** The script, to be called _lxc in a directory of fpath. */
export function zsh(tools: readonly Tool[]): string {
  return [
    `#compdef ${tools.map(({ name }) => name).join(' ')}`,
    '# Completion of the lxc-* tools for zsh, made from their tables: put it into a directory of fpath, as _lxc.',
    HELPERS,
    configKeys(),
    '_lxc() {',
    '  case $service in',
    ...tools.flatMap(tool => [
      `    ${tool.name}) _arguments -s -S \\`,
      ...specs(tool).map(spec => `      ${spec} \\`),
      '      ;;',
    ]),
    '  esac',
    '}',
    '_lxc "$@"',
    '',
  ].join('\n')
}

/** What _arguments takes: options, and the words in their order. */
function specs(tool: Tool): string[] {
  const list = listing(tool)
  const positional = completedWords(tool).map((completing, at) =>
    quote(`${at + 1}:${completing === 'containers' ? 'container' : 'word'}:${act(completing, list)}`),
  )
  const rest = tool.words === 'command' ? [quote('*::command:_normal')] : []
  return [...completedOptions(tool).map(option => spec(option, list)), ...positional, ...rest]
}

function spec({ long, short, help, value, optional, multiple, completing }: Completed, list: string): string {
  const text = `[${help.replaceAll(/[[\]\\:]/g, '\\$&')}]`
  const names = short === undefined ? [`--${long}`] : [`-${short}`, `--${long}`]
  const once = multiple ? "'*'" : `'(${names.join(' ')})'`
  const action =
    value === undefined
      ? ''
      : `${optional ? '::' : ':'}${escapeColons(value)}:${completing === undefined ? ' ' : act(completing, list)}`
  const glued = (name: string) =>
    value === undefined
      ? name
      : name.startsWith('--')
        ? `${name}=${optional ? '-' : ''}`
        : `${name}${optional ? '-' : '+'}`
  const spelled = names.map(glued)
  return `${once}${spelled.length === 1 ? quote(spelled[0] as string) : `{${spelled.map(quote).join(',')}}`}${quote(text + action)}`
}

const escapeColons = (text: string): string => text.replaceAll(':', '\\:')

function act(completing: Completing, list: string): string {
  if (typeof completing !== 'string') return `(${completing.map(word => word.replaceAll(/[|:]/g, '\\$&')).join(' ')})`
  // The blank keeps _arguments from putting words of its own before the argument.
  if (completing === 'containers') return ` _lxc_containers "${list}"`
  return {
    files: '_files',
    directories: '_files -/',
    keys: '_lxc_keys',
    snapshots: '_lxc_snapshots',
    interfaces: '_lxc_interfaces',
  }[completing]
}

function configKeys(): string {
  const { names, values } = keys()
  return [
    '_lxc_keys() {',
    '  if [[ $service == lxc-info ]]; then',
    `    compadd -- ${names.join(' ')}`,
    '  elif compset -P "*="; then',
    `    case \${IPREFIX%=} in`,
    ...[...values].map(([name, words]) => `      *${name}) compadd -- ${words.map(quote).join(' ')} ;;`),
    '    esac',
    '  else',
    `    compadd -S = -- ${names.join(' ')}`,
    '  fi',
    '}',
  ].join('\n')
}
