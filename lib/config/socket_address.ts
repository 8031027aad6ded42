/** Addresses of UNIX sockets, as `lxc.seccomp.notify.proxy` has one. */
import { type Kind, quote } from './kinds.ts'
import { mistake } from './mistake.ts'

/** A socket of the host, by path or in the abstract namespace (without its `@`). unix(7) */
export type SocketAddress = { readonly path: string } | { readonly abstract: string }

export const socketAddress: Kind<SocketAddress, `unix:${string}`> = {
  describe: 'unix:/path or unix:@name',
  verbatim: true,
  parse(text) {
    const name = text.startsWith('unix:') ? text.slice(5) : undefined
    if (name === undefined || !/^[@/]./.test(name)) {
      throw mistake(`${quote(text)} is not an address`, 'write unix:/path/of/socket or unix:@name')
    }
    if (Buffer.byteLength(name) > 107) throw mistake(`${quote(text)} is longer than a socket address holds (107 bytes)`)
    return name.startsWith('@') ? { abstract: name.slice(1) } : { path: name }
  },
  print: address => ('path' in address ? `unix:${address.path}` : `unix:@${address.abstract}`),
}
