/**
 * A service that runs strangers' programs: each in a fresh sandbox without network, with limits of memory, processes, time and output, and no
 * more at a time than the machine can take.
 *
 *   PORT=8080 node --import=@tapjs/typescript/import examples/code-service.ts
 *   curl --data-binary 'echo hello' localhost:8080/sh
 *   curl --data-binary 'console.log(6 * 7)' localhost:8080/js
 *
 * 200 and a JSON object, whatever the program did; 413: more than it takes; 429: come again later; 503: it cannot run anything now.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ContainerError, type ExecResult, SandboxPool } from '../lib/index.ts'

const KiB = 1024
const SOURCE_MOST = 64 * KiB
const OUTPUT_MOST = 64 * KiB
const TIME_MOST = 2000
/** How many run, and how many wait for their turn. */
const [RUNNING_MOST = 4, WAITING_MOST = 16] = (process.env.MOST ?? '4,16').split(',').map(Number)

/** The program's text is its standard input. */
const LANGUAGES: Readonly<Record<string, readonly string[]>> = {
  '/sh': ['/bin/sh'],
  '/js': [process.execPath, '--max-old-space-size=96', '-'],
}

// Memory and processes need a cgroup: as an ordinary user, one that is delegated.
const pool = new SandboxPool({
  size: RUNNING_MOST,
  most: RUNNING_MOST,
  limits: { memory: '256M', swap: false, pids: 64 },
})
const server = createServer((request, response) => {
  answer(request, response).catch((error: Error) => {
    if (!(error instanceof ContainerError)) console.error(error)
    else if (error.code !== 'ERR_ABORTED') console.error(error.message)
    send(response, 503, { error: 'nothing can be run now' })
  })
})

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const command = request.method === 'POST' ? LANGUAGES[request.url ?? ''] : undefined
  if (command === undefined)
    return send(response, 404, { error: `POST a program to ${Object.keys(LANGUAGES).join(' or ')}` })
  if (pool.counts.waiting >= WAITING_MOST)
    return send(response, 429, { error: 'too many are waiting' }, { 'retry-after': '1' })
  const source = await read(request)
  if (source === undefined) return send(response, 413, { error: `a program has at most ${SOURCE_MOST} bytes` })
  // Who hangs up wants no answer: the program ends, or never begins.
  const hungUp = new AbortController()
  response.once('close', () => hungUp.abort())
  await using box = await pool.acquire({ signal: hungUp.signal })
  const result = await box.run(command, {
    input: source,
    timeout: TIME_MOST,
    maxBuffer: OUTPUT_MOST,
    signal: hungUp.signal,
    killSignal: 'SIGKILL',
    reject: false,
  })
  send(response, 200, report(result))
}

function report(result: ExecResult) {
  const { exitCode, signal, stdout, stderr, usage, durationMs, ...rest } = result
  const limits = {
    time: rest.timedOut,
    output: rest.outputLimitHit,
    memory: rest.oomKilled,
    processes: rest.pidsLimitHit,
  }
  const hit = Object.entries(limits).flatMap(([name, isHit]) => (isHit ? [name] : []))
  return { exitCode, signal, stdout, stderr, hit, milliseconds: Math.round(durationMs), ...usage }
}

/** The body, or undefined when it is too long: no more than that is ever kept. */
async function read(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > SOURCE_MOST) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function send(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  if (response.writableEnded || response.destroyed) return
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close', ...headers })
  response.end(`${JSON.stringify(body)}\n`)
}

await pool.filled()
server.requestTimeout = 10_000
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () =>
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`),
)
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    server.close(() => void pool.close())
  })
