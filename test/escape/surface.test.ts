// What can be reached from inside under both profiles must not grow: every call past the filter, socket family, writable file of the kernel,
// device and capability is a line of a baseline. `UPDATE=1` writes the baselines anew.
import { readFileSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { run } from '../../lib/index.ts'
import { look, makeContainer, startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { parseReport, probe } from '../support/probe.ts'
import { compareLines, linesOf, otherMachine, SURFACE, type Surface } from '../support/surface.ts'

const skip = needsRoot || otherMachine

function compareWithBaseline(t: Test, profile: 'system' | 'app', now: string[]): void {
  const file = new URL(`baseline/${profile}.txt`, import.meta.url)
  if (process.env.UPDATE === '1') writeFileSync(file, `${now.join('\n')}\n`)
  const { more, less } = compareLines(readFileSync(file, 'utf8').trimEnd().split('\n'), now)
  t.strictSame(more, [], `nothing more can be reached under the ${profile} profile than the baseline says`)
  for (const line of less) t.comment(`less than the baseline, which can be written anew: ${line}`)
}

t.test('the system profile: a container', { skip }, async t => {
  const { container } = await startContainer(t)
  const surface = JSON.parse((await container.attach([...SURFACE])).stdout) as Surface
  t.equal(surface.obstacle, null)
  t.ok(surface.covers > 5, 'something is covered')
  compareWithBaseline(t, 'system', linesOf(surface, await look(container)))
})

t.test('the app profile: run() and sandbox()', { skip }, async t => {
  const bind = [{ source: probe, target: '/probe' }]
  const surface = JSON.parse((await run([...SURFACE], { bind })).stdout) as Surface
  t.equal(surface.obstacle, null)
  compareWithBaseline(t, 'app', linesOf(surface, parseReport((await run(['/probe'], { bind })).stdout)))
})

t.test('control: a container with less protection reaches more, and the comparison says what', { skip }, async t => {
  const { container } = await makeContainer(t, {
    seccomp: false,
    config: 'lxc.apparmor.allow_nesting = 1\nlxc.cap.drop = sys_boot\n',
  })
  await container.start()
  const surface = JSON.parse((await container.attach([...SURFACE])).stdout) as Surface
  const baseline = readFileSync(new URL('baseline/system.txt', import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')
  const { more, less } = compareLines(baseline, linesOf(surface, await look(container)))
  for (const line of ['call keyctl', 'unknown call 599', 'family 38', 'condition ioctl TIOCSTI']) {
    t.ok(more.includes(line), line)
  }
  t.ok(more.includes('CapEff sys_time'))
  t.ok(less.includes('CapEff sys_boot'))
})
