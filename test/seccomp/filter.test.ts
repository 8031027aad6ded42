// Compiled filters against a plain reading of their policies: random ones, both default profiles, and the cases with a number in
// docs/security.md (E2, J1 … J9).
import fc from 'fast-check'
import t from 'tap'
import { ADMINISTRATION, FORBIDDEN, MOUNT_API } from '../../lib/seccomp/calls.ts'
import { SYSCALL_NAMES } from '../../lib/seccomp/names.ts'
import { parsePolicy } from '../../lib/seccomp/policy.ts'
import { defaultProfile, type ProfileOptions } from '../../lib/seccomp/profiles.ts'
import type { SeccompPolicy, SeccompVerdict } from '../../lib/seccomp/statements.ts'
import { compile } from './compiler.ts'
import { type Call, disassemble, evaluate } from './evaluator.ts'
import { ARCH, NUMBERS, nameOf, read, value, X32_BIT } from './reading.ts'

const MAX_INSTRUCTIONS = 4096
const EPERM = value({ kind: 'errno', number: 1 })
const ENOSYS = value({ kind: 'errno', number: 38 })
const EAFNOSUPPORT = value({ kind: 'errno', number: 97 })
const ALLOW = value({ kind: 'allow', number: 0 })
const KILL_PROCESS = value({ kind: 'kill-process', number: 0 })
const NO_ARGS = [0n, 0n, 0n, 0n, 0n, 0n]

/** A compiled policy, asked by architecture, name or number, and first arguments. */
function ask(policy: SeccompPolicy) {
  const code = disassemble(compile(policy).program)
  const answer = (call: Call) => evaluate(code, call).value
  const named = (name: string, ...args: (number | bigint)[]) => {
    const nr = NUMBERS.x86_64.get(name)
    if (nr === undefined) throw new Error(name)
    return answer({ arch: ARCH.x86_64, nr, args: padded(args) })
  }
  const named32 = (name: string, ...args: (number | bigint)[]) => {
    const nr = NUMBERS.x86.get(name)
    if (nr === undefined) throw new Error(name)
    return answer({ arch: ARCH.x86, nr, args: padded(args) })
  }
  return { code, answer, named, named32 }
}

function padded(args: readonly (number | bigint)[]): bigint[] {
  return [...args.map(BigInt), ...NO_ARGS].slice(0, 6)
}

/** For controls: everything is let through. */
const without = ask(parsePolicy('2\ndenylist\n', { host: 'x86_64' }).policy)

const profiles: [name: string, policy: SeccompPolicy][] = []
for (const name of ['system', 'app'] as const) {
  const variants: ProfileOptions[] = [{}, { nesting: true }, { compat32Sockets: false }, { systemVIpc: false }]
  for (const options of variants) {
    profiles.push([`${name} ${JSON.stringify(options)}`, defaultProfile(name, { ...options, host: 'x86_64' })])
  }
}

t.test('every call of the table is decided once', async t => {
  const lists = await import('../../lib/seccomp/calls.ts')
  const decided = Object.values(lists).flat()
  t.strictSame([...decided].sort(), [...SYSCALL_NAMES].sort())
})

t.test('the compiler knows every name of the table on some architecture', async t => {
  const architectures = ['x86_64', 'x86', 'x32', 'arm', 'aarch64', 'mipsel', 'mipsel64', 'ppc64le', 'riscv64']
  const rules = [
    { syscalls: [...SYSCALL_NAMES], action: { kind: 'log', number: 0 } as const, conditions: [], architectures: [] },
  ]
  let unknown = [...SYSCALL_NAMES]
  for (const architecture of architectures) {
    const policy = { ...defaultProfile('app'), architectures: [architecture], rules }
    const missing = new Set(compile(policy).unknown)
    unknown = unknown.filter(name => missing.has(name))
  }
  const elsewhere = unknown.filter(
    name => !/^(s390_|pciconfig_|usr|sys_debug|spu_|rtas|subpage|switch|multiplexer|swapcontext)/.test(name),
  )
  t.strictSame(elsewhere, [])
})

