/** OCI layouts by hand, so that they can be wrong. */
import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export const hashOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
export const GO = process.arch === 'x64' ? 'amd64' : process.arch

export interface Fixture {
  layers: Buffer[]
  config?: object
  platforms?: { os: string; architecture: string }[]
  change?(manifest: Record<string, unknown>): void
}

/** Writes a layout into a directory; gives it back. */
export async function layout(path: string, fixture: Fixture): Promise<string> {
  await mkdir(join(path, 'blobs/sha256'), { recursive: true })
  const put = async (bytes: Buffer, mediaType: string): Promise<Record<string, unknown>> => {
    await writeFile(join(path, 'blobs/sha256', hashOf(bytes)), bytes)
    return { mediaType, digest: `sha256:${hashOf(bytes)}`, size: bytes.length }
  }
  const config = {
    architecture: GO,
    os: 'linux',
    created: '2026-01-02T03:04:05Z',
    config: fixture.config ?? {},
    rootfs: { type: 'layers', diff_ids: [] },
  }
  const manifest: Record<string, unknown> = {
    schemaVersion: 2,
    config: await put(Buffer.from(JSON.stringify(config)), 'application/vnd.oci.image.config.v1+json'),
    layers: await Promise.all(fixture.layers.map(layer => put(layer, 'application/vnd.oci.image.layer.v1.tar+gzip'))),
  }
  fixture.change?.(manifest)
  const described = await put(Buffer.from(JSON.stringify(manifest)), 'application/vnd.oci.image.manifest.v1+json')
  const platforms = fixture.platforms ?? [{ os: 'linux', architecture: GO }]
  const manifests = platforms.map(platform => ({
    ...described,
    platform,
    annotations: { 'org.opencontainers.image.ref.name': 'latest' },
  }))
  await writeFile(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }))
  await writeFile(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  return path
}
