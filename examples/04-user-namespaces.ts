/** Root inside is nobody outside: each container has ids of the host that no other one has. */
import { readFileSync } from 'node:fs'
import { Container } from '../lib/index.ts'

const one = await Container.create('ids-one')
try {
  await one.start()
  console.log('inside I am uid', (await one.attach(['id', '-u'])).stdout.trim())
  const status = readFileSync(`/proc/${await one.initPid()}/status`, 'utf8')
  console.log('outside that is uid', /^Uid:\t(\d+)/m.exec(status)?.[1])

  // What it is by default, or `idmap: [...]`; `idmap: false`, for root only, is a container without this protection.
  const [map] = one.config.value('lxc.idmap')
  console.log(`its uids from ${map?.container} on are ${map?.host} and the next ${map?.range}`)

  const { stdout, stderr } = await one.attach(['sh', '-c', 'hostname renamed && hostname; mknod /tmp/sda b 8 0'], {
    reject: false,
  })
  console.log('its own host name it may change:', stdout.trim())
  console.log('a disk it may not have:', stderr.trim())
} finally {
  await one.destroy({ force: true })
}
