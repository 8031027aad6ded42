/**
 * An unprivileged container that makes device nodes and mounts directories of the host: two things the kernel refuses it, granted
 * one by one by JavaScript outside. Run as root:
 *
 *   node --import=@tapjs/typescript/import examples/08-syscalls.ts
 *
 * `mknod` of a harmless device shows the host's own node at that path; `mount -t share NAME PATH` shows a directory that this program
 * shares under that name, read-only. Everything else is left to the kernel, which asks for the container's own rights.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Container, type SyscallHandler, type SyscallReply, type SyscallRequest } from '../lib/index.ts'

/** Only nodes of devices are asked about (mode & S_IFMT is S_IFCHR or S_IFBLK), so that FIFOs cost nothing. */
export const POLICY = `2
denylist
[all]
reject_force_umount
mknod notify [1,0x2000,SCMP_CMP_MASKED_EQ,0xf000]
mknod notify [1,0x6000,SCMP_CMP_MASKED_EQ,0xf000]
mknodat notify [2,0x2000,SCMP_CMP_MASKED_EQ,0xf000]
mknodat notify [2,0x6000,SCMP_CMP_MASKED_EQ,0xf000]
mount notify
`

const S_IFMT = 0xf000n
const S_IFCHR = 0x2000n
const HARMLESS: Readonly<Record<string, string>> = {
  '1:3': '/dev/null',
  '1:5': '/dev/zero',
  '1:7': '/dev/full',
  '1:8': '/dev/random',
  '1:9': '/dev/urandom',
}

/** A handler that grants those devices, and the shares by name. */
export function granting(shares: Readonly<Record<string, string>>): SyscallHandler {
  const handlers: Readonly<Record<string, (call: SyscallRequest) => SyscallReply>> = {
    mknod: call => makeNode(call, 0),
    mknodat: call => makeNode(call, 1),
    mount: call => mountShare(call, shares),
  }
  return call => handlers[call.syscall]?.(call) ?? { continue: true }
}

function makeNode(call: SyscallRequest, first: 0 | 1): SyscallReply {
  const [address = 0n, mode = 0n, device = 0n] = call.args.slice(first)
  // linux/kdev_t.h: twelve bits of major between two parts of minor.
  const major = (device >> 8n) & 0xfffn
  const minor = (device & 0xffn) | ((device >> 12n) & 0xfff00n)
  const node = (mode & S_IFMT) === S_IFCHR ? HARMLESS[`${major}:${minor}`] : undefined
  const target = call.readString(address)
  if (node === undefined || !target.startsWith('/')) return { errno: 'EPERM' }
  call.mount(node, target)
  return { return: 0 }
}

function mountShare(call: SyscallRequest, shares: Readonly<Record<string, string>>): SyscallReply {
  const [source = 0n, target = 0n, type = 0n] = call.args
  if (type === 0n || call.readString(type) !== 'share') return { continue: true }
  const name = call.readString(source)
  const directory = Object.hasOwn(shares, name) ? shares[name] : undefined
  if (directory === undefined) return { errno: 'ENODEV' }
  call.mount(directory, call.readString(target), { readonly: true })
  return { return: 0 }
}

async function main(): Promise<void> {
  const directory = mkdtempSync(path.join(tmpdir(), 'caisson-syscalls-'))
  chmodSync(directory, 0o755) // for the container's root, who is nobody here
  writeFileSync(path.join(directory, 'greeting'), 'hello from the host\n')
  const container = await Container.create('asking', { path: directory, seccomp: { policy: POLICY } })
  try {
    using _ = container.onSyscall(granting({ data: directory }))
    await container.start()
    const script = [
      'mknod /var/null c 1 3 && echo lost > /var/null && echo "a null device: $(wc -c < /var/null) bytes"',
      'mknod /var/disk b 8 0 || echo "a disk: refused"',
      'mkdir -p /var/data && mount -t share data /var/data && cat /var/data/greeting',
      'touch /var/data/x || echo "writing: refused"',
    ]
    const { stdout, stderr } = await container.attach(['/bin/sh', '-c', script.join('\n')], { reject: false })
    process.stdout.write(stdout)
    process.stderr.write(stderr)
  } finally {
    await container.destroy({ force: true })
    rmSync(directory, { recursive: true })
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
