/** The completion script for bash(1): `complete -F`, without the bash-completion package. */
import { type Completing, completedOptions, completedWords, keys, listing, quote } from './completion.ts'
import type { Tool } from './tool.ts'

const HEAD = `# Completion of the lxc-* tools for bash, made from their tables: source it, or put it into /etc/bash_completion.d.
_lxc_reply() { mapfile -t COMPREPLY < <(compgen "$@" -- "$cur"); }
_lxc_words() { _lxc_reply -W "$*"; }
_lxc_containers() { _lxc_reply -W "$(lxc-ls -1 $listing "\${lxcpath[@]}" 2>/dev/null)"; }
_lxc_snapshots() { _lxc_reply -W "$(lxc-snapshot -L "\${lxcpath[@]}" -n "$container" 2>/dev/null | sed -n 's/ (.*//p')"; }
_lxc_interfaces() { _lxc_reply -W "$(ls /sys/class/net)"; }
_lxc_files() { compopt -o filenames; _lxc_reply -f; }
_lxc_directories() { compopt -o filenames; _lxc_reply -d; }
`

/** = is a word of its own for bash: it stands between an option and its value, and between a key and its value. */
const BODY = `
_lxc() {
  local tool=\${COMP_WORDS[0]##*/} cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  local before=\${COMP_WORDS[COMP_CWORD-2]} at word container= listing= options= words=0
  local -a lxcpath=()
  COMPREPLY=()
  if [[ $cur == = ]]; then cur= before=$prev prev==; before=\${COMP_WORDS[COMP_CWORD-1]}; fi
  if [[ $prev == = ]]; then
    [[ $before == lxc.* ]] && { _lxc_value "$before"; return; }
    prev=$before
  fi
  _lxc_of "$tool"
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    case $word in
      --) [[ $words -gt 0 || $named == no ]] && { compopt -o bashdefault -o default; return; } ;;
      -P|--lxcpath) [[ \${COMP_WORDS[at+1]} == = ]] && ((at++)); lxcpath+=(-P "\${COMP_WORDS[++at]}") ;;
      -n|--name) [[ \${COMP_WORDS[at+1]} == = ]] && ((at++)); container=\${COMP_WORDS[++at]}; ((words++)) ;;
      -*) [[ " $valued " == *" $word "* ]] && { [[ \${COMP_WORDS[at+1]} == = ]] && ((at++)); ((at++)); } ;;
      *) [[ -z $container && $named == yes ]] && container=$word; ((words++)) ;;
    esac
  done
  case "$tool $prev" in
@VALUES@
  esac
  if [[ $cur == -* ]]; then _lxc_words $options; return; fi
  [[ $named == no ]] && ((words++))
  case "$tool $words" in
@WORDS@
    *) [[ $command == yes ]] && compopt -o bashdefault -o default ;;
  esac
}
`

/** The script. */
export function bash(tools: readonly Tool[]): string {
  const body = BODY.replace('@VALUES@', () => tools.flatMap(values).join('\n')).replace('@WORDS@', () =>
    tools.flatMap(words).join('\n'),
  )
  return [
    HEAD,
    configKeys(),
    ofTools(tools),
    body,
    `complete -F _lxc ${tools.map(({ name }) => name).join(' ')}`,
    '',
  ].join('\n')
}

const act = (completing: Completing): string =>
  typeof completing === 'string' ? `_lxc_${completing}` : `_lxc_words ${completing.map(quote).join(' ')}`

/** A line for each option with a value that can be completed. Without one nothing is offered: what follows is no option. */
function values(tool: Tool): string[] {
  return completedOptions(tool)
    .filter(({ value, optional }) => value !== undefined && !optional)
    .map(({ long, short, completing }) => {
      const spelled = [`--${long}`, ...(short === undefined ? [] : [`-${short}`])]
      const pattern = spelled.map(one => quote(`${tool.name} ${one}`)).join('|')
      return `    ${pattern}) ${completing === undefined ? '' : `${act(completing)}; `}return ;;`
    })
}

function words(tool: Tool): string[] {
  const first = (tool.named ?? true) ? 0 : 1
  return completedWords(tool).map(
    (completing, at) => `    ${quote(`${tool.name} ${first + at}`)}) ${act(completing)} ;;`,
  )
}

function ofTools(tools: readonly Tool[]): string {
  const lines = tools.map(tool => {
    const all = completedOptions(tool)
    const spell = ({ long, short }: (typeof all)[number]) => [
      `--${long}`,
      ...(short === undefined ? [] : [`-${short}`]),
    ]
    const valued = all.filter(({ value, optional }) => value !== undefined && !optional).flatMap(spell)
    const told = [
      `options=${quote(all.map(({ long }) => `--${long}`).join(' '))}`,
      `valued=${quote(valued.join(' '))}`,
      `listing=${listing(tool)}`,
      `named=${(tool.named ?? true) ? 'yes' : 'no'}`,
      `command=${tool.words === 'command' ? 'yes' : 'no'}`,
    ]
    return `    ${tool.name}) ${told.join(' ')} ;;`
  })
  return ['_lxc_of() {', '  case $1 in', ...lines, '  esac', '}'].join('\n')
}

/** A key is followed by = and its value, but where only keys are asked for. */
function configKeys(): string {
  const { names, values: known } = keys()
  return [
    '_lxc_keys() {',
    `  _lxc_words ${names.join(' ')}`,
    `  [[ $tool == lxc-info ]] || { compopt -o nospace; COMPREPLY=("\${COMPREPLY[@]/%/=}"); }`,
    '}',
    '_lxc_value() {',
    '  case $1 in',
    ...[...known].map(([name, accepted]) => `    ${name}) _lxc_words ${accepted.map(quote).join(' ')} ;;`),
    '  esac',
    '}',
  ].join('\n')
}
