/** The session of this process's sandboxes, and the host around it. */
import type { Test } from 'tap'
import { leavesNoTrace as compare, snapshot } from './host.ts'
import { until } from './until.ts'

/** The number that the cgroups of this process's sandboxes carry. */
export function session(): string | undefined {
  return /caisson\/([0-9a-f]{8})\/sandboxes/.exec(snapshot().descriptors?.join() ?? '')?.[1]
}

/** Without a session there is nothing of its own, and all that bears a tag is somebody else's. */
const own = () => session() ?? 'none'

/** Waits until this process has no children: what is kept ahead for the next sandbox goes by itself. */
export async function alone(): Promise<void> {
  await until(() => snapshot(own()).processes?.length === 0, 'this process has no children')
}

/** A sandbox must have been made before: the session stays. */
export async function leavesNoTrace(t: Test, body: () => Promise<void>): Promise<void> {
  await alone()
  await compare(t, body, own())
}
