/**
 * Starts a tool out of the bundle of all tools. V8 keeps what it compiled for the tool in a file beside it, so that its next start
 * need not compile it again; Node has this for programs only from 22.8 on (module.enableCompileCache).
 *
 * The file is as trusted as the bundle: it has to belong to the bundle's owner and be writable by nobody else, and only that owner
 * writes it. NODE_DISABLE_COMPILE_CACHE turns it off, as it does Node's.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Script } from 'node:vm'

/** The bundle's file name, which has the hash of its content. */
declare const BUNDLE: string
declare const __dirname: string
declare const require: (name: string) => unknown

interface Bundle {
  startNamed(name: string): Promise<void>
}

/** Runs the tool of that name with this process's command line. */
export function launch(name: string): void {
  const file = path.join(__dirname, BUNDLE)
  const { text, owner } = readBundle(file)
  const cache = `${file}.${process.version}-${process.arch}.${name}`
  const cachedData = process.env.NODE_DISABLE_COMPILE_CACHE === undefined ? readCache(cache, owner) : undefined
  const script = new Script(`(function (exports, require, module, base) {${text}\n})`, { filename: file, cachedData })
  const module = { exports: {} as Bundle }
  // Modules of the bundle find the package and its addon as the library's own files do.
  script.runInThisContext()(module.exports, require, module, path.join(__dirname, '../../index.js'))
  const isMissing = cachedData === undefined || script.cachedDataRejected === true
  if (isMissing && process.env.NODE_DISABLE_COMPILE_CACHE === undefined && process.geteuid?.() === owner) {
    // At the end: what has been called by then is compiled, and is kept with it.
    process.once('exit', () => writeCache(cache, script.createCachedData()))
  }
  void module.exports.startNamed(name)
}

function readBundle(file: string): { text: string; owner: number } {
  const descriptor = openSync(file, 'r')
  try {
    return { text: readFileSync(descriptor, 'latin1'), owner: fstatSync(descriptor).uid }
  } finally {
    closeSync(descriptor)
  }
}

/** What was kept; nothing where there is none, or where somebody else could have written it. */
function readCache(file: string, owner: number): Buffer | undefined {
  let descriptor: number
  try {
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch {
    return undefined
  }
  try {
    const { uid, mode } = fstatSync(descriptor)
    return uid === owner && (mode & 0o022) === 0 ? readFileSync(descriptor) : undefined
  } finally {
    closeSync(descriptor)
  }
}

/** By a rename: a reader sees all of it or nothing. A place that cannot be written has none. */
function writeCache(file: string, data: Buffer): void {
  const aside = `${file}.${process.pid}`
  try {
    writeFileSync(aside, data, { flag: 'wx', mode: 0o644 })
    renameSync(aside, file)
  } catch {
    rmSync(aside, { force: true })
  }
}
