/** The completion script for fish(1). */
import { type Completing, completedOptions, completedWords, keys, listing } from './completion.ts'
import type { Tool } from './tool.ts'

const HEAD = `# Completion of the lxc-* tools for fish, made from their tables: put it into ~/.config/fish/completions or conf.d.
function __lxc_path
    set -l words (commandline -opc)
    for at in (seq (count $words))
        switch $words[$at]
            case -P --lxcpath
                test (count $words) -gt $at; and echo -- -P; and echo -- $words[(math $at + 1)]
            case '--lxcpath=*'
                echo -- -P; echo -- (string replace -- --lxcpath= '' $words[$at])
        end
    end
end
function __lxc_containers
    lxc-ls -1 $argv (__lxc_path) 2>/dev/null
end
function __lxc_snapshots
    set -l words (commandline -opc)
    set -l at (contains -i -- -n $words; or contains -i -- --name $words)
    set -l name (__lxc_words)[1]
    test -n "$at"; and set name $words[(math $at + 1)]
    lxc-snapshot -L (__lxc_path) -n $name 2>/dev/null | string replace -rf ' \\\\(.*' ''
end
function __lxc_interfaces
    path basename /sys/class/net/* 2>/dev/null; or ls /sys/class/net
end
# The words so far that are no options and no values of options; the values that a tool's options take are in __lxc_valued_TOOL.
function __lxc_words
    set -l words (commandline -opc)
    set -l valued __lxc_valued_(string replace -a - _ (path basename $words[1] 2>/dev/null; or basename $words[1]))
    set -l skip no
    for word in $words[2..]
        if test $skip = yes
            set skip no
        else if string match -q -- '-*' $word
            contains -- $word $$valued; and set skip yes
        else
            echo -- $word
        end
    end
end
function __lxc_at
    test (count (__lxc_words)) -eq $argv[1]
end
`

const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`

/** The script. */
export function fish(tools: readonly Tool[]): string {
  return [HEAD, configKeys(), ...tools.flatMap(linesOf), ''].join('\n')
}

function linesOf(tool: Tool): string[] {
  const all = completedOptions(tool)
  const valued = all
    .filter(({ value, optional }) => value !== undefined && !optional)
    .flatMap(({ long, short }) => [`--${long}`, ...(short === undefined ? [] : [`-${short}`])])
  const list = listing(tool)
  const named = `complete -c ${tool.name}`
  const options = all.map(({ long, short, help, value, optional, completing }) =>
    [
      named,
      ...(short === undefined ? [] : [/^\w$/.test(short) ? `-s ${short}` : `-s ${quote(short)}`]),
      `-l ${long}`,
      ...(value === undefined || optional
        ? []
        : [completing === 'files' || completing === 'directories' ? '-rF' : '-x']),
      `-d ${quote(help)}`,
      ...(completing === undefined || completing === 'files' ? [] : [`-a ${act(completing, list)}`]),
    ].join(' '),
  )
  const words = completedWords(tool).map((completing, at) => `${named} -n '__lxc_at ${at}' -a ${act(completing, list)}`)
  // A command may be a file; a container is none.
  const commands = [tool.words === 'command' ? `${named} -n '__lxc_at 0' -f` : `${named} -f`]
  return [
    `set -g __lxc_valued_${tool.name.replaceAll('-', '_')} ${valued.join(' ')}`,
    ...commands,
    ...options,
    ...words,
  ]
}

function act(completing: Completing, list: string): string {
  if (typeof completing !== 'string') return quote(completing.map(word => word.replaceAll('|', '\\|')).join(' '))
  if (completing === 'directories') return quote('(__fish_complete_directories)')
  return quote(completing === 'containers' ? `(__lxc_containers ${list})` : `(__lxc_${completing})`)
}

/** Keys alone, and with what they accept. */
function configKeys(): string {
  const { names, values } = keys()
  const lines = names.flatMap(name => (values.get(name) ?? ['']).map(word => `${name}=${word}`))
  return [
    'function __lxc_keys',
    '    if contains -- (commandline -opc)[1] lxc-info',
    `        printf '%s\\n' ${names.join(' ')}`,
    '    else',
    `        printf '%s\\n' ${lines.map(quote).join(' ')}`,
    '    end',
    'end',
  ].join('\n')
}
