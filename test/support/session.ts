/** The session of this process's sandboxes, and the host around it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { leavesNoTrace as compare, snapshot } from './host.ts'

/** The number that the cgroups of this process's sandboxes carry. */
export function session(): string | undefined {
  return /caisson\/([0-9a-f]{8})\/sandboxes/.exec(snapshot().descriptors?.join() ?? '')?.[1]
}

/** Waits, for some seconds, until this process has no children: what is kept ahead for the next sandbox goes by itself. */
export async function alone(): Promise<void> {
  for (let tries = 0; (snapshot().processes?.length ?? 0) > 0 && tries < 250; tries++) await sleep(20)
}

/** A sandbox must have been made before: the session stays. */
export async function leavesNoTrace(t: Test, body: () => Promise<void>): Promise<void> {
  await alone()
  await compare(t, body, session())
}
