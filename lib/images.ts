/** Images: LXD's image store without its daemon. Bring them in, name them, serve them, make containers of them. */

import { refuseRunning } from './clone.ts'
import { Container } from './container.ts'
import type { CreateOptions } from './create.ts'
import { ContainerError } from './errors.ts'
import {
  type BringOptions,
  exportImage,
  type ImagePaths,
  importImage,
  type PublishOptions,
  publishTree,
} from './image/bring.ts'
import { importOci, type OciOptions, pullImage } from './image/oci.ts'
import type { ImageRecord } from './image/record.ts'
import {
  type CopyOptions,
  copyFromDownloads,
  copyFromStreams,
  type DownloadChoice,
  refreshImages,
} from './image/remote.ts'
import { type Served, serveImages } from './image/serve.ts'
import { type Alias, type ImageFilter, ImageStore } from './image/store.ts'
import { contentOf } from './rootfs.ts'
import { snapshotConfig } from './snapshot.ts'
import { withView } from './storage/view.ts'
import { placeOf } from './store.ts'

export class Images {
  readonly #store: ImageStore

  private constructor(store: ImageStore) {
    this.#store = store
  }

  /** Opens a store; default: /var/lib/caisson/images, or below XDG_DATA_HOME for who is not root. It is made if need be. */
  static async open(path?: string): Promise<Images> {
    return new Images(await ImageStore.open(path))
  }

  /** Where the store is: what the option `store` of templates takes. */
  get path(): string {
    return this.#store.path
  }

  /** All images that a filter lets through, the newest first. */
  list(filter: ImageFilter = {}): Promise<ImageRecord[]> {
    return this.#store.list(filter)
  }

  /** One image by alias, fingerprint, or the beginning of one. Throws ERR_IMAGE_NOT_FOUND. */
  get(name: string): Promise<ImageRecord> {
    return this.#store.get(name)
  }

  /** Imports a unified image, a directory with the two halves of a split one, or the halves. */
  import(source: string | ImagePaths, options: BringOptions = {}): Promise<ImageRecord> {
    return importImage(this.#store, source, options)
  }

  /** Imports an OCI layout or an archive of one. */
  importOci(path: string, options: OciOptions & { tag?: string } = {}): Promise<ImageRecord> {
    return importOci(this.#store, path, options)
  }

  /** Pulls an image of an OCI registry. */
  pull(reference: string, options: OciOptions = {}): Promise<ImageRecord> {
    return pullImage(this.#store, reference, options)
  }

  /** Copies an image of a simplestreams server by alias, or of a server of LXC's download protocol by its four words. */
  copy(server: string, image: string | DownloadChoice, options: CopyOptions = {}): Promise<ImageRecord> {
    if (typeof image === 'string') return copyFromStreams(this.#store, server, image, options)
    return copyFromDownloads(this.#store, server, image, options)
  }

  /** Writes the files of an image into a directory; gives their paths. */
  export(name: string, directory: string): Promise<string[]> {
    return exportImage(this.#store, name, directory)
  }

  /** Makes an image of a stopped container, or of a snapshot of one, which may run meanwhile. */
  async publish(container: Container, options: PublishOptions & { snapshot?: string } = {}): Promise<ImageRecord> {
    const { snapshot, ...rest } = options
    const place = placeOf(container.name, container.path)
    if (snapshot === undefined) refuseRunning(place, 'publish')
    const config = snapshot === undefined ? container.config : await snapshotConfig(place, snapshot)
    const content = contentOf(config)
    if (content === undefined) {
      throw new ContainerError('ERR_ROOTFS_MISSING', `Cannot publish container "${container.name}": it has no files`, {
        container: container.name,
        hint: "it shares the host's root",
      })
    }
    return withView(content, 'read', ({ path, shift, through }) =>
      publishTree(this.#store, path, { ...rest, shift, through }),
    )
  }

  /** Removes an image. Throws ERR_CONTAINER_BUSY while containers stand on it. */
  remove(name: string): Promise<void> {
    return this.#store.remove(name)
  }

  aliases(): Promise<Alias[]> {
    return this.#store.aliases()
  }

  setAlias(name: string, image: string, options: { description?: string; replace?: boolean } = {}): Promise<void> {
    return this.#store.setAlias(name, image, options)
  }

  removeAlias(name: string): Promise<void> {
    return this.#store.removeAlias(name)
  }

  /** Changes properties; undefined removes one. */
  setProperties(name: string, properties: Readonly<Record<string, string | undefined>>): Promise<ImageRecord> {
    return this.#store.setProperties(name, properties)
  }

  /** Looks for newer versions of those images that want them, or of one; aliases move to them. */
  refresh(options: CopyOptions & { image?: string } = {}): Promise<ImageRecord[]> {
    return refreshImages(this.#store, options)
  }

  /** Removes cached images that were not used for 10 days (or `days`), and what dead processes left. Gives what went. */
  prune(options: { days?: number } = {}): Promise<string[]> {
    return this.#store.prune(options)
  }

  /** Adds images to a directory that any static web server can serve to LXD, Incus, LXC and this library. */
  serve(directory: string, images: readonly Served[]): Promise<void> {
    return serveImages(this.#store, directory, images)
  }

  /** Makes a container of an image: on the image's tree with `backend: 'overlay'` (the default for root), else of a copy. */
  launch(image: string, name: string, options: Omit<CreateOptions, 'template'> = {}): Promise<Container> {
    const template = { name: 'local', image, store: this.#store.path }
    const backend = options.backend ?? (process.geteuid?.() === 0 ? 'overlay' : 'dir')
    return Container.create(name, { ...options, backend, template })
  }
}
