// The system tests once more, where this machine cannot take them: pure cgroup v2 with all controllers, and AppArmor.
import t from 'tap'
import { runLane } from './lane.ts'

/** What depends on the version of cgroups, on the LSM and on an older kernel's overlayfs; the rest would say the same as on the host. */
const files = [
  '00-support',
  '10-lifecycle',
  '15-isolation',
  '20-attach',
  '30-cgroups',
  '40-crash',
  '50-keys',
  '50-keys-host',
  '51-inside',
  '52-apparmor',
  '55-ephemeral',
  '80-debian',
].map(name => `test/system/${name}.test.ts`)
files.push('test/escape/covers.test.ts', 'test/escape/cores.test.ts')

runLane(t, 'cgroup v2, AppArmor (user-mode Linux)', {
  kernel: 'uml',
  packages: ['apparmor'],
  files,
  seconds: 1_000,
})
