/** Programs inside: results, input, lines as they come, failures, time, and a terminal. */
import { Container, type ContainerError } from '../lib/index.ts'

const box = await Container.create('attach')
try {
  await box.start()
  console.log((await box.attach(['wc', '-c'], { input: 'twelve bytes' })).stdout.trim())

  for await (const line of box.attach(['sh', '-c', 'for i in 1 2 3; do echo "step $i"; sleep 0.1; done']))
    console.log(line)

  await box
    .attach(['sh', '-c', 'echo no such thing >&2; exit 3'])
    .catch((error: ContainerError) => console.log(error.message))

  const slow = await box.attach(['sleep', '60'], { timeout: 200, reject: false })
  console.log('timed out:', slow.timedOut, 'ended by', slow.signal)

  const shell = box.attach(['sh', '-c', 'stty size; tty'], { tty: { columns: 100, rows: 30 } })
  console.log((await shell).stdout.trim().split('\r\n'))
} finally {
  await box.destroy({ force: true })
}
