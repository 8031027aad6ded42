/**
 * Requests over HTTP(S) as image servers need them: redirects, proxies, deadlines, and downloads that resume.
 *
 * Node's own clients are used rather than fetch, which cannot go through a proxy before Node 24. Plain http is refused
 * except to this machine, unless it is allowed by name. Nothing here decides whether bytes can be trusted: verify.ts does.
 */
import { once } from 'node:events'
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect as tlsConnect } from 'node:tls'
import { throwIfAborted } from '../abort.ts'
import { ContainerError } from '../errors.ts'

export interface HttpOptions {
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly signal?: AbortSignal | undefined
  /** The URL of an HTTP proxy; false: none. Default: `https_proxy`, `http_proxy`, `no_proxy` of the environment. */
  readonly proxy?: string | false | undefined
  /** Certificates (PEM) to trust instead of the built-in ones. */
  readonly ca?: string | undefined
  /** Milliseconds without a byte after which a request fails. Default 30,000. */
  readonly timeout?: number | undefined
  /** Allow plain http to other machines. Default false. */
  readonly insecure?: boolean | undefined
}

export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: IncomingMessage
  /** Where it came from, after redirects. */
  readonly url: string
}

const IDLE_MS = 30_000
const REDIRECTS = 10
/** Indexes of the largest public servers are below 10 MiB. */
const TEXT_MAX = 64 * 1024 * 1024
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/

/** Sends a GET (or what `method` says) and follows redirects. Any status comes back; only transport failures throw. */
export async function request(url: string, options: HttpOptions & { method?: string } = {}): Promise<HttpResponse> {
  let target = checkUrl(url, options)
  let headers = { 'user-agent': 'caisson', ...options.headers }
  for (let i = 0; i <= REDIRECTS; i++) {
    throwIfAborted(options.signal, `fetch "${target.href}"`)
    const body = await send(target, headers, options)
    const status = body.statusCode as number
    const location = body.headers.location
    if (![301, 302, 303, 307, 308].includes(status) || location === undefined) {
      return { status, headers: body.headers, body, url: target.href }
    }
    body.destroy()
    const next = checkUrl(new URL(location, target).href, options)
    if (target.protocol === 'https:' && next.protocol === 'http:') {
      throw new ContainerError('ERR_NETWORK', `Cannot fetch "${target.href}": it redirects from https to http`)
    }
    // Registries send to storage hosts that must not see the token.
    if (next.origin !== target.origin) headers = withoutCredentials(headers)
    target = next
  }
  throw new ContainerError('ERR_NETWORK', `Cannot fetch "${url}": more than ${REDIRECTS} redirects`)
}

/** The body of a response as text, at most 64 MiB. Throws ERR_NETWORK for any status but 200. */
export async function getText(url: string, options: HttpOptions & { max?: number } = {}): Promise<string> {
  return (await getBytes(url, options)).toString('utf8')
}

/** The same as bytes. */
export async function getBytes(url: string, options: HttpOptions & { max?: number } = {}): Promise<Buffer> {
  const response = await request(url, options)
  if (response.status !== 200) throw refused(response)
  return readBody(response, options.max ?? TEXT_MAX, options.signal)
}

/** Reads a whole body, up to a limit. */
export async function readBody(response: HttpResponse, max: number, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of response.body) {
      size += (chunk as Buffer).length
      if (size > max) {
        throw new ContainerError('ERR_NETWORK', `Cannot fetch "${response.url}": it has more than ${max} bytes`)
      }
      chunks.push(chunk as Buffer)
    }
  } catch (error) {
    throw networkError(response.url, error, signal)
  }
  return Buffer.concat(chunks)
}

/** The error for a status that was not expected. */
export function refused(response: HttpResponse): ContainerError {
  response.body.destroy()
  return new ContainerError('ERR_NETWORK', `Cannot fetch "${response.url}": status ${response.status}`)
}

/** What went wrong under a request, as an error of ours. */
export function networkError(url: string, error: unknown, signal?: AbortSignal): ContainerError {
  if (error instanceof ContainerError) return error
  const { message } = error as NodeJS.ErrnoException
  if (signal?.aborted) return new ContainerError('ERR_ABORTED', `Cannot fetch "${url}": aborted`, { cause: error })
  return new ContainerError('ERR_NETWORK', `Cannot fetch "${url}": ${message}`, { cause: error })
}

