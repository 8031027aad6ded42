// What users get: the tarball, made from a copy of the checkout, installed in an empty project without compilers or a network.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import { checkout, readSources } from '../support/architecture/source.ts'

/** Debian 12, Ubuntu 22.04 and RHEL 9 have at least these: what the addon may ask of the C and the C++ library. */
const NEWEST = { GLIBC: [2, 34], GLIBCXX: [3, 4, 29] } as const

const DEPENDENCIES = ['node-addon-api', 'node-gyp-build']

const place = mkdtempSync(join(tmpdir(), 'caisson-package-'))
const copy = join(place, 'copy')
const project = join(place, 'project')
const installed = join(project, 'node_modules/caisson')
t.teardown(() => rmSync(place, { recursive: true, force: true }))
t.setTimeout(900_000)

/** Node's prefix holds its headers; without it node-gyp would download them. */
const prefix = join(dirname(process.execPath), '..')
const environment = { HOME: place, npm_config_cache: join(place, 'cache'), npm_package_config_node_gyp_nodedir: prefix }

function run(directory: string, command: string, args: string[], path = process.env.PATH ?? ''): string {
  const env = { ...environment, PATH: path }
  return execFileSync(command, args, {
    cwd: directory,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1e8,
  })
}

/** A PATH with Node and a shell, and nothing that could compile. */
function bareTools(): string {
  const tools = join(place, 'tools')
  mkdirSync(tools)
  for (const name of ['node', 'npm', 'npx', 'sh']) {
    symlinkSync(execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim(), join(tools, name))
  }
  return tools
}

const loads = "const addon = require('node-gyp-build')('node_modules/caisson'); console.log(typeof addon.launch)"

t.test('it is made from what git knows', async () => {
  for (const { path } of readSources()) cpSync(join(checkout, path), join(copy, path))
  symlinkSync(join(checkout, 'node_modules'), join(copy, 'node_modules'))
  run(copy, 'npm', ['pack', '--pack-destination', place])
})

t.test('it holds what is needed and nothing else', async t => {
  const tarball = readdirSync(place).find(name => name.endsWith('.tgz')) ?? ''
  const listing = run(place, 'tar', ['-tvzf', tarball]).trim().split('\n')
  const files = listing.map(line => line.replace(/^.* package\//, ''))
  const needed = [
    'package.json',
    'LICENSE',
    'NOTICE',
    'LICENSES/LGPL-2.1.txt',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/bin/lxc-start.js',
    'examples/lxc-start.ts',
    'binding.gyp',
    'addon/sources.gypi',
    'include/spec.h',
    'prebuilds/linux-x64/caisson.glibc.node',
  ]
  t.strictSame(
    needed.filter(file => !files.includes(file)),
    [],
    'everything needed',
  )
  const known =
    /^(dist|lib|examples|addon|include|prebuilds\/linux-x64|LICENSES)\/|^(binding\.gyp|CMakeLists\.txt|NOTICE|LICENSE|README\.md|CHANGELOG\.md|package\.json)$/
  t.strictSame(
    files.filter(file => !known.test(file)),
    [],
    'nothing else',
  )
  const monitor = listing.find(line => line.endsWith('prebuilds/linux-x64/caisson-monitor'))
  t.match(monitor, /^-rwxr-xr-x/, "the monitor's file may be executed")
})

t.test('the addon asks little of the system and shows little of itself', async t => {
  const file = join(copy, 'prebuilds/linux-x64/caisson.glibc.node')
  const symbols = run(copy, 'objdump', ['-T', file])
  for (const [library, newest] of Object.entries(NEWEST)) {
    const asked = [...symbols.matchAll(new RegExp(`\\(${library}_([0-9.]+)\\)`, 'g'))].map(
      ([, version = '']) => version,
    )
    t.strictSame(
      [...new Set(asked)].filter(version => later(version, newest)),
      [],
      `${library} is at most ${newest.join('.')}`,
    )
  }
  const defined = symbols
    .split('\n')
    .filter(line => /^[0-9a-f]{16} g/.test(line))
    .map(line => line.split(' ').at(-1))
  t.strictSame(defined.sort(), ['napi_register_module_v1', 'node_api_module_get_api_version_v1'])
  const needed = run(copy, 'objdump', ['-p', file])
  t.notMatch(needed, /NEEDED.*seccomp/, 'libseccomp is inside')
  t.notMatch(
    run(copy, 'objdump', ['-p', join(copy, 'prebuilds/linux-x64/caisson-monitor')]),
    /NEEDED|INTERP/,
    'the monitor is static',
  )
})

function later(version: string, bound: readonly number[]): boolean {
  const parts = version.split('.').map(Number)
  const differs = bound.findIndex((part, i) => (parts[i] ?? 0) !== part)
  return differs >= 0 && (parts[differs] ?? 0) > (bound[differs] ?? 0)
}

t.test('it installs and loads without a compiler (P7)', async t => {
  const tools = bareTools()
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{ "name": "project", "private": true }')
  // the two dependencies come as tarballs too, so that no registry is asked
  for (const name of DEPENDENCIES) run(place, 'npm', ['pack', '--ignore-scripts', join(checkout, 'node_modules', name)])
  const tarballs = readdirSync(place)
    .filter(name => name.endsWith('.tgz'))
    .map(name => join(place, name))
  t.equal(tarballs.length, 1 + DEPENDENCIES.length)
  run(project, 'npm', ['install', '--offline', '--no-audit', '--no-fund', ...tarballs], tools)
  t.equal(run(project, 'node', ['-e', loads], tools).trim(), 'function')
  const uses = "import('caisson').then(({ Container, version }) => console.log(typeof Container.create, version))"
  t.match(run(project, 'node', ['-e', uses], tools), /^function \d+\.\d+\.\d+/)
  t.match(run(project, 'npx', ['--no-install', 'lxc-start', '--version'], tools), /^\d+\.\d+\.\d+\n$/)
  t.match(run(project, 'npx', ['--no-install', 'lxc-ls', '-f', '-P', place], tools), /^$/)
})

t.test('it can be built from its own source, as its licences want', async t => {
  rmSync(join(installed, 'prebuilds'), { recursive: true })
  t.throws(() => run(project, 'node', ['-e', loads]), /No native build/)
  const looks = "import('caisson').then(({ diagnose }) => diagnose()).then(all => console.log(JSON.stringify(all)))"
  const lacks = JSON.parse(run(project, 'node', ['-e', looks])).find(
    (one: { feature: string }) => one.feature === 'native addon',
  )
  t.match(lacks, { ok: false, required: true, hint: /node-gyp rebuild/ }, 'diagnose() says what to do')
  run(installed, process.execPath, [
    join(checkout, 'node_modules/node-gyp/bin/node-gyp.js'),
    'rebuild',
    `--nodedir=${prefix}`,
  ])
  t.equal(run(project, 'node', ['-e', loads]).trim(), 'function')
})
