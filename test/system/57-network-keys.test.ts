// Each key of an interface has its effect in a running container: the rows of test/support/keys.ts that make interfaces on the host.
import { alone } from '../support/network.ts'
import { showRows } from '../support/rows.ts'

alone(import.meta.url, 'keys of interfaces', t => showRows(t, group => group === 'net'))