function checkUrl(url: string, options: HttpOptions): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || !['http:', 'https:'].includes(parsed.protocol)) {
    throw new ContainerError('ERR_INVALID_OPTION', `Cannot fetch "${url}": it is no http or https URL`)
  }
  if (parsed.protocol === 'http:' && !LOOPBACK.test(parsed.hostname) && !options.insecure) {
    throw new ContainerError('ERR_NETWORK', `Cannot fetch "${url}": plain http`, {
      hint: 'use https, or say "insecure: true"',
    })
  }
  return parsed
}

function withoutCredentials<T extends Record<string, string>>(headers: T): T {
  const rest = Object.entries(headers).filter(([name]) => !['authorization', 'cookie'].includes(name.toLowerCase()))
  return Object.fromEntries(rest) as T
}

async function send(
  url: URL,
  headers: Record<string, string>,
  options: HttpOptions & { method?: string },
): Promise<IncomingMessage> {
  const timeout = options.timeout ?? IDLE_MS
  const common: RequestOptions = { method: options.method ?? 'GET', headers, timeout, signal: options.signal }
  try {
    const proxy = proxyFor(url, options)
    const outgoing = proxy === undefined ? direct(url, common, options) : await proxied(url, proxy, common, options)
    outgoing.on('timeout', () => outgoing.destroy(new Error(`nothing came for ${timeout} ms`)))
    outgoing.end()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    // From here on the body reports what breaks; the request would report it a second time, to nobody.
    outgoing.on('error', () => undefined)
    return response
  } catch (error) {
    throw networkError(url.href, error, options.signal)
  }
}

function direct(url: URL, common: RequestOptions, options: HttpOptions): ReturnType<typeof httpRequest> {
  if (url.protocol === 'http:') return httpRequest(url, common)
  return httpsRequest(url, { ...common, ca: options.ca })
}

/** Plain http is asked of the proxy as a whole URL, https goes through a tunnel (RFC 9110 §9.3.6). */
async function proxied(
  url: URL,
  proxy: URL,
  common: RequestOptions,
  options: HttpOptions,
): Promise<ReturnType<typeof httpRequest>> {
  const authority = url.port === '' ? `${url.hostname}:${url.protocol === 'https:' ? 443 : 80}` : url.host
  const credentials = Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`)
  const login = proxy.username === '' ? {} : { 'proxy-authorization': `Basic ${credentials.toString('base64')}` }
  const hop = { host: proxy.hostname, port: proxy.port === '' ? 80 : Number(proxy.port) }
  if (url.protocol === 'http:') {
    const headers = { ...(common.headers as Record<string, string>), host: url.host, ...login }
    return httpRequest({ ...common, ...hop, path: url.href, headers })
  }
  const headers = { host: authority, ...login }
  const tunnel = httpRequest({ ...common, ...hop, method: 'CONNECT', path: authority, headers })
  tunnel.on('timeout', () => tunnel.destroy(new Error('the proxy does not answer')))
  tunnel.end()
  const [answer, socket] = (await once(tunnel, 'connect')) as [IncomingMessage, import('node:net').Socket]
  if (answer.statusCode !== 200) {
    socket.destroy()
    throw new ContainerError('ERR_NETWORK', `Cannot fetch "${url.href}": the proxy says ${answer.statusCode}`)
  }
  const secure = tlsConnect({ socket, servername: url.hostname, ca: options.ca })
  await once(secure, 'secureConnect')
  return httpRequest(url, {
    ...common,
    protocol: 'http:',
    agent: new HttpAgent(),
    createConnection: () => secure,
  } as RequestOptions)
}

/** The proxy of the environment, in the lower-case names that curl and wget read. */
function proxyFor(url: URL, options: HttpOptions): URL | undefined {
  if (options.proxy === false) return undefined
  if (options.proxy !== undefined) return new URL(options.proxy)
  if (LOOPBACK.test(url.hostname)) return undefined
  const { http_proxy, https_proxy, no_proxy, NO_PROXY, HTTPS_PROXY } = process.env
  const given = url.protocol === 'https:' ? (https_proxy ?? HTTPS_PROXY) : http_proxy
  if (given === undefined || given === '') return undefined
  const exempt = (no_proxy ?? NO_PROXY ?? '').split(',').map(name => name.trim().replace(/^\*?\./, ''))
  const isExempt = exempt.some(name => name === '*' || (name !== '' && `.${url.hostname}`.endsWith(`.${name}`)))
  return isExempt ? undefined : new URL(given.includes('://') ? given : `http://${given}`)
}
