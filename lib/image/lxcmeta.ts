/**
 * What LXC's meta.tar says a container needs: config files by mode and level, files in which names are put in, patterns
 * that are not unpacked. The words and rules are those of lxc-download and lxc-local.
 */
import { existsSync } from 'node:fs'
import { confine, WORK } from '../confine/confine.ts'
import { ContainerError } from '../errors.ts'
import type { TemplateContext, TemplateResult } from './template.ts'

/** The newest level of config files we know; lxc-download's own. */
const LEVEL = 7
const TEMPLATE_CONFIG = '/usr/share/lxc/config'
const HOOKS = '/usr/share/lxc/hooks'

type Files = ReadonlyMap<string, Buffer>

/** The file of a name that fits best: for the mode, at the highest level that is not above ours. */
export function bestFile(files: Files, name: string, unprivileged: boolean): string | undefined {
  for (const stem of unprivileged ? [`${name}-user`, name] : [name]) {
    for (let level = LEVEL; level >= 0; level--) {
      const file = files.get(level === 0 ? stem : `${stem}.${level}`)
      if (file !== undefined) return file.toString('utf8')
    }
  }
  return undefined
}

/** Whether an entry of the root archive is to be left out, by the patterns of `excludes`. */
export function excluder(files: Files, unprivileged: boolean): (name: string) => boolean {
  const patterns = (bestFile(files, 'excludes', unprivileged) ?? '').split('\n').filter(Boolean)
  // tar's own patterns: `*` and `?` match a slash, too (tar(1), --exclude).
  const tests = patterns.map(pattern => {
    const plain = pattern
      .trim()
      .replace(/^\.\//, '')
      .replace(/[.+^${}()|\\]/g, '\\$&')
    return new RegExp(`^${plain.replaceAll('*', '.*').replaceAll('?', '.')}(/|$)`)
  })
  return name => tests.some(test => test.test(name))
}

/** Config, fstab and message of an image for one container, with its names put in. */
export function configOf(files: Files, context: TemplateContext): TemplateResult {
  const unprivileged = context.unprivileged ?? false
  const put = (text: string): string => substitute(text, context)
  const text = bestFile(files, 'config', unprivileged)
  if (text === undefined) throw new ContainerError('ERR_IMAGE', 'Cannot use image: it has no LXC config')
  const lines = put(text)
    .split('\n')
    .filter(line => /^\s*[^#\s]/.test(line))
    .map(parseLine)
  const fstab = bestFile(files, 'fstab', unprivileged)
  const message = files.get('create-message')?.toString('utf8').trim()
  return {
    // What common.conf of LXC sets is this library's default; where LXC is not installed there is nothing to include.
    config: lines.filter(
      ([key, value]) => key !== 'lxc.include' || !value.startsWith('/usr/share/lxc/') || existsSync(value),
    ),
    ...(fstab === undefined ? {} : { fstab: put(fstab) }),
    ...(message === undefined || message === '' ? {} : { message }),
  }
}

function parseLine(line: string): readonly [string, string] {
  const at = line.indexOf('=')
  const key = line.slice(0, at).trim()
  if (at > 0 && /^lxc\.[\w.-]+$/.test(key)) return [key, line.slice(at + 1).trim()]
  throw new ContainerError('ERR_IMAGE', `Cannot use image: its config says "${line.trim()}"`)
}

function words(context: TemplateContext): readonly (readonly [word: string, value: string])[] {
  return [
    ['LXC_TEMPLATE_CONFIG', TEMPLATE_CONFIG],
    ['LXC_HOOK_DIR', HOOKS],
    ['LXC_ROOTFS', context.rootfs],
    ['LXC_PATH', context.rootfs.replace(/\/[^/]+$/, '')],
    ['LXC_NAME', context.name],
  ]
}

function substitute(text: string, context: TemplateContext): string {
  return words(context).reduce((result, [word, value]) => result.replaceAll(word, value), text)
}

/** Puts the names into the files of the root file system that the image lists for it. */
export async function fillTemplates(files: Files, context: TemplateContext): Promise<void> {
  const paths = (bestFile(files, 'templates', context.unprivileged ?? false) ?? '')
    .split('\n')
    .map(line => line.trim().replace(/^\.?\/+/, ''))
    .filter(Boolean)
  if (paths.some(path => path.split('/').includes('..'))) {
    throw new ContainerError('ERR_IMAGE', 'Cannot use image: a template path leads upward')
  }
  if (paths.length === 0) return
  const script = words(context).map(([word, value]) => `s|${word}|${value.replace(/[\\&|\n]/g, '\\$&')}|g`)
  const args = script.flatMap(command => ['--expression', command])
  const sed = await confine('sed', ['--in-place', ...args, '--', ...paths.map(path => `${WORK}/${path}`)], {
    directory: context.rootfs,
    shift: context.shift,
    signal: context.signal,
  })
  await sed.done
}
