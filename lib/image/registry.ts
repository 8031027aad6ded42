/** Pulls images from registries (distribution-spec 1.1): token or basic login, index → manifest → blobs, each by its digest. */
import { ContainerError } from '../errors.ts'
import { download } from './fetch.ts'
import { type HttpOptions, type HttpResponse, readBody, refused, request } from './http.ts'
import { checkDigest, DOCUMENT_MAX, INDEX_TYPES, MANIFEST_TYPES } from './manifest.ts'
import type { Progress } from './template.ts'

export interface Reference {
  readonly registry: string
  readonly repository: string
  readonly tag: string
  /** Hexadecimal; when it is there, it is what counts. */
  readonly sha256: string | undefined
}

export interface RegistryOptions extends HttpOptions {
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** Docker's names: what has no host is theirs, and lives under another name. */
const DOCKER = 'docker.io'
const DOCKER_HOST = 'registry-1.docker.io'

/** Reads `host[:port]/name[:tag][@sha256:…]`, with `docker://` before it or not. */
export function parseReference(text: string): Reference {
  const [path = '', digest] = text.replace(/^docker:\/\//, '').split('@')
  const [, first = '', rest] = /^([^/]+)(?:\/(.+))?$/.exec(path) ?? []
  const isHost = rest !== undefined && (/[.:]/.test(first) || first === 'localhost')
  const [name = '', tag = 'latest'] = (isHost ? (rest as string) : path).split(':')
  const registry = isHost ? first : DOCKER
  const repository = registry === DOCKER && !name.includes('/') ? `library/${name}` : name
  const sha256 = digest?.replace(/^sha256:/, '')
  const isSound = /^[a-z0-9]+((\.|__?|-+|\/)[a-z0-9]+)*$/.test(repository) && /^\w[\w.-]{0,127}$/.test(tag)
  if (
    isSound &&
    /^(\[[0-9a-f:]+\]|[\w.-]+)(:\d{1,5})?$/.test(registry) &&
    (sha256 === undefined || /^[0-9a-f]{64}$/.test(sha256))
  ) {
    return { registry, repository, tag, sha256 }
  }
  throw new ContainerError('ERR_INVALID_OPTION', `Cannot read image reference "${text}"`, {
    hint: 'write [docker://][host[:port]/]name[:tag][@sha256:…]',
  })
}

export class Registry {
  readonly #base: string
  readonly #options: RegistryOptions
  #authorization: string | undefined

  constructor(reference: Reference, options: RegistryOptions) {
    const host = reference.registry === DOCKER ? DOCKER_HOST : reference.registry
    // A registry on this machine has no certificate as a rule; http.ts lets plain http go nowhere else unasked.
    const isLocal = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(host)
    this.#base = `${isLocal || options.insecure ? 'http' : 'https'}://${host}/v2/${reference.repository}`
    this.#options = options
  }

  /** A manifest or index, by tag or digest, with the digest it has. */
  async document(name: string): Promise<Buffer> {
    const response = await this.#ask(`${this.#base}/manifests/${name}`, [...INDEX_TYPES, ...MANIFEST_TYPES].join(', '))
    if (response.status !== 200) throw refused(response)
    const bytes = await readBody(response, DOCUMENT_MAX, this.#options.signal)
    return name.startsWith('sha256:') ? checkDigest(bytes, name.slice('sha256:'.length), 'manifest') : bytes
  }

  /** Downloads a blob into a directory; gives its path. */
  async blob(sha256: string, size: number, directory: string): Promise<string> {
    const url = `${this.#base}/blobs/sha256:${sha256}`
    // Asked for once without reading, so that a login that has run out is renewed before the download.
    const probe = await this.#ask(url, '*/*', 'HEAD')
    probe.body.destroy()
    const headers = this.#authorization === undefined ? {} : { authorization: this.#authorization }
    return (await download(url, directory, { ...this.#options, headers, sha256, size })).path
  }

  async #ask(url: string, accept: string, method = 'GET'): Promise<HttpResponse> {
    const send = (): Promise<HttpResponse> => {
      const login = this.#authorization === undefined ? {} : { authorization: this.#authorization }
      return request(url, { ...this.#options, method, headers: { accept, ...login } })
    }
    const response = await send()
    if (response.status !== 401) return response
    response.body.destroy()
    this.#authorization = await this.#login(String(response.headers['www-authenticate'] ?? ''))
    return send()
  }

  /** Answers a challenge (RFC 9110 §11.6.1; the token protocol of the distribution project). */
  async #login(challenge: string): Promise<string> {
    const [, scheme = '', rest = ''] = /^(\w+)\s*(.*)$/.exec(challenge) ?? []
    const { username, password = '' } = this.#options
    const basic =
      username === undefined ? undefined : `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
    if (scheme.toLowerCase() === 'basic' && basic !== undefined) return basic
    const fields = new Map(
      [...rest.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key as string, value as string]),
    )
    const realm = fields.get('realm')
    if (scheme.toLowerCase() !== 'bearer' || realm === undefined || !URL.canParse(realm)) throw this.#refusedLogin()
    const url = new URL(realm)
    for (const key of ['service', 'scope']) if (fields.has(key)) url.searchParams.set(key, fields.get(key) as string)
    const headers = basic === undefined ? {} : { authorization: basic }
    const response = await request(url.href, { ...this.#options, headers })
    if (response.status !== 200) throw this.#refusedLogin()
    const answer = JSON.parse(
      (await readBody(response, DOCUMENT_MAX, this.#options.signal)).toString('utf8'),
    ) as Record<string, unknown>
    const token = answer.token ?? answer.access_token
    if (typeof token !== 'string') throw this.#refusedLogin()
    return `Bearer ${token}`
  }

  #refusedLogin(): ContainerError {
    return new ContainerError('ERR_NETWORK', `Cannot pull from "${this.#base}": it wants a login`, {
      hint: 'give "username" and "password", and check the name of the image',
    })
  }
}
