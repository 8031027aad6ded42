/** What an OCI config says about running, as `lxc.*` lines: the mapping of LXC's own oci template. */

import { confine, WORK } from '../confine/confine.ts'
import { ContainerError } from '../errors.ts'
import { parseConfig } from './manifest.ts'
import type { ImageRecord } from './record.ts'
import type { ImageStore } from './store.ts'
import type { TemplateContext, TemplateResult } from './template.ts'
import { fileOf } from './trees.ts'

/** passwd(5) and group(5) of images are small. */
const ACCOUNTS_MAX = 1024 * 1024

export async function ociConfigOf(
  store: ImageStore,
  image: ImageRecord,
  context: TemplateContext,
): Promise<TemplateResult> {
  const file = await store.open(fileOf(image, 'config'), context.signal)
  let bytes: Buffer
  try {
    bytes = await file.readFile()
  } finally {
    await file.close()
  }
  const oci = parseConfig(bytes)
  const config: [string, string][] = [['lxc.arch', image.architecture]]
  const unsaid: string[] = []
  const command = [...oci.entrypoint, ...oci.command]
  const line = joinWords(command)
  if (line === undefined) unsaid.push('the command')
  else if (command.length > 0) config.push(['lxc.init.cmd', line], ['lxc.execute.cmd', line])
  for (const variable of oci.environment) {
    if (/^[^=\s][^=\n]*=[^\n]*$/.test(variable)) config.push(['lxc.environment', variable])
    else unsaid.push(`the variable "${variable.split('=')[0]}"`)
  }
  if (oci.directory.startsWith('/') && !oci.directory.includes('\n')) config.push(['lxc.init.cwd', oci.directory])
  const [uid, gid] = await resolveUser(oci.user, context)
  config.push(['lxc.init.uid', String(uid)], ['lxc.init.gid', String(gid)])
  // The program is no init: it is asked to end as its image says, and by SIGTERM when that says nothing (image-spec).
  config.push(['lxc.signal.halt', /^(SIG)?[A-Z0-9+-]+$/.test(oci.stopSignal) ? oci.stopSignal : 'SIGTERM'])
  config.push(['lxc.mount.auto', 'cgroup:mixed proc:mixed sys:mixed'])
  const message = `The image says ${unsaid.join(' and ')} in a way that config cannot: give it when starting.`
  return { config, ...(unsaid.length === 0 ? {} : { message }) }
}

/** Words as one config value; undefined when they cannot be: LXC's quotes know no escapes, and its lines no breaks. */
export function joinWords(words: readonly string[]): string | undefined {
  const quoted: string[] = []
  for (const word of words) {
    if (/[\n\0]/.test(word) || (word.includes('"') && word.includes("'"))) return undefined
    if (/^[^\s"'\\]+$/.test(word)) quoted.push(word)
    else quoted.push(word.includes('"') ? `'${word}'` : `"${word}"`)
  }
  return quoted.join(' ')
}

/** `user[:group]`, by number or by the accounts of the image. */
async function resolveUser(text: string, context: TemplateContext): Promise<readonly [uid: number, gid: number]> {
  const [user = '', group] = text.split(':')
  if (user === '') return [0, 0]
  const isNumeric = /^\d+$/.test(user) && (group === undefined || /^\d+$/.test(group))
  const passwd = isNumeric && group !== undefined ? [] : await readAccounts('passwd', context)
  const account = passwd.find(fields => fields[0] === user || (/^\d+$/.test(user) && fields[2] === user))
  const uid = /^\d+$/.test(user) ? Number(user) : Number(account?.[2])
  if (group === undefined) return sound(text, uid, Number(account?.[3] ?? 0))
  if (/^\d+$/.test(group)) return sound(text, uid, Number(group))
  const entry = (await readAccounts('group', context)).find(fields => fields[0] === group)
  return sound(text, uid, Number(entry?.[2]))
}

function sound(text: string, uid: number, gid: number): readonly [uid: number, gid: number] {
  if (Number.isInteger(uid) && Number.isInteger(gid)) return [uid, gid]
  throw new ContainerError('ERR_IMAGE', `Cannot use OCI image: its user "${text}" is not in its /etc/passwd`)
}

/** Read confined and only when it is a file: an image may have a FIFO or a device there. */
async function readAccounts(name: 'passwd' | 'group', context: TemplateContext): Promise<string[][]> {
  const path = `${WORK}/etc/${name}`
  const { rootfs: directory, shift, signal } = context
  const options = { directory, readonly: true, shift, signal, stdout: 'pipe' } as const
  const head = await confine(
    'sh',
    ['-c', '[ ! -f "$1" ] || head -c "$2" "$1"', 'sh', path, String(ACCOUNTS_MAX)],
    options,
  )
  const chunks: Buffer[] = []
  for await (const chunk of head.stdout ?? []) chunks.push(chunk as Buffer)
  await head.done
  return Buffer.concat(chunks)
    .toString('utf8')
    .split('\n')
    .map(line => line.split(':'))
}
