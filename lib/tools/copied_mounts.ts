/** The mounts of `lxc-copy --mount`: directories of the host that an ephemeral copy sees. */
import { chmod, chown, mkdir } from 'node:fs/promises'
import path from 'node:path'
import { give } from '../confine/ownership.ts'
import type { Container } from '../container.ts'
import { shiftId } from '../host/shift.ts'
import { UsageError } from './options.ts'

interface CopiedMount {
  readonly kind: 'bind' | 'overlay'
  readonly source: string
  readonly target: string
  readonly mode: string
}

/** `bind=/srv:/mnt:ro,overlay=/usr/share`. Throws UsageError. */
export function readMounts(texts: readonly string[]): CopiedMount[] {
  return texts
    .flatMap(text => text.split(/,(?=(?:bind|overlay|overlayfs|aufs)=)/))
    .map(text => {
      const [, kind, source, target = source, mode = 'rw'] =
        /^(bind|overlay|overlayfs)=([^:]+)(?::([^:]+))?(?::(ro|rw))?$/.exec(text) ?? []
      if (source === undefined || target === undefined || !source.startsWith('/') || /\s/.test(source + target))
        throw new UsageError(`--mount takes bind=/SOURCE:/TARGET:ro or overlay=/SOURCE:/TARGET, not ${text}`)
      return { kind: kind === 'bind' ? 'bind' : 'overlay', source, target: target.replace(/^\/+/, ''), mode }
    })
}

/** Writes them into the config of a copy that has not been started; changes of an overlay are kept beside its config. */
export async function addMounts(copy: Container, mounts: readonly CopiedMount[]): Promise<void> {
  if (mounts.length === 0) return
  const { config } = copy
  for (const [at, { kind, source, target, mode }] of mounts.entries()) {
    const entry =
      kind === 'bind'
        ? `${source} ${target} none bind,${mode},create=dir`
        : `overlay ${target} overlay ${await makeLayer(copy, source, at)},create=dir`
    config.append(`lxc.mount.entry = ${entry} 0 0\n`)
  }
  await config.save()
}

/** The directories of an overlay, which the container's root mounts: it has to own them and to get there, and nobody else has. */
async function makeLayer(copy: Container, lower: string, number: number): Promise<string> {
  const idmap = copy.config.value('lxc.idmap')
  const own = path.join(copy.path, copy.name)
  const [upper, work] = ['upper', 'work'].map(name => path.join(own, `overlay${number}`, name)) as [string, string]
  for (const directory of [path.dirname(upper), upper, work]) {
    await mkdir(directory, { mode: 0o755 })
    await give(directory, idmap, 'top')
  }
  if (idmap.length === 0) return `lowerdir=${lower},upperdir=${upper},workdir=${work}`
  if (process.geteuid?.() === 0) {
    await chown(own, 0, shiftId(idmap, 'gid', 0))
    await chmod(own, 0o710)
  }
  // Without rights over the host an overlay keeps its notes in attributes of users.
  return `lowerdir=${lower},upperdir=${upper},workdir=${work},userxattr`
}