t.test('headers and compiler agree on numbers', async t => {
  const policy = (name: string): SeccompPolicy => ({
    ...parsePolicy('2\ndenylist\n', { host: 'x86_64' }).policy,
    rules: [{ syscalls: [name], action: { kind: 'errno', number: 99 }, conditions: [], architectures: [] }],
  })
  const wrong: string[] = []
  for (const name of SYSCALL_NAMES) {
    const { answer } = ask(policy(name))
    for (const architecture of ['x86_64', 'x86'] as const) {
      const nr = NUMBERS[architecture].get(name)
      if (nr === undefined) continue
      const args = NO_ARGS
      if (answer({ arch: ARCH[architecture], nr, args }) !== value({ kind: 'errno', number: 99 }))
        wrong.push(`${architecture} ${name}`)
      if (answer({ arch: ARCH[architecture], nr: nr + 1000, args }) !== ALLOW)
        wrong.push(`${architecture} ${name} + 1000`)
    }
  }
  t.strictSame(wrong, [])
})

// ── random policies ───────────────────────────────────────────────────────────────────────────────────────────────────

const POOL =
  'read write ioctl socket socketpair bind accept send socketcall ipc shmget semop semtimedop mmap2 getpid stat64'
    .concat(' mseal cachestat setxattrat uretprobe clone vm86 futex_waitv umount io_uring_setup no_such_call')
    .split(' ')
const WORDS = [
  0n,
  1n,
  2n,
  23n,
  0x5412n,
  0xffffn,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x1_0000_5412n,
  1n << 63n,
  (1n << 64n) - 1n,
]

const verdict: fc.Arbitrary<SeccompVerdict> = fc.oneof(
  fc.constantFrom('allow', 'log', 'notify', 'trap', 'kill', 'kill-process').map(kind => ({ kind, number: 0 }) as const),
  fc.integer({ min: 1, max: 4095 }).map(number => ({ kind: 'errno', number }) as const),
)
const word = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...WORDS) },
  { weight: 1, arbitrary: fc.bigInt(0n, (1n << 64n) - 1n) },
)
const condition = fc.record({
  index: fc.integer({ min: 0, max: 5 }),
  comparison: fc.constantFrom('==', '!=', '<', '<=', '>', '>='),
  value: word,
  mask: fc.oneof(fc.constant((1n << 64n) - 1n), word),
})
const architecture = fc.constantFrom('x86_64', 'x86')
const statement = fc.record({
  syscalls: fc.uniqueArray(fc.constantFrom(...POOL), { minLength: 1, maxLength: 4 }),
  action: verdict,
  conditions: fc.array(condition, { maxLength: 3 }),
  architectures: fc.oneof(
    { weight: 3, arbitrary: fc.constant<string[]>([]) },
    { weight: 1, arbitrary: fc.array(architecture, { maxLength: 1 }) },
  ),
})
const policy: fc.Arbitrary<SeccompPolicy> = fc.record({
  defaultAction: verdict,
  badArchitectureAction: verdict,
  architectures: fc.uniqueArray(architecture, { minLength: 1, maxLength: 2 }),
  rules: fc.array(statement, { maxLength: 12 }),
}) as fc.Arbitrary<SeccompPolicy>

/** Calls that a policy may treat apart: its names on both tables and beside them, with arguments near its conditions' values. */
function callsOf(policy: SeccompPolicy, seed: number): Call[] {
  const values = [
    ...WORDS,
    ...policy.rules.flatMap(rule =>
      rule.conditions.flatMap(one => [BigInt(one.value), BigInt(one.value) ^ 1n, BigInt(one.value) & BigInt(one.mask)]),
    ),
  ]
  const numbers = POOL.flatMap(name => [NUMBERS.x86_64.get(name), NUMBERS.x86.get(name)]).filter(nr => nr !== undefined)
  let state = seed
  const pick = <T>(from: readonly T[]): T => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return from[(state >>> 8) % from.length] as T
  }
  return Array.from({ length: 1000 }, () => ({
    arch: pick([ARCH.x86_64, ARCH.x86_64, ARCH.x86, ARCH.x86, ARCH.aarch64, 0]),
    nr: pick([...numbers, 470, 600, X32_BIT, X32_BIT + 16, 0x7fff_ffff, 0xffff_fffe]),
    args: Array.from({ length: 6 }, () => pick(values)),
  }))
}

