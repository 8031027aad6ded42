/**
 * The template `host`: the host's own programs, read-only, under a root of the container's own. It is for programs, not for
 * init systems, and takes no space. Nothing of the host is bound writable (CVE-2013-6441).
 */
import { access, lchown, lstat, mkdir, readlink, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { throwIfAborted } from '../abort.ts'
import { shiftId } from '../host/shift.ts'
import type { Template, TemplateContext, TemplateResult } from './template.ts'

/** Programs and libraries: a link on hosts with a merged /usr, else bound. */
const PROGRAMS = ['usr', 'bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32', 'opt']
/** Of /etc only what programs need to run and what says nothing about the host's users. */
const ETC = [
  'alternatives',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'ssl',
  'ca-certificates',
  'mime.types',
  'protocols',
  'services',
  'os-release',
]
const OWN = ['etc', 'dev', 'proc', 'sys', 'run', 'tmp', 'var', 'var/tmp', 'home', 'root', 'mnt']
const FILES: Readonly<Record<string, string>> = {
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n',
  'etc/group': 'root:x:0:\nnogroup:x:65534:\n',
  'etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
  'etc/resolv.conf': '',
}

export const host: Template = {
  name: 'host',
  options: [],
  async create(context: TemplateContext): Promise<TemplateResult> {
    const mounts: string[] = []
    context.onProgress?.({ phase: 'files', done: 0 })
    throwIfAborted(context.signal, `create "${context.name}"`)
    for (const name of OWN) await makeDirectory(context, name)
    for (const name of PROGRAMS) {
      const target = await readlink(`/${name}`).catch(() => undefined)
      if (target !== undefined) await symlink(target, join(context.rootfs, name))
      else if (await exists(`/${name}`)) {
        await makeDirectory(context, name)
        mounts.push(`/${name} ${name} none rbind,ro,nosuid,nodev 0 0`)
      }
    }
    for (const name of ETC) {
      const source = `/etc/${name}`
      if (!(await exists(source))) continue
      const kind = (await lstat(source)).isDirectory() ? 'dir' : 'file'
      mounts.push(`${source} etc/${name} none bind,ro,nosuid,nodev,create=${kind} 0 0`)
    }
    for (const [name, text] of Object.entries(FILES)) await makeFile(context, name, text)
    await makeFile(context, 'etc/hosts', `127.0.0.1 localhost ${context.name}\n::1 localhost ${context.name}\n`)
    await makeFile(context, 'etc/hostname', `${context.name}\n`)
    return { config: mounts.map(entry => ['lxc.mount.entry', entry] as const) }
  },
}

async function makeDirectory(context: TemplateContext, name: string): Promise<void> {
  await mkdir(join(context.rootfs, name), { mode: /tmp$/.test(name) ? 0o1777 : 0o755 })
  await own(context, name)
}

async function makeFile(context: TemplateContext, name: string, text: string): Promise<void> {
  await writeFile(join(context.rootfs, name), text, { flag: 'wx', mode: 0o644 })
  await own(context, name)
}

async function own(context: TemplateContext, name: string): Promise<void> {
  if (process.geteuid?.() !== 0) return
  const { shift, rootfs } = context
  await lchown(join(rootfs, name), shiftId(shift, 'uid', 0), shiftId(shift, 'gid', 0))
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
