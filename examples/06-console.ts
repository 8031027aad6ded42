/** The console: a stream for any number of viewers, which begins with what was said before them. */
import { Container } from '../lib/index.ts'

const box = await Container.create('console', { config: 'lxc.console.buffer.size = 64KB\n' })
try {
  await box.start()
  const console_ = await box.console()
  console_.resize(100, 30)
  let said = ''
  for await (const chunk of console_.iterator({ destroyOnReturn: false })) {
    const before = said
    said += chunk
    if (!before.includes('activate') && said.includes('activate')) console_.write('\n') // busybox waits for a key
    if (!before.includes('# ') && said.includes('# ')) console_.write('stty size\n')
    if (/30 100/.test(said)) break
  }
  console.log('the window inside is', /30 100/.exec(said)?.[0])
  console_.destroy() // a viewer leaves; the container does not notice
  console.log('kept:', (await box.consoleLog()).length > 0)
} finally {
  await box.destroy({ force: true })
}
