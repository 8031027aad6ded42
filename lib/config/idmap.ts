/** `lxc.idmap`: which ids of the container are which ids of the host. user_namespaces(7) */
import { type Kind, quote, whole } from './kinds.ts'
import { mistake } from './mistake.ts'

/** `range` ids from `container` on are those from `host` on. */
export interface IdMapLine {
  readonly type: 'uid' | 'gid'
  readonly container: number
  readonly host: number
  readonly range: number
}

const TYPES: Readonly<Record<string, IdMapLine['type']>> = { u: 'uid', g: 'gid' }
const id = whole()

/** `u CONTAINER HOST RANGE` or `g …`; nothing else, as in LXC. */
export const idMapLine: Kind<IdMapLine, `${'u' | 'g'} ${number} ${number} ${number}`> = {
  describe: 'u or g, the first id inside, the first id on the host, and how many',
  parse(value) {
    const words = value.trim().split(/[ \t\r]+/)
    const type = TYPES[words[0] as string]
    if (type === undefined || words.length !== 4) {
      throw mistake(`${quote(value)} is not an id map`, 'write for example "u 0 100000 65536"')
    }
    const [container, host, range] = words.slice(1).map(id.parse) as [number, number, number]
    if (range === 0) throw mistake(`${quote(value)} maps no id`)
    if (container + range > 2 ** 32 || host + range > 2 ** 32)
      throw mistake(`${quote(value)} goes beyond the highest id`)
    return { type, container, host, range }
  },
  print: ({ type, container, host, range }) => `${type === 'uid' ? 'u' : 'g'} ${container} ${host} ${range}`,
}
