/**
 * Runs test files inside a virtual machine that sees this machine's own root file system copy-on-write; what they print is TAP,
 * so that each of them is a subtest here. test/vm/vm-run says what the machines have and lack.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { needsRoot } from '../support/host.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const vmRun = fileURLToPath(new URL('vm-run', import.meta.url))

export interface Lane {
  /** `uml` boots in two seconds and runs at the speed of the machine; the others are emulated, and slow. */
  readonly kernel: 'uml' | 'cloud' | 'full' | '6.12'
  readonly cgroup?: 'v1' | 'v2' | 'hybrid'
  /** Debian packages that only the guest gets. */
  readonly packages?: readonly string[]
  readonly files: readonly string[]
  /** Where the cost ends: the machine is then switched off, and the lane has failed. */
  readonly seconds: number
}

/** Adds a lane to a test, or a skip that says why this machine cannot have it. */
export function runLane(t: Test, name: string, lane: Lane): void {
  const machine = [
    '--kernel',
    lane.kernel,
    '--cgroup',
    lane.cgroup ?? 'v2',
    '--packages',
    (lane.packages ?? []).join(' '),
  ]
  const obstacle = needsRoot || prepare(machine)
  if (obstacle) {
    t.test(name, { skip: obstacle }, async () => {})
    return
  }
  // an ext4 disk below /tmp: the guest's root is an overlay, which can be neither idmapped nor an overlay's upper directory
  const options = [...machine, '--scratch', '/tmp', '--timeout', String(lane.seconds), '--dir', root]
  const tests = [process.execPath, 'node_modules/tap/dist/esm/run.mjs', 'run', '--reporter=tap', ...lane.files]
  t.setTimeout((lane.seconds + 60) * 1000)
  t.spawn(vmRun, [...options, '--', ...tests], { timeout: (lane.seconds + 30) * 1000 }, name)
}

/** Fills vm-run's cache: the kernel and the packages, from Debian. What went wrong, or nothing. */
function prepare(machine: readonly string[]): string | false {
  const { status, stderr, error } = spawnSync(vmRun, [...machine, '--prepare'], { encoding: 'utf8' })
  if (status === 0) return false
  return error?.message ?? stderr.trim().split('\n').at(-1) ?? `vm-run ended with ${status}`
}
