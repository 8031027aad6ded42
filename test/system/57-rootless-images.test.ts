// Snapshots, clones, images and files of an ordinary user's containers. Not in the VM lane: they are files, and not cgroups.
import { existsSync } from 'node:fs'
import t from 'tap'
import { needsRoot } from '../support/host.ts'
import { runAsUser } from '../support/user.ts'

const skip = needsRoot || (existsSync('/usr/bin/newuidmap') ? false : 'needs newuidmap (package "uidmap")')

if (skip) t.test('rootless images', { skip }, async () => {})
else {
  t.setTimeout(480_000)
  for (const file of ['test/rootless/images.ts']) {
    runAsUser(t, `${file}: a range of ids, a delegated cgroup`, { ids: 131_072, delegated: true }, file)
    runAsUser(t, `${file}: a range of ids, no cgroup`, { ids: 65_536, delegated: false }, file)
    runAsUser(t, `${file}: one id, no cgroup`, { ids: 0, delegated: false }, file)
    runAsUser(t, `${file}: one id, a delegated cgroup`, { ids: 0, delegated: true }, file)
  }
}
