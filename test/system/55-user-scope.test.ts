// A container of an ordinary user who has a systemd of its own: a real one, started for the test.
import { existsSync } from 'node:fs'
import t from 'tap'
import { hasProgram } from '../../lib/native/program.ts'
import { needsRoot } from '../support/host.ts'
import { runAsUser } from '../support/user.ts'

const missing = ['newuidmap', 'dbus-daemon', 'busctl'].find(name => !hasProgram(name))
const without = existsSync('/lib/systemd/systemd') ? missing : 'systemd'
const skip = needsRoot || (without === undefined ? false : `needs ${without}`)

if (skip) t.test('a scope', { skip }, async () => {})
else
  runAsUser(
    t,
    'a scope of the user’s systemd',
    { ids: 65_536, delegated: true, manager: true },
    'test/rootless/scope.ts',
  )
