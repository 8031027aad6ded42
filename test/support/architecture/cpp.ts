/** What a rule must know of a C or C++ file: what it includes, and how long its functions are. */
import { lineCount } from './source.ts'

export interface Include {
  readonly name: string
  readonly system: boolean
}

export interface Block {
  readonly name: string
  readonly lines: number
}

export function includesOf(text: string): Include[] {
  return [...text.matchAll(/^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)/gm)].map(([, own, system]) => ({
    name: own ?? system ?? '',
    system: own === undefined,
  }))
}

/** Comments, literals and preprocessor lines blanked, with every line kept where it was. */
export function withoutText(text: string): string {
  const blank = (match: string) => match.replace(/[^\n]/g, ' ')
  return text
    .replace(
      /R"(\w*)\([\s\S]*?\)\1"|\/\/.*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'/g,
      blank,
    )
    .replace(/^[ \t]*#(?:.*\\\n)*.*$/gm, blank)
}

/**
 * Functions with their lengths in lines. A brace opens a function when what stands before it ends a parameter list; then all
 * up to its closing brace belongs to it. Namespaces, classes and the like are looked into; other braces are data.
 */
export function functionsOf(text: string): Block[] {
  const code = withoutText(text)
  const found: Block[] = []
  let head = 0
  for (let at = 0; at < code.length; at++) {
    const char = code[at]
    if (char === ';' || char === '}') head = at + 1
    if (char !== '{') continue
    const before = code.slice(head, at).trim()
    const end = closingBrace(code, at)
    if (!isContainer(before)) {
      const name = functionName(before)
      if (name !== undefined) found.push({ name, lines: lineCount(code.slice(head, end).trimStart()) + 1 })
      at = end
    }
    head = at + 1
  }
  return found
}

const isContainer = (before: string): boolean =>
  /(^|\s)(namespace|class|struct|union)\b[^()=]*$/.test(before) || /^extern\s*$/.test(before)

/** `Status Mount::attach(int at) const` is a function; `constexpr Row kRows[] =` is not. */
function functionName(before: string): string | undefined {
  if (/=\s*$/.test(before)) return undefined
  return /([~\w:]+|operator\S+)\s*\([\s\S]*\)/.exec(before)?.[1]
}

function closingBrace(code: string, opening: number): number {
  let depth = 0
  for (let at = opening; at < code.length; at++) {
    if (code[at] === '{') depth++
    if (code[at] === '}' && --depth === 0) return at
  }
  return code.length - 1
}
