// LXC's policy grammar and the typed rules: what they mean, and what is refused with which words.
import fc from 'fast-check'
import t from 'tap'
import { ContainerError } from '../../lib/errors.ts'
import { parsePolicy } from '../../lib/seccomp/policy.ts'
import { resolveRules, type SeccompRules } from '../../lib/seccomp/rules.ts'
import { MASK_64 } from '../../lib/seccomp/statements.ts'

const KILL = { kind: 'kill', number: 0 }
const ALLOW = { kind: 'allow', number: 0 }
const NOTIFY = { kind: 'notify', number: 0 }
const errno = (number: number) => ({ kind: 'errno', number })

const parse = (text: string, host = 'x64') => parsePolicy(text, { host, file: 'web.seccomp' })

t.test('the denylist that LXC ships', async t => {
  const { policy, warnings } = parse(
    '2\ndenylist\nreject_force_umount  # comment this to allow umount -f;  not recommended\n[all]\nkexec_load errno 1\n' +
      'open_by_handle_at errno 1\ninit_module errno 1\nfinit_module errno 1\ndelete_module errno 1\n',
  )
  t.strictSame(warnings, [])
  t.strictSame(policy.defaultAction, ALLOW)
  t.strictSame(policy.badArchitectureAction, { kind: 'kill-process', number: 0 })
  t.strictSame(policy.architectures, ['x86_64', 'x86'])
  t.strictSame(policy.rules[0], {
    syscalls: ['umount2'],
    action: errno(13),
    conditions: [{ index: 1, comparison: '==', value: 1n, mask: 1n }],
    architectures: [],
  })
  t.strictSame(
    policy.rules.slice(1).map(rule => [rule.syscalls, rule.action]),
    ['kexec_load', 'open_by_handle_at', 'init_module', 'finit_module', 'delete_module'].map(name => [[name], errno(1)]),
  )
})

t.test('styles and their default actions', async t => {
  const both = (text: string) => {
    const { policy } = parse(`2\n${text}\nread\n`)
    return [policy.defaultAction, policy.rules[0]?.action]
  }
  t.strictSame(both('allowlist'), [KILL, ALLOW])
  t.strictSame(both('whitelist'), [KILL, ALLOW])
  t.strictSame(both('denylist'), [ALLOW, KILL])
  t.strictSame(both('blacklist'), [ALLOW, KILL])
  t.strictSame(both('allowlist errno 38'), [errno(38), ALLOW])
  t.strictSame(both('denylist notify'), [NOTIFY, KILL])
  t.strictSame(both('allowlist trap # remark'), [{ kind: 'trap', number: 0 }, ALLOW])
})

t.test('an intercepting policy, as LXD writes it', async t => {
  const { policy } = parse(
    '2\ndenylist\n[all]\nmknod notify [1,8192,SCMP_CMP_MASKED_EQ,61440]\nmknodat notify [2,0x6000,&=,0170000]\n' +
      'setxattr notify [3,1,SCMP_CMP_EQ]\nmount notify [3,0,SCMP_CMP_MASKED_EQ,18446744070422410016]\n' +
      'seccomp errno 22 [1,8,SCMP_CMP_MASKED_EQ,8] [0,1,==]\nread [0,-1,!=]\n',
  )
  t.strictSame(
    policy.rules.map(rule => rule.conditions),
    [
      [{ index: 1, comparison: '==', value: 0x2000n, mask: 0xf000n }],
      [{ index: 2, comparison: '==', value: 0x6000n, mask: 0xf000n }],
      [{ index: 3, comparison: '==', value: 1n, mask: MASK_64 }],
      [{ index: 3, comparison: '==', value: 0n, mask: 18446744070422410016n }],
      [
        { index: 1, comparison: '==', value: 8n, mask: 8n },
        { index: 0, comparison: '==', value: 1n, mask: MASK_64 },
      ],
      [{ index: 0, comparison: '!=', value: MASK_64, mask: MASK_64 }],
    ],
  )
  t.strictSame(policy.rules.at(-1)?.action, KILL, 'the style names the action of a rule without one')
})

t.test('sections hold for their own architecture', async t => {
  const text =
    '2\ndenylist\nread\n[x86]\nwrite\n[X86_64]\nopen\n[x32]\nclose\n[arm64]\nstat\n[riscv64]\nfstat\n[all]\nlseek\n'
  const { policy } = parse(text)
  t.strictSame(
    policy.rules.map(rule => [rule.syscalls[0], rule.architectures]),
    [
      ['read', []],
      ['write', ['x86']],
      ['open', ['x86_64']],
      ['close', ['x32']],
      ['lseek', []],
    ],
  )
  t.strictSame(policy.architectures, ['x86_64', 'x86', 'x32'], 'x32 only where the policy names it')
  const arm = parse(text, 'arm64').policy
  t.strictSame(arm.architectures, ['aarch64', 'arm'])
  t.strictSame(
    arm.rules.map(rule => rule.syscalls[0]),
    ['read', 'stat', 'lseek'],
  )
  t.strictSame(
    parse(text, 'riscv64').policy.rules.map(rule => rule.syscalls[0]),
    ['read', 'fstat', 'lseek'],
  )
})

