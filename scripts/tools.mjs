// Builds dist/bin/: the lxc-* tools as one bundle, and a program of three lines for each, so that all of them share the bundle and what
// V8 has compiled of it (lib/tools/launch.ts).
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = join(root, 'dist/bin')
const parts = join(bin, 'parts')
const names = readdirSync(join(root, 'examples')).flatMap(file =>
  /^lxc-.*\.ts$/.test(file) ? [file.slice(0, -3)] : [],
)

const common = {
  absWorkingDir: root,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20.19',
  packages: 'external',
  minify: true,
  keepNames: true,
  charset: 'ascii',
  logLevel: 'warning',
  outdir: parts,
}

/** Modules of Node's that take a millisecond or more to load, and that most tools never call. */
const HEAVY = [
  'child_process',
  'crypto',
  'fs/promises',
  'http',
  'https',
  'net',
  'readline',
  'stream/promises',
  'tls',
  'timers/promises',
  'zlib',
]

/** Loads those when something of them is first used. Only named imports look so: what they name is looked up at each use. */
function deferModules(file) {
  const text = readFileSync(file, 'latin1')
  const heavy = new RegExp(`=require\\("node:(${HEAVY.join('|')})"\\)`, 'g')
  // The bundle has a require of its own, from which the package and its addon are found; node:module costs two milliseconds.
  const own = text.replaceAll('require("node:module")', '{createRequire:()=>require}')
  writeFileSync(file, own.replace(heavy, '=deferred("node:$1")'), 'latin1')
}

/** Of node:fs/promises, which takes six milliseconds to load, what tools that only look call: node:fs does the same of a path. */
const LIGHT = ['access', 'lstat', 'readdir', 'readFile', 'readlink', 'stat']

const DEFERRED = `function deferred(name){let module;return new Proxy({},{get:(_,key)=>(module??light(name,key)??(module=require(name)))[key]})}
function light(name,key){
if(name==="node:fs/promises"&&${JSON.stringify(LIGHT)}.includes(key))return{[key]:require("node:util").promisify(require("node:fs")[key])}}
`

/** What import.meta is of a file in dist/. */
const META =
  'const meta={dirname:require("node:path").dirname(base),get url(){return require("node:url").pathToFileURL(base).href}};'

/** Where the package is, and its version, are known here: looking for its package.json costs two milliseconds. */
const version = {
  name: 'version',
  setup({ onLoad }) {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    onLoad({ filter: /\/lib\/version\.ts$/ }, () => ({
      contents: `import path from 'node:path'
        export const version = ${JSON.stringify(version)}
        export const packageRoot = path.join(import.meta.dirname, '..')`,
    }))
  },
}

const entry = [
  "import { start } from './lib/tools/tool.ts'",
  'const tools = {',
  ...names.map(name => `  '${name}': () => import('./examples/${name}.ts'),`),
  '}',
  'export const startNamed = async name => start((await tools[name]()).tool)',
].join('\n')

/** dist/completions/: a script for each shell, from the tables. */
async function writeCompletions() {
  const directory = join(root, 'dist/completions')
  const file = join(directory, 'tables.cjs')
  const contents = [
    ...['bash', 'zsh', 'fish'].map(shell => `import { ${shell} } from './lib/tools/completion_${shell}.ts'`),
    ...names.map((name, at) => `import { tool as tool${at} } from './examples/${name}.ts'`),
    `const tools = [${names.map((_, at) => `tool${at}`)}]`,
    "export const scripts = { 'lxc.bash': bash(tools), _lxc: zsh(tools), 'lxc.fish': fish(tools) }",
  ].join('\n')
  rmSync(directory, { recursive: true, force: true })
  await build({
    ...common,
    stdin: { contents, resolveDir: root, sourcefile: 'tables.js' },
    outdir: undefined,
    outfile: file,
    define: { 'import.meta': 'meta' },
    banner: { js: `const base=${JSON.stringify(join(root, 'dist/index.js'))};${META}` },
    plugins: [version],
  })
  const { scripts } = createRequire(import.meta.url)(file)
  for (const [name, text] of Object.entries(scripts)) writeFileSync(join(directory, name), text)
  rmSync(file)
}

rmSync(bin, { recursive: true, force: true })
mkdirSync(parts, { recursive: true })
const { metafile } = await build({
  ...common,
  stdin: { contents: entry, resolveDir: root, sourcefile: 'tools.js' },
  entryNames: 'tools-[hash]',
  define: { 'import.meta': 'meta' },
  banner: { js: `${DEFERRED}${META}` },
  plugins: [version],
  metafile: true,
})
const bundle = basename(Object.keys(metafile.outputs)[0])
deferModules(join(parts, bundle))
await build({
  ...common,
  entryPoints: { launch: 'lib/tools/launch.ts' },
  define: { BUNDLE: JSON.stringify(bundle) },
})
await writeCompletions()
writeFileSync(join(bin, 'package.json'), '{ "type": "commonjs" }\n')
for (const name of names) {
  const file = join(bin, `${name}.js`)
  writeFileSync(file, `#!/usr/bin/env node\nrequire('./parts/launch.js').launch('${name}')\n`)
  chmodSync(file, 0o755)
}
