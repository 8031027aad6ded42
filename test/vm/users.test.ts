// Ordinary users, storage and sandboxes on pure cgroup v2 with AppArmor, in a machine of their own, beside that of the system tests.
import t from 'tap'
import { runLane } from './lane.ts'

const system = ['50-storage', '51-network-user', '55-rootless'].map(name => `test/system/${name}.test.ts`)

/** Why a program ended and what it used is told by other files there than on v1. */
const sandbox = ['run', 'shared'].map(name => `test/sandbox/${name}.test.ts`)

runLane(t, 'users, storage, sandboxes, cgroup v2, AppArmor (user-mode Linux)', {
  kernel: 'uml',
  packages: ['apparmor'],
  files: [...system, ...sandbox],
  seconds: 800,
})
