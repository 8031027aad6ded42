import { createRequire } from 'node:module'
import path from 'node:path'

// By the package's own name, since the compiled files lie deeper than the sources.
const requireHere = createRequire(import.meta.url)
const manifest = 'caisson/package.json'

/** The version of this package. */
export const version: string = (requireHere(manifest) as { version: string }).version

/** Where this package is: dist/, the sources, the addon. */
export const packageRoot: string = path.dirname(requireHere.resolve(manifest))
