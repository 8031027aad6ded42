// How ts-node gets JavaScript from TypeScript here (see tsconfig.json): what a file became is kept in build/transpiled/ until the file
// changes. Every test file is a process of its own that imports the library, which takes the compiler some seconds of a processor.
const { createHash } = require('node:crypto')
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs')
const { join, relative } = require('node:path')

const root = join(__dirname, '..')
const kept = join(root, 'build/transpiled')

function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return {} // not there, or not readable for this user: it is compiled
  }
}

/** Whole or not at all: others read and write at the same time. */
function write(file, result) {
  const own = `${file}.${process.pid}.${Math.random().toString(36).slice(2)}`
  try {
    mkdirSync(kept, { recursive: true })
    writeFileSync(own, JSON.stringify(result))
    renameSync(own, file)
  } catch (error) {
    // An ordinary user may not; the next process of root will.
    if (!['EACCES', 'EPERM', 'EROFS'].includes(error.code)) throw error
  }
}

exports.create = ({ service, nodeModuleEmitKind }) => {
  const { target, verbatimModuleSyntax, rewriteRelativeImportExtensions } = service.config.options
  const compilerOptions = {
    target,
    verbatimModuleSyntax,
    rewriteRelativeImportExtensions,
    module: nodeModuleEmitKind === 'nodecjs' ? 1 : 99, // CommonJS, ESNext
    sourceMap: true,
    inlineSources: true,
  }
  const given = JSON.stringify([compilerOptions, require('typescript/package.json').version])
  return {
    transpile(code, { fileName }) {
      const file = join(kept, `${relative(root, fileName).replaceAll('/', '+')}.json`)
      const digest = createHash('sha256').update(given).update(code).digest('hex')
      const found = read(file)
      if (found.digest === digest) return found
      const { outputText, sourceMapText, diagnostics } = require('typescript').transpileModule(code, {
        fileName,
        compilerOptions,
        reportDiagnostics: true,
      })
      const result = { digest, outputText, sourceMapText }
      if (diagnostics.length === 0) write(file, result)
      return { ...result, diagnostics }
    },
  }
}
