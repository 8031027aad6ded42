// Calls answered by a handler, over a listener that only records: what a handler may do, and what becomes of one that fails.
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import type { SyscallCall } from '../../lib/native/spec.ts'
import {
  answerCalls,
  type CallListener,
  type SyscallHandler,
  type SyscallReply,
  type SyscallRequest,
} from '../../lib/seccomp/notify.ts'

const ENOSYS = -38

/** A listener whose caller's memory is `memory`, beginning at `base`. */
function recording(memory = Buffer.alloc(0), base = 0x1000n) {
  const log: unknown[][] = []
  let deliver: (call: SyscallCall | null) => void = () => {}
  const listener: CallListener = {
    answer: (...args) => log.push(['answer', ...args]) > 0,
    inject: (...args) => log.push(['inject', ...args]) > 0,
    read(_id, _pid, address, length) {
      const at = Number(address - base)
      log.push(['read', address, length])
      if (at < 0 || at + length > memory.length) throw Object.assign(new Error('EFAULT'), { code: 'EFAULT' })
      return memory.subarray(at, at + length)
    },
    mount: (...args) => log.push(['mount', ...args]),
    stop: () => log.push(['stop']),
    close: () => log.push(['close']),
  }
  const open = (give: typeof deliver) => {
    deliver = give
    return listener
  }
  return { log, open, deliver: (call: SyscallCall | null) => deliver(call) }
}

function call(id: number, more: Partial<SyscallCall> = {}): SyscallCall {
  return {
    id,
    pid: 7,
    architecture: 0xc000_003e,
    number: 133,
    name: 'mknod',
    arguments: [1, 2, 3, 4, 5, 2n ** 63n],
    ...more,
  }
}

async function answered(reply: unknown): Promise<unknown[][]> {
  const { log, open, deliver } = recording()
  const errors: unknown[] = []
  using _ = answerCalls(open, () => (typeof reply === 'function' ? reply() : reply) as SyscallReply, {
    onError: error => errors.push(error),
  })
  deliver(call(1))
  await setImmediate()
  return [...log, ...errors.map(error => [(error as Error).message])]
}

t.test('what a handler sees', async t => {
  const { open, deliver } = recording()
  const seen: SyscallRequest[] = []
  const handler: SyscallHandler = request => {
    seen.push(request)
    return { return: 0 }
  }
  using _ = answerCalls(open, handler)
  deliver(call(1))
  deliver(call(2, { architecture: 0x4000_0003, name: '', number: 999 }))
  deliver(call(3, { number: 0x4000_0085 }))
  deliver(call(4, { architecture: 0x1234 }))
  t.strictSame(seen[0]?.args, [1n, 2n, 3n, 4n, 5n, 2n ** 63n])
  t.strictSame(
    seen.map(({ pid, syscall, arch }) => [pid, syscall, arch]),
    [
      [7, 'mknod', 'x86_64'],
      [7, 'syscall_999', 'x86'],
      [7, 'mknod', 'x32'],
      [7, 'mknod', '0x1234'],
    ],
  )
})

t.test('answers', async t => {
  t.strictSame(await answered({ return: 42 }), [['answer', 1, 42n, 0, 0]])
  t.strictSame(await answered({ return: 2n ** 64n - 1n }), [['answer', 1, -1n, 0, 0]])
  t.strictSame(await answered({ errno: 'EPERM' }), [['answer', 1, 0, -1, 0]])
  t.strictSame(await answered({ errno: 17 }), [['answer', 1, 0, -17, 0]])
  t.strictSame(await answered({ continue: true }), [['answer', 1, 0, 0, 1]])
  t.strictSame(await answered({ fd: 5 }), [['inject', 1, 5, 0]])
  t.strictSame(await answered({ fd: 5, flags: 0o2000000 }), [['inject', 1, 5, 0o2000000]])
  t.strictSame(await answered(Promise.resolve({ return: 1 })), [['answer', 1, 1n, 0, 0]])
})

t.test('what is no answer fails the call, and is heard of', async t => {
  for (const [reply, message] of [
    [{}, /gave no return, errno, fd or continue/],
    [{ continue: false }, /gave no return, errno, fd or continue/],
    [undefined, /./],
    [{ errno: 'EPREM' }, /"EPREM" is no errno\n {2}hint: did you mean "EPERM"/],
    [{ errno: 0 }, /"0" is no errno/],
    [{ errno: -1 }, /"-1" is no errno/],
    [{ return: 1.5 }, /./],
    [() => Promise.reject(new Error('rejected')), /rejected/],
  ] as const) {
    const [first, second, ...rest] = await answered(reply)
    t.strictSame(first, ['answer', 1, 0, ENOSYS, 0])
    t.match(second?.[0], message)
    t.strictSame(rest, [])
  }
})

t.test('a throwing handler answers the next call', async t => {
  const { log, open, deliver } = recording()
  using _ = answerCalls(open, ({ args }) => {
    if (args[0] === 1n) throw new Error('the first one fails')
    return { return: 0 }
  })
  const warned = once(process, 'warning')
  deliver(call(1))
  deliver(call(2, { arguments: [2] }))
  t.match((await warned)[0], { message: 'the first one fails' }, 'without onError it is a process warning')
  t.strictSame(log, [
    ['answer', 1, 0, ENOSYS, 0],
    ['answer', 2, 0n, 0, 0],
  ])
})

t.test('slow handlers overtake each other, and finish after dispose', async t => {
  const { log, open, deliver } = recording()
  const resolves: ((reply: SyscallReply) => void)[] = []
  const answering = answerCalls(open, () => new Promise(resolve => resolves.push(resolve)))
  deliver(call(1))
  deliver(call(2))
  resolves[1]?.({ return: 2 })
  await setImmediate()
  answering[Symbol.dispose]()
  t.strictSame(log, [['answer', 2, 2n, 0, 0], ['stop']], 'it stops at once')
  resolves[0]?.({ return: 1 })
  await setImmediate()
  t.strictSame(log.slice(2), [['answer', 1, 1n, 0, 0], ['close']], 'and closes after the last answer')
})

t.test('the end of the container closes the listener', async t => {
  const { log, open, deliver } = recording()
  const answering = answerCalls(open, () => ({ return: 0 }))
  deliver(null)
  t.strictSame(log, [['stop'], ['close']])
  answering[Symbol.dispose]()
  t.strictSame(log.filter(([what]) => what === 'stop').length, 1)
})

t.test('strings are read page by page', async t => {
  const memory = Buffer.alloc(0x2000, 'a')
  memory[0x1005] = 0
  const { log, open, deliver } = recording(memory)
  const results: unknown[] = []
  using _ = answerCalls(open, request => {
    results.push(request.readString(0x1ffen), request.readMemory(0x1000n, 2).toString())
    for (const [address, max] of [
      [0x1000n, 0x800],
      [0x2ff0n, undefined],
    ] as const) {
      try {
        request.readString(address, max)
      } catch (error) {
        results.push((error as { code: string }).code)
      }
    }
    return { return: 0 }
  })
  deliver(call(1))
  await setImmediate()
  t.strictSame(results, ['aaaaaaa', 'aa', 'ENAMETOOLONG', 'EFAULT'])
  t.strictSame(log.slice(0, 2), [
    ['read', 0x1ffen, 2],
    ['read', 0x2000n, 4094],
  ])
})
