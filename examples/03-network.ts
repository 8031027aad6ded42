/** Two containers on a network of their own, which find each other by name. It needs root. For more of them: router.ts. */
import { Container, ManagedNetwork } from '../lib/index.ts'

const network = await ManagedNetwork.create('hello0', { nat: false })
const made: Container[] = []
try {
  for (const name of ['one', 'two']) {
    const container = await Container.create(`net-${name}`, { network: [{ type: 'veth', link: network.name }] })
    made.push(container)
    await container.start()
    console.log(container.name, await container.ips({ family: 4, timeout: 10_000 }))
  }
  const [one, two] = made as [Container, Container]
  const [address] = await two.ips({ family: 4 })
  console.log(
    (await one.attach(['ping', '-c', '1', `${address}`])).stdout.split('\n').find(line => line.includes('loss')),
  )
  for (const { name, peer, txBytes } of await one.interfaces()) console.log(name, peer ?? '-', txBytes > 0)
} finally {
  for (const container of made) await container.destroy({ force: true })
  await network.destroy()
}