t.test('version 1', async t => {
  const { policy } = parse('1\nallowlist\n0\n1 # write\n# all\n\n231\n')
  t.strictSame(policy.architectures, ['x86_64'])
  t.strictSame(policy.defaultAction, KILL)
  t.strictSame(policy.rules, [{ syscalls: ['0', '1', '231'], action: ALLOW, conditions: [], architectures: [] }])
})

t.test('J12: mistakes are errors with a place, and never allow', async t => {
  const cases: [text: string, line: number, column: number, message: RegExp, hint?: RegExp][] = [
    ['', 1, 1, /version/],
    ['3\ndenylist\n', 1, 1, /version/],
    ['2\n', 2, 1, /"" is not a policy style/],
    ['2\ndenylst\n', 2, 1, /"denylst" is not a policy style/, /denylist/],
    ['2\ndenylist alow\n', 2, 10, /unknown action "alow"/, /allow/],
    ['2\ndenylist errno\n', 2, 15, /"" is not an errno/],
    ['2\ndenylist\nread errno 0\n', 3, 12, /"0" is not an errno/],
    ['2\ndenylist\nread errno 4096\n', 3, 12, /"4096" is not an errno/],
    ['2\ndenylist\nread errno EPERM\n', 3, 12, /"EPERM" is not an errno/],
    ['2\ndenylist\nread allow me\n', 3, 12, /unexpected "me"/],
    ['2\ndenylist\n\n[x68]\n', 4, 2, /unknown architecture "x68"/, /did you mean/],
    ['2\ndenylist\n[all\n', 3, 1, /not a section/],
    ['2\ndenylist\nread errno 1 [6,0,==]\n', 3, 15, /"6" is not an argument index/],
    ['2\ndenylist\nread errno 1 [0,0]\n', 3, 15, /not 3 or 4 parts/],
    ['2\ndenylist\nread errno 1 [0,0,=]\n', 3, 15, /unknown operator "="/, /did you mean/],
    ['2\ndenylist\nread errno 1 [0,0,SCMP_CMP_MASKED_EQ]\n', 3, 15, /needs a mask/],
    ['2\ndenylist\nread errno 1 [0,1|2,==]\n', 3, 15, /"1\|2" is not a 64-bit integer/],
    ['2\ndenylist\nread errno 1 [0,08,==]\n', 3, 15, /"08" is not a 64-bit integer/],
    ['2\ndenylist\nread errno 1 [0,0x10000000000000000,==]\n', 3, 15, /64-bit/],
    ['2\ndenylist\nread errno 1 [0,0,==,-9223372036854775809]\n', 3, 15, /64-bit/],
    ['2\ndenylist\nread errno 1 [0,0,==\n', 3, 14, /unexpected "\[0,0,=="/],
    [`2\ndenylist\nread errno 1 ${'[0,0,==]'.repeat(7)}\n`, 3, 63, /at most 6/],
    ['1\nwhitelist\n0\n', 2, 1, /must say "allowlist"/],
    ['1\nallowlist\n  read\n', 3, 3, /"read" is not a system call number/],
    ['1\nallowlist\n-1\n', 3, 1, /"-1" is not a system call number/],
  ]
  for (const [text, line, column, message, hint] of cases) {
    try {
      parse(text)
      t.fail(`accepted ${JSON.stringify(text)}`)
    } catch (error) {
      if (!(error instanceof ContainerError)) throw error
      const { code, file } = error
      t.strictSame([code, file, error.line, error.column], ['ERR_CONFIG_SYNTAX', 'web.seccomp', line, column], text)
      t.match(error.message, message)
      t.match(error.message, /^Cannot read seccomp policy "web.seccomp": line \d+: /)
      if (hint !== undefined) t.match(error.hint, hint)
    }
  }
  t.equal(parse('2\ndenylist\nread errno 1\n').policy.rules.length, 1, 'control: without a mistake it is a rule')
})

t.test('J12: unknown calls are skipped with a warning', async t => {
  const { policy, warnings } = parse('2\ndenylist\n  keyclt errno 1\nsome_future_call errno 38\nread\n')
  t.strictSame(
    policy.rules.map(rule => rule.syscalls),
    [['read']],
  )
  t.strictSame(warnings, [
    { line: 3, column: 3, message: 'unknown system call "keyclt" is skipped; did you mean "keyctl"?' },
    { line: 4, column: 1, message: 'unknown system call "some_future_call" is skipped' },
  ])
})

