/**
 * The whole life of a container. `node --import=@tapjs/typescript/import examples/00-hello.ts`, as root or not; likewise the others. In a
 * project of your own it is `import { Container } from 'caisson'`.
 */
import { Container } from '../lib/index.ts'

const hello = await Container.create('hello') // a busybox system in a user namespace of its own
try {
  await hello.start()
  const { stdout } = await hello.attach(['sh', '-c', 'echo "hello from $(hostname), where I am $(id -un)"'])
  process.stdout.write(stdout)
  await hello.stop()
} finally {
  await hello.destroy({ force: true })
}
