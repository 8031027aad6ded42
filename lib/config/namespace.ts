/** Names of namespaces. namespaces(7) */
import { didYouMean, type Kind, quote } from './kinds.ts'
import { mistake } from './mistake.ts'

export const NAMESPACES = ['user', 'mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup', 'time'] as const
export type NamespaceName = (typeof NAMESPACES)[number]

/** A namespace, in any case. */
export const namespaceName: Kind<NamespaceName, NamespaceName> = {
  describe: `one of ${NAMESPACES.join(', ')}`,
  words: NAMESPACES,
  parse(value) {
    const name = value.toLowerCase() as NamespaceName
    if (NAMESPACES.includes(name)) return name
    const hint = name === ('mount' as string) ? 'did you mean "mnt"?' : didYouMean(name, NAMESPACES)
    throw mistake(`${quote(value)} is not a namespace`, hint)
  },
  print: value => value,
}