t.test('J7: random policies answer every call as they read', async t => {
  fc.assert(
    fc.property(policy, fc.integer(), (policy, seed) => {
      const { answer, code } = ask(policy)
      if (code.length > MAX_INSTRUCTIONS) throw new Error(`${code.length} instructions`)
      for (const call of callsOf(policy, seed)) {
        const expected = read(policy, call)
        const found = answer(call)
        if (found !== expected) {
          const shown = JSON.stringify({ ...call, name: nameOf('x86', call.nr) }, (_, v) =>
            typeof v === 'bigint' ? `0x${v.toString(16)}` : v,
          )
          throw new Error(`${shown}: ${found.toString(16)}, and not ${expected.toString(16)}`)
        }
      }
    }),
    { numRuns: 300 },
  )
  t.pass('300,000 calls')
})

// ── the default profiles ──────────────────────────────────────────────────────────────────────────────────────────────

t.test('both profiles answer every number as they read', async t => {
  for (const [name, policy] of profiles) {
    const { answer, code } = ask(policy)
    t.ok(code.length <= MAX_INSTRUCTIONS, `${name}: ${code.length} instructions`)
    const wrong: Call[] = []
    for (const arch of [ARCH.x86_64, ARCH.x86, ARCH.aarch64]) {
      for (let nr = 0; nr < 700; nr++) {
        for (const first of [0n, 1n, 8n, 16n, 38n, 0x2000_0000n, 0x1_0000_0001n]) {
          for (const second of [0n, 1n, 0x80n, 0x5412n]) {
            const call = { arch, nr, args: padded([first, second, 9n]) }
            if (answer(call) !== read(policy, call)) wrong.push(call)
          }
        }
      }
    }
    t.strictSame(wrong, [], name)
  }
})

t.test('J1: x32 and foreign architectures are killed', async t => {
  for (const [name, policy] of profiles) {
    const { answer } = ask(policy)
    const alive: number[] = []
    for (let nr = 0; nr < 700; nr++) {
      if (answer({ arch: ARCH.x86_64, nr: nr | X32_BIT, args: NO_ARGS }) !== KILL_PROCESS) alive.push(nr | X32_BIT)
      if (answer({ arch: ARCH.aarch64, nr, args: NO_ARGS }) !== KILL_PROCESS) alive.push(nr)
    }
    t.strictSame(alive, [], name)
    const native = NUMBERS.x86_64.get('read') as number
    t.equal(answer({ arch: ARCH.x86_64, nr: native, args: NO_ARGS }), ALLOW, 'control: by its own number a call lives')
  }
})

t.test('J5: numbers that nobody listed do not exist', async t => {
  for (const [name, policy] of profiles) {
    const { answer } = ask(policy)
    for (const arch of [ARCH.x86_64, ARCH.x86]) {
      const other = Array.from({ length: 131 }, (_, i) => 470 + i).filter(
        nr => answer({ arch, nr, args: NO_ARGS }) !== ENOSYS,
      )
      t.strictSame(other, [], name)
      t.equal(without.answer({ arch, nr: 600, args: NO_ARGS }), ALLOW, 'control: without the profile there is one')
    }
  }
})

t.test('J4: the mount API is absent, and there for nesting', async t => {
  const system = ask(defaultProfile('system', { host: 'x64' }))
  const nesting = ask(defaultProfile('system', { host: 'x64', nesting: true }))
  const app = ask(defaultProfile('app', { host: 'x64', nesting: true }))
  for (const name of MOUNT_API) {
    t.equal(system.named(name), ENOSYS, name)
    t.equal(system.named32(name), ENOSYS, `${name} on i386`)
    t.equal(nesting.named(name), ALLOW, `control: ${name} for nesting`)
    t.equal(nesting.named32(name), ALLOW, `${name} for nesting on i386`)
    t.equal(app.named(name), ENOSYS, `${name} in the app profile`)
  }
  t.equal(app.named('clone3'), ENOSYS, 'clone3 is absent in the app profile')
  t.equal(system.named('clone3'), ALLOW)
})

