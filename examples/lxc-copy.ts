#!/usr/bin/env node
/** lxc-copy(1) */
import { randomBytes } from 'node:crypto'
import type { CloneOptions } from '../lib/clone.ts'
import type { Container } from '../lib/container.ts'
import { BACKEND_NAMES } from '../lib/storage/backends.ts'
import type { BackendName } from '../lib/storage/storage.ts'
import { addMounts, readMounts } from '../lib/tools/copied_mounts.ts'
import { UsageError, type Values } from '../lib/tools/options.ts'
import { readSize } from '../lib/tools/text.ts'
import { type Call, defineTool, main } from '../lib/tools/tool.ts'

const OPTIONS = {
  newname: { short: 'N', value: 'NAME', help: 'the name of the copy' },
  newpath: { short: 'p', value: 'PATH', help: 'the lxcpath of the copy' },
  rename: { short: 'R', help: 'give the container that name instead of copying it' },
  snapshot: { short: 's', help: 'share what does not change, where the storage can' },
  allowrunning: {
    short: 'a',
    help: 'accepted; a running container is refused all the same, as its files are in motion',
  },
  foreground: { short: 'F', help: 'with --ephemeral: stay, on its console' },
  daemon: { short: 'd', help: 'with --ephemeral: run it in the background (default)' },
  ephemeral: { short: 'e', help: 'start the copy; it is destroyed when it stops' },
  mount: {
    short: 'm',
    value: 'bind|overlay=SOURCE[:TARGET[:ro]]',
    multiple: true,
    help: 'with --ephemeral: show this directory of the host, too; overlay keeps changes in the copy; several may be given, with commas',
  },
  backingstorage: {
    short: 'B',
    value: 'STORAGE',
    words: BACKEND_NAMES,
    help: 'other storage than that of the container',
  },
  tmpfs: { short: 't', help: 'with --ephemeral: what it changes is kept in memory' },
  fssize: {
    short: 'L',
    value: 'SIZE',
    help: 'the most that the copy may hold, where the storage can limit it: 10G, 512M …',
  },
  keepdata: { short: 'D', help: 'with --ephemeral: the copy is not destroyed when it stops' },
  keepname: { short: 'K', help: 'keep its host name' },
  keepmac: { short: 'M', help: 'keep its hardware addresses' },
} as const

export const tool = defineTool({
  name: 'lxc-copy',
  summary: 'Copies or renames a container, or runs a copy that is gone afterwards.',
  synopsis: '[-- HOOK-OPTIONS…]',
  words: 'any',
  options: OPTIONS,
  details: `A copy that --ephemeral starts is called NAME_ and six characters unless --newname names it. HOOK-OPTIONS are arguments
of the programs of lxc.hook.clone.`,
  examples: [
    ['lxc-copy web -N web2', 'a copy'],
    ['lxc-copy web -N web2 -s', 'one that shares what does not change'],
    ['lxc-copy web -N site -R', 'another name'],
    ['lxc-copy web -e -m bind=/srv/data:/data:ro', 'runs a copy that sees /srv/data and is gone when it stops'],
  ],
  async run(call) {
    const { options, name, open } = call
    const container = await open()
    refuseWithout(options)
    if (options.rename) {
      if (options.newpath !== undefined)
        throw new UsageError('--rename stays in its lxcpath: it goes not with --newpath')
      await container.rename(demandName(options.newname))
      return 0
    }
    const mounts = readMounts(options.mount ?? [])
    const copied = options.newname ?? (options.ephemeral ? `${name}_${randomBytes(3).toString('hex')}` : undefined)
    const copy = await container.clone(demandName(copied), readClone(call))
    if (!options.ephemeral) return 0
    return runCopy(call, copy, () => addMounts(copy, mounts))
  },
})

function readClone({ options, words }: Call<typeof OPTIONS>): CloneOptions {
  const { ephemeral = false, keepdata = false } = options
  return {
    snapshot: options.snapshot ?? (ephemeral && keepdata),
    ephemeral: ephemeral && !keepdata,
    keepName: options.keepname ?? false,
    keepMac: options.keepmac ?? false,
    hookArguments: words,
    ...(options.tmpfs ? { tmpfs: true } : {}),
    ...(options.fssize === undefined ? {} : { size: readSize(options.fssize, 'fssize') }),
    ...(options.newpath === undefined ? {} : { path: options.newpath }),
    ...(options.backingstorage === undefined ? {} : { backend: options.backingstorage as BackendName }),
  }
}

/** What means something only for a copy that is started. */
function refuseWithout(options: Values<typeof OPTIONS>): void {
  for (const option of ['mount', 'tmpfs', 'keepdata', 'foreground'] as const)
    if (options[option] !== undefined && !options.ephemeral) throw new UsageError(`--${option} needs --ephemeral`)
  if (options.tmpfs && options.keepdata) throw new UsageError('--tmpfs keeps nothing: it goes not with --keepdata')
}

function demandName(name: string | undefined): string {
  if (name === undefined) throw new UsageError('missing option --newname')
  return name
}

async function runCopy({ options, say, name }: Call<typeof OPTIONS>, copy: Container, prepare: () => Promise<void>) {
  try {
    await prepare()
    await copy.start({ foreground: options.foreground ?? false })
  } catch (error) {
    await copy.destroy()
    throw error
  }
  say(`Created ${copy.name} as clone of ${name}`)
  if (!options.foreground) return 0
  const { stay } = await import('../lib/tools/foreground.ts')
  return stay(copy)
}

main(import.meta, tool)
