/** The addon's compiler, without anything around it. */
import { ok } from 'node:assert'
import { createRequire } from 'node:module'
import type { SeccompPolicy, SeccompProgram } from '../../lib/seccomp/statements.ts'

interface Failure {
  failure: { code: string; call: string; detail: string }
}

const native = createRequire(import.meta.url)('../../build/Release/caisson.node') as {
  compileSeccomp(policy: SeccompPolicy): SeccompProgram | Failure
}

export function compile(policy: SeccompPolicy): { program: Buffer; unknown: string[] } {
  const made = native.compileSeccomp(policy)
  if ('failure' in made)
    throw Object.assign(new Error(made.failure.detail || made.failure.call), { code: made.failure.code })
  ok(Buffer.isBuffer(made.program))
  return { program: made.program, unknown: made.unknown }
}
