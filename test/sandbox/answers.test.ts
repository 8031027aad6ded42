// Descriptors are closed and opened again by the thousand, on two threads: no answer is lost on the way.
import t from 'tap'
import { listLinks } from '../../lib/links.ts'
import { needsRoot } from '../support/host.ts'
import { alone, leavesNoTrace } from '../support/session.ts'

const REQUESTS = 4_000
const AT_ONCE = 16

// What is lost is waited for until the runner ends the test.
t.test('of thousands of requests each one is answered', { skip: needsRoot }, async t => {
  const ask = () => listLinks({}, { verb: 'ask' })
  await ask()
  await alone()
  await leavesNoTrace(t, async () => {
    let asked = 0
    let answered = 0
    const lane = async () => {
      while (asked++ < REQUESTS) {
        const links = await ask()
        if (links.some(({ name }) => name === 'lo')) answered++
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, lane))
    t.equal(answered, REQUESTS)
  })
})
