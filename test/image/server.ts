/** A web server on loopback over a directory, which can be told to fail as servers and lines do. */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, normalize } from 'node:path'

/** truncate: claims all, sends half and closes well. reset: half, then the line breaks. slow: never ends. */
export type Fault = 'truncate' | 'reset' | 'slow' | 'long' | 'wrong' | 'busy' | 'norange' | 'badrange' | 'missing'

export interface ImageServer {
  readonly url: string
  /** Each request as `METHOD path range`. */
  readonly requests: string[]
  /** Lets the next `times` requests whose path contains `part` fail. */
  fail(part: string, fault: Fault, times?: number): void
  close(): Promise<void>
}

export async function serve(
  directory: string,
  handler?: (request: IncomingMessage, response: ServerResponse) => boolean,
): Promise<ImageServer> {
  const requests: string[] = []
  const faults: { part: string; fault: Fault; times: number }[] = []
  const server: Server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url} ${request.headers.range ?? ''}`.trim())
    // A handler answers, or changes what is asked for.
    if (handler?.(request, response)) return
    const path = normalize(decodeURIComponent((request.url ?? '/').split('?')[0] as string))
    const planned = faults.find(one => path.includes(one.part) && one.times > 0)
    if (planned !== undefined) planned.times -= 1
    answer(join(directory, path), request, response, planned?.fault)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    fail: (part, fault, times = 1) => void faults.push({ part, fault, times }),
    close: () => {
      server.closeAllConnections()
      return new Promise(resolve => server.close(() => resolve()))
    },
  }
}

function answer(path: string, request: IncomingMessage, response: ServerResponse, fault: Fault | undefined): void {
  let bytes: Buffer
  try {
    if (fault === 'missing' || !statSync(path).isFile()) throw new Error('no such file')
    bytes = readFileSync(path)
  } catch {
    response.writeHead(404).end()
    return
  }
  const etag = `"${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}"`
  if (fault === 'busy') return void response.writeHead(503).end()
  if (fault === 'wrong') bytes = Buffer.from(bytes.map((byte, at) => (at === bytes.length >> 1 ? byte ^ 1 : byte)))
  if (fault === 'long') bytes = Buffer.concat([bytes, Buffer.alloc(1000)])
  const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? []
  const fits = from !== undefined && request.headers['if-range'] === etag && fault !== 'norange'
  const start = fits ? Number(from) : 0
  const told = fault === 'badrange' ? start + 7 : start
  const body = bytes.subarray(start)
  const headers = { etag, 'content-length': body.length }
  if (fits)
    response.writeHead(206, { ...headers, 'content-range': `bytes ${told}-${bytes.length - 1}/${bytes.length}` })
  else response.writeHead(200, headers)
  if (request.method === 'HEAD') return void response.end()
  if (fault === 'truncate' || fault === 'reset' || fault === 'slow') {
    response.write(body.subarray(0, body.length >> 1), () => {
      if (fault === 'reset') response.socket?.resetAndDestroy()
      else if (fault === 'truncate') response.socket?.end()
    })
  } else response.end(body)
}
