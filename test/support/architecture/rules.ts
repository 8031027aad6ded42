/**
 * The architecture as rules over the project's text: which arrows may exist, how large things may be, which words are not
 * used. docs/architecture.md says why; a change there is a change here.
 */
import { posix } from 'node:path'
import * as cpp from './cpp.ts'
import { checkout, codeLines, type Rule, type Source } from './source.ts'
import * as typescript from './typescript.ts'

const FILE_LINES = 400
const FUNCTION_LINES = 50

/** Generated, or one table: long by nature. */
const LONG_FILES = new Set(['include/spec.h', 'lib/native/spec.ts', 'lib/config/keys.ts'])

/** What a C++ layer may include, besides itself. A name with a slash is one header. */
const CPP_ARROWS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  border: ['base'],
  kernel: ['base', 'spec.h'],
  monitor: ['kernel', 'base', 'border'],
  binding: ['base', 'border', 'kernel/seccomp.h'],
}

/** System headers that belong to one place. */
const CPP_SYSTEM: readonly (readonly [header: string, where: RegExp])[] = [
  ['napi.h', /^addon\/binding\/|^include\/binding\//],
  ['seccomp.h', /^addon\/kernel\/seccomp_compile\.cc$|^test\/native\//],
  ['iostream', /^$/],
]

/** What a room of lib/ may import, besides itself and the foundation. The verbs, lib/*.ts, may import every room. */
const FOUNDATION = ['errors', 'abort', 'hints', 'version', 'turns']
const TS_ARROWS: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  abort: ['errors'],
  hints: ['errors'],
  version: [],
  turns: [],
  config: [],
  host: ['config', 'native/program'],
  native: [],
  seccomp: ['config', 'host', 'native/spec'],
  lsm: ['native/program', 'config', 'host', 'native/spec'],
  network: ['native/program', 'config', 'host', 'native/spec'],
  confine: ['host', 'lsm', 'native', 'seccomp'],
  storage: ['native/program', 'config', 'confine', 'host', 'native/spec'],
  image: ['native/program', 'config', 'confine', 'host', 'storage'],
  spec: ['native/program', 'config', 'host', 'seccomp', 'lsm', 'network', 'storage', 'native/spec'],
}

const isCpp = ({ path }: Source) => /^(addon|include)\/.*\.(cc|h)$/.test(path)
const isLib = ({ path }: Source) => /^lib\/.*\.ts$/.test(path)
const isOurs = ({ path }: Source) => /\.(cc|h|c|S|ts|mjs|sh)$/.test(path)
/** A test reads as one story and may be longer than a function should be. */
const isProgram = ({ path }: Source) => isOurs({ path, text: '' }) && !/\.test\.ts$|^test\/native\//.test(path)

const layerOf = (path: string) => /^(?:addon|include)\/(\w+)\//.exec(path)?.[1] ?? 'border'
const layerOfInclude = (name: string) => (name.includes('/') ? name.slice(0, name.indexOf('/')) : 'border')

const cppArrows: Rule = sources =>
  sources.filter(isCpp).flatMap(({ path, text }) => {
    const layer = layerOf(path)
    const allowed = [layer, ...(CPP_ARROWS[layer] ?? [])]
    return cpp.includesOf(text).flatMap(({ name, system }) => {
      if (!system)
        return allowed.includes(layerOfInclude(name)) || allowed.includes(name) ? [] : [`${path}: includes "${name}"`]
      const place = CPP_SYSTEM.find(([header]) => header === name)?.[1]
      return place === undefined || place.test(path) ? [] : [`${path}: includes <${name}>`]
    })
  })

/** kernel concerns (cgroup, cgroup_v1 and cgroup_v2 are one) use each other only downward, and never see the monitor's Context. */
const kernelModules: Rule = sources => {
  const kernel = sources.filter(source => isCpp(source) && layerOf(source.path) === 'kernel')
  const moduleOf = (path: string) => posix.basename(path).replace(/[._].*$/, '')
  const uses = new Map<string, Set<string>>()
  for (const { path, text } of kernel) {
    const used = cpp
      .includesOf(text)
      .filter(({ name }) => name.startsWith('kernel/'))
      .map(({ name }) => moduleOf(name))
    const all = uses.get(moduleOf(path)) ?? new Set()
    for (const each of used) if (each !== moduleOf(path)) all.add(each)
    uses.set(moduleOf(path), all)
  }
  const reaches = (from: string, to: string, seen = new Set<string>()): boolean =>
    [...(uses.get(from) ?? [])].some(next => next === to || (!seen.has(next) && reaches(next, to, seen.add(next))))
  return [
    ...[...uses.keys()].filter(name => reaches(name, name)).map(name => `kernel/${name}: is in a circle of includes`),
    ...kernel
      .filter(({ text }) => /\b(?:class|struct) Context;/.test(text))
      .map(({ path }) => `${path}: knows the monitor's Context`),
  ]
}

/** The room of a file of lib/: its directory, or for lib/x.ts the name x. */
const roomOf = (path: string) => path.slice('lib/'.length).replace(/(\/.*|\.ts)$/, '')

const typescriptArrows: Rule = sources =>
  sources.filter(isLib).flatMap(({ path, text }) => {
    const room = roomOf(path)
    const arrows = TS_ARROWS[room]
    return typescript.importsOf(text).flatMap(name => {
      if (!name.startsWith('.')) return importsPackage(path, name)
      const target = posix.join(posix.dirname(path), name)
      // The tools are programs on top: they use everything, and nothing uses them.
      if (room === 'tools' && target.startsWith('lib/')) return []
      if (roomOf(target) === 'tools') return [`${path}: imports ${name}, which is a tool's`]
      if (!target.startsWith('lib/')) return [`${path}: imports ${name}, which is not in lib/`]
      if (arrows === undefined) return posix.dirname(path) === 'lib' ? [] : [`${path}: ${room} is no room of the house`]
      const to = target.slice('lib/'.length, -'.ts'.length)
      const allowed = [room, ...arrows, ...(arrows.length > 0 || path.split('/').length > 2 ? FOUNDATION : [])]
      return allowed.includes(roomOf(target)) || allowed.includes(to) ? [] : [`${path}: imports ${to}`]
    })
  })

/** Only lib/native sees the addon, nobody forks, and everything else is Node's own, by its full name. */
function importsPackage(path: string, name: string): string[] {
  if (name === 'node:child_process') return path === 'lib/tools/in_place.ts' ? [] : [`${path}: forks Node`]
  if (name === 'node:module' || name === 'node-gyp-build')
    return ['native', 'version'].includes(roomOf(path)) ? [] : [`${path}: loads the addon`]
  return name.startsWith('node:') ? [] : [`${path}: imports the package "${name}"`]
}

const typescriptForm: Rule = sources =>
  sources
    .filter(isLib)
    .flatMap(({ path, text }) => [
      ...(/^export default\b/m.test(text) ? [`${path}: has a default export`] : []),
      ...(typescript.awaitsAtTopLevel(text) ? [`${path}: awaits at top level`] : []),
    ])

const sizes: Rule = sources =>
  sources.filter(isOurs).flatMap(source => {
    const lines = codeLines(source.text)
    return [
      ...(lines > FILE_LINES && !LONG_FILES.has(source.path) ? [`${source.path}: has ${lines} lines of code`] : []),
      ...functionsOf(source)
        .filter(each => each.lines > FUNCTION_LINES)
        .map(each => `${source.path}: ${each.name} has ${each.lines} lines`),
    ]
  })

function functionsOf(source: Source): cpp.Block[] {
  if (!isProgram(source)) return []
  if (/\.(ts|mjs)$/.test(source.path)) return typescript.functionsOf(source.text)
  return /\.(cc|h|c)$/.test(source.path) ? cpp.functionsOf(source.text) : []
}

/** Names that say nothing. */
const words: Rule = sources =>
  sources
    .filter(isOurs)
    .flatMap(({ path, text }) => [
      ...(/(^|[/_.-])(utils?|helpers?|common|misc)([/_.-]|$)/i.test(path) ? [`${path}: says nothing by its name`] : []),
      ...[...text.matchAll(/\bdo_[a-z]\w*(?=\()|\bnamespace (?:utils?|helpers?|common|misc)\b/g)].map(
        ([word]) => `${path}: ${word}`,
      ),
      ...[...text.matchAll(/\b(?:TO[D]O|FIX[M]E|XX[X])\b/g)].map(([word]) => `${path}: ${word}`),
    ])

/** Where this checkout lies is nobody's business. */
const machinePaths: Rule = sources =>
  sources.filter(({ text }) => text.includes(checkout)).map(({ path }) => `${path}: names ${checkout}`)

/** Both builds read one list; what is not in it is dead, what is in it must exist. */
const sourceLists: Rule = sources => {
  const text = sources.find(({ path }) => path === 'addon/sources.gypi')?.text ?? '{"variables":{}}'
  const listed = Object.values((JSON.parse(text) as { variables: Record<string, string[]> }).variables).flat()
  const present = sources.map(({ path }) => path).filter(path => /^addon\/.*\.(cc|S)$/.test(path))
  return [
    ...present.filter(path => !listed.includes(path)).map(path => `${path}: is not in addon/sources.gypi`),
    ...listed.filter(path => !present.includes(path)).map(path => `addon/sources.gypi: ${path} does not exist`),
  ]
}

export const rules = {
  cppArrows,
  kernelModules,
  typescriptArrows,
  typescriptForm,
  sizes,
  words,
  machinePaths,
  sourceLists,
} satisfies Record<string, Rule>