t.test('E2: no high bit hides TIOCSTI or TIOCLINUX, and no other request is touched', async t => {
  for (const [name, policy] of profiles) {
    const { answer } = ask(policy)
    const wrong: string[] = []
    for (const [arch, nr, highs] of [
      [ARCH.x86_64, 16, [0n, 1n, 0x8000_0000n, 0xffff_ffffn]],
      [ARCH.x86, 54, [0n]],
    ] as const) {
      for (const high of highs) {
        for (let low = 0; low < 0x1_0000; low++) {
          const request = (high << 32n) | BigInt(low)
          const expected = low === 0x5412 || low === 0x541c ? EPERM : ALLOW
          if (answer({ arch, nr, args: [1n, request, 0n, 0n, 0n, 0n] }) !== expected) wrong.push(request.toString(16))
        }
      }
    }
    t.strictSame(wrong, [], name)
  }
  t.equal(without.named('ioctl', 1, 0x5412), ALLOW, 'control: without the profile it goes')
})

t.test('J6: an app makes no namespace', async t => {
  const app = ask(defaultProfile('app', { host: 'x64' }))
  const system = ask(defaultProfile('system', { host: 'x64' }))
  const CLONE_PARENT = 0x8000n
  const SIGCHLD = 17n
  for (const bit of [0x2_0000n, 0x200_0000n, 0x400_0000n, 0x800_0000n, 0x1000_0000n, 0x2000_0000n, 0x4000_0000n]) {
    for (const more of [0n, CLONE_PARENT, SIGCHLD, 0x7fn << 32n]) {
      t.equal(app.named('clone', bit | more), EPERM, `clone ${bit | more}`)
      t.equal(app.named32('clone', (bit | more) & 0xffff_ffffn), EPERM, `i386 clone ${bit | more}`)
      t.equal(app.named('unshare', bit | more), EPERM, `unshare ${bit | more}`)
    }
    t.equal(system.named('clone', bit), ALLOW, 'control: what is no app may')
    t.equal(system.named('unshare', bit), ALLOW)
  }
  t.equal(app.named('unshare', 0x80), EPERM, 'CLONE_NEWTIME')
  t.equal(app.named('clone', 0x3d_0f00), ALLOW, 'a thread')
  t.equal(app.named('clone', SIGCHLD | 0x80n), ALLOW, "clone's low byte is a signal")
  t.equal(app.named('unshare', 0x600), ALLOW, 'CLONE_FS | CLONE_FILES')
})

t.test('J8: io_uring fails, and kills nobody', async t => {
  for (const [name, policy] of profiles) {
    const { named, named32 } = ask(policy)
    for (const call of ['io_uring_setup', 'io_uring_enter', 'io_uring_register']) {
      t.equal(named(call), EPERM, `${name}: ${call}`)
      t.equal(named32(call), EPERM, `${name}: ${call} on i386`)
      t.equal(without.named(call), ALLOW, 'control: without the profile it goes')
    }
  }
})

