/** What a rule must know of a TypeScript file, read by TypeScript's own parser. */
import ts from 'typescript'
import type { Block } from './cpp.ts'

function parse(text: string): ts.SourceFile {
  return ts.createSourceFile('source.ts', text, ts.ScriptTarget.Latest, true)
}

/** The specifiers of all imports and re-exports, types too, `import()` as well. */
export function importsOf(text: string): string[] {
  const found: string[] = []
  visit(parse(text), node => {
    const from =
      ts.isImportDeclaration(node) || ts.isExportDeclaration(node)
        ? node.moduleSpecifier
        : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
          ? node.arguments[0]
          : undefined
    if (from && ts.isStringLiteral(from)) found.push(from.text)
  })
  return found
}

/** Functions with their lengths in lines, without the methods of an object that they make: those are counted by themselves. */
export function functionsOf(text: string): Block[] {
  const file = parse(text)
  const found: Block[] = []
  const line = (position: number) => file.getLineAndCharacterOfPosition(position).line
  const span = (node: ts.Node) => line(node.getEnd()) - line(node.getStart(file)) + 1
  const methods = (node: ts.Node): number => {
    let lines = 0
    ts.forEachChild(node, child => {
      lines += ts.isMethodDeclaration(child) ? span(child) : methods(child)
    })
    return lines
  }
  visit(file, node => {
    if (!ts.isFunctionLike(node) || !('body' in node) || !node.body) return
    const name = node.name?.getText(file) ?? (ts.isConstructorDeclaration(node) ? 'constructor' : 'a function')
    found.push({ name, lines: span(node) - methods(node) })
  })
  return found
}

/** An `await` outside all functions: it would make the package impossible to `require()`. */
export function awaitsAtTopLevel(text: string): boolean {
  let found = false
  const look = (node: ts.Node): void => {
    if (ts.isFunctionLike(node)) return
    if (ts.isAwaitExpression(node)) found = true
    ts.forEachChild(node, look)
  }
  look(parse(text))
  return found
}

function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node)
  ts.forEachChild(node, child => visit(child, see))
}
