/** What happens to containers: to one, and to all of an lxcpath, those of other programs too. Nothing is polled. */
import { Container, watchContainers } from '../lib/index.ts'

const box = await Container.create('events')
const over = new AbortController()

async function tell(): Promise<void> {
  for await (const event of watchContainers({ signal: over.signal })) {
    if (event.container !== box.name) continue
    console.log(
      event.type === 'state' ? `${event.container} is ${event.state}` : `${event.container} ended with ${event.code}`,
    )
    if (event.type === 'state' && event.state === 'STOPPED') return
  }
}

const told = tell()
try {
  await box.start()
  const ended = box.exited()
  await box.freeze()
  await box.unfreeze()
  await box.stop()
  console.log('its init ended:', await ended)
  await told
} finally {
  over.abort()
  await box.destroy({ force: true })
}