t.test('J9, H6: socket families', async t => {
  const expected = {
    system: { families: [1, 2, 10, 17], protocols: [0, 4, 12, 15, 16] },
    app: { families: [1, 2, 10], protocols: [0] },
  }
  const AF_NETLINK = 16
  for (const name of ['system', 'app'] as const) {
    const { named, named32 } = ask(defaultProfile(name, { host: 'x64' }))
    const strict = ask(defaultProfile(name, { host: 'x64', compat32Sockets: false }))
    for (let family = 0; family < 64; family++) {
      const protocols = family === AF_NETLINK ? Array.from({ length: 32 }, (_, i) => i) : [0, 3]
      for (const protocol of protocols) {
        const open =
          family === AF_NETLINK ? expected[name].protocols.includes(protocol) : expected[name].families.includes(family)
        const answer = open ? ALLOW : EAFNOSUPPORT
        t.equal(named('socket', family, 3, protocol), answer, `${name}: socket(${family}, 3, ${protocol})`)
        t.equal(named('socket', BigInt(family) | (1n << 32n), 3, protocol), answer, `with a high bit`)
        t.equal(named32('socket', family, 3, protocol), answer, `on i386`)
      }
      t.equal(named('socketpair', family, 1, 0), family === 1 ? ALLOW : EAFNOSUPPORT, `${name}: socketpair(${family})`)
    }
    t.equal(without.named('socket', 38, 5, 0), ALLOW, 'control: without the profile there is AF_ALG')
    t.equal(named32('socketcall', 1), ALLOW, 'i386 socketcall is left to an LSM')
    t.equal(strict.named32('socketcall', 1), EAFNOSUPPORT, 'unless told otherwise')
    t.equal(strict.named32('socketcall', 3), ALLOW, 'i386 connect by socketcall')
  }
})

t.test('I9, I10: what is forbidden', async t => {
  const system = ask(defaultProfile('system', { host: 'x64' }))
  const app = ask(defaultProfile('app', { host: 'x64' }))
  for (const name of FORBIDDEN.filter(name => NUMBERS.x86_64.has(name))) {
    t.equal(system.named(name), EPERM, name)
    t.equal(app.named(name), EPERM, name)
    t.equal(without.named(name), ALLOW, `control: ${name} without the profile`)
  }
  for (const name of FORBIDDEN.filter(name => NUMBERS.x86.has(name)))
    t.equal(system.named32(name), EPERM, `i386 ${name}`)
  for (const name of ADMINISTRATION.filter(name => NUMBERS.x86_64.has(name))) {
    t.equal(system.named(name), ALLOW, name)
    if (!['unshare', 'clone3'].includes(name)) t.equal(app.named(name), EPERM, name)
  }
  t.equal(system.named('umount2', 0, 1), EPERM, 'MNT_FORCE')
  t.equal(system.named('umount2', 0, 3), EPERM, 'MNT_FORCE | MNT_DETACH')
  t.equal(system.named('umount2', 0, 2), ALLOW, 'MNT_DETACH')
  t.equal(system.named('userfaultfd', 1), ALLOW, 'UFFD_USER_MODE_ONLY')
  t.equal(system.named('userfaultfd', 0), EPERM)
  t.equal(app.named('userfaultfd', 1), EPERM)
  t.equal(system.named('personality', 8), ALLOW, 'PER_LINUX32')
  t.equal(system.named('personality', 0x40_0000), EPERM, 'READ_IMPLIES_EXEC')
  t.equal(app.named('personality', 8), EPERM)
  t.equal(app.named('personality', 0xffff_ffff), ALLOW, 'asking')
})

t.test('fewer entry points than LXC leaves, and an app has fewer than a container runtime', async t => {
  const common =
    'reject_force_umount\nkexec_load errno 1\nopen_by_handle_at errno 1\ninit_module errno 1\nfinit_module errno 1\ndelete_module errno 1'
  const reachable = (policy: SeccompPolicy) => {
    const { answer } = ask(policy)
    const open = (architecture: 'x86_64' | 'x86') =>
      [...NUMBERS[architecture].values()].filter(
        nr => answer({ arch: ARCH[architecture], nr, args: padded([1, 2]) }) === ALLOW,
      )
    return open('x86_64').length + open('x86').length
  }
  const lxc = reachable(parsePolicy(`2\ndenylist\n[all]\n${common}\n`, { host: 'x64' }).policy)
  const system = reachable(defaultProfile('system', { host: 'x64' }))
  const app = reachable(defaultProfile('app', { host: 'x64' }))
  t.ok(system <= lxc - 60, `system ${system}, LXC ${lxc}`)
  t.ok(app < system - 50, `app ${app}`)
})