t.test('any text is a policy or a typed error', async t => {
  const piece = fc.constantFrom(
    'read',
    ' ',
    'errno',
    '1',
    '[',
    ']',
    '0,0,==',
    'notify',
    '#',
    '\n',
    '[all]',
    '[x86]',
    'allow',
    ',',
    'é',
    '\0',
    'denylist',
  )
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 40 }).map(pieces => pieces.join('')),
      text => {
        try {
          for (const rule of parse(`2\ndenylist\n${text}`).policy.rules) {
            if (rule.conditions.length > 6) throw new Error('too many conditions')
          }
        } catch (error) {
          if (!(error instanceof ContainerError) || error.code !== 'ERR_CONFIG_SYNTAX') throw error
        }
      },
    ),
    { numRuns: 5000 },
  )
  t.pass('5000 texts')
})

// ── typed rules ───────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('typed rules', async t => {
  const policy = resolveRules(
    {
      defaultAction: 'allow',
      rules: [
        { syscall: ['kexec_load', 'bpf'], action: { errno: 'EPERM' } },
        {
          syscall: 'mount',
          action: 'notify',
          args: [{ index: 3, op: '&', value: 0x20, mask: 0x21n }],
          arch: ['amd64'],
        },
        {
          syscall: 'ioctl',
          action: { errno: 25 },
          args: [
            { index: 1, op: '&', value: 3 },
            { index: 1, op: '<=', value: 9 },
          ],
        },
        { syscall: 'read', action: 'kill', arch: ['arm64'] },
      ],
    },
    'x64',
  )
  t.strictSame(policy.defaultAction, ALLOW)
  t.strictSame(policy.architectures, ['x86_64', 'x86'])
  t.strictSame(policy.rules, [
    { syscalls: ['kexec_load', 'bpf'], action: errno(1), conditions: [], architectures: [] },
    {
      syscalls: ['mount'],
      action: NOTIFY,
      conditions: [{ index: 3, comparison: '==', value: 0x20n, mask: 0x21n }],
      architectures: ['x86_64'],
    },
    {
      syscalls: ['ioctl'],
      action: errno(25),
      conditions: [
        { index: 1, comparison: '==', value: 3n, mask: 3n },
        { index: 1, comparison: '<=', value: 9n, mask: MASK_64 },
      ],
      architectures: [],
    },
  ])
})

t.test('typed rules refuse what they do not know', async t => {
  const cases: [rules: unknown, message: RegExp][] = [
    [
      { rules: [], defaultAction: 'alow' },
      /Cannot use seccomp.defaultAction: unknown action "alow"\n {2}hint: did you mean "allow"/,
    ],
    [
      { rules: [], defaultAction: 'allow', rule: 1 },
      /Unknown option "rule" of seccomp\n {2}hint: did you mean "rules"/,
    ],
    [
      { syscall: 'opne', action: 'kill' },
      /seccomp.rules\[0\]: unknown system call "opne"\n {2}hint: did you mean "open"/,
    ],
    [
      { syscall: 'open', action: { errno: 'EPREM' } },
      /seccomp.rules\[0\].action: unknown errno "EPREM"\n {2}hint: did you mean "EPERM"/,
    ],
    [{ syscall: 'open', action: { errno: 0 } }, /errno 0 is not from 1 to 4095/],
    [{ syscall: 'open', action: { errno: 1.5 } }, /errno 1.5/],
    [
      { syscall: 'open', action: 'kill', arch: ['x86-64'] },
      /unknown architecture "x86-64"\n {2}hint: did you mean "x86_64"/,
    ],
    [{ syscall: 'open', action: 'kill', args: [{ index: 6, op: '==', value: 0 }] }, /args\[0\]: index 6/],
    [{ syscall: 'open', action: 'kill', args: [{ index: 0, op: '=', value: 0 }] }, /unknown operator "="/],
    [
      { syscall: 'open', action: 'kill', args: [{ index: 0, op: '==', value: -1 }] },
      /args\[0\].value: -1 is not an unsigned 64-bit integer/,
    ],
    [{ syscall: 'open', action: 'kill', args: [{ index: 0, op: '==', value: 1n << 64n }] }, /64-bit/],
    [{ syscall: 'open', action: 'kill', args: [{ index: 0, op: '==', value: 2 ** 53 }] }, /64-bit/],
    [{ syscall: 'open', action: 'kill', args: [{ index: 0, op: '==', value: 0, mask: 0.5 }] }, /args\[0\].mask/],
    [{ syscall: 'open', action: 'kill', args: [{ index: 0, op: '==', value: 0, maks: 1 }] }, /Unknown option "maks"/],
    [{ syscall: 'open', action: 'kill', args: Array(25).fill({ index: 0, op: '==', value: 0 }) }, /more than 24 args/],
  ]
  for (const [rules, message] of cases) {
    const options = (rules as SeccompRules).rules ? rules : { rules: [rules], defaultAction: 'allow' }
    t.throws(() => resolveRules(options as SeccompRules, 'x64'), { code: 'ERR_INVALID_OPTION', message })
  }
})
