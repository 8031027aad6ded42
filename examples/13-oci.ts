/**
 * An image of a registry: unpacked once into the store, then the root of a container and of sandboxes.
 *
 *   node --import=@tapjs/typescript/import examples/13-oci.ts [docker://alpine:3.20 | oci:DIRECTORY:TAG]
 */
import { Images, run } from '../lib/index.ts'

const [url = 'docker://docker.io/library/alpine:3.20'] = process.argv.slice(2)
const [, layout, tag] = /^oci:([^:]+):(.+)$/.exec(url) ?? []

const images = await Images.open()
const image = await (layout === undefined ? images.pull(url) : images.importOci(layout, { tag: tag as string }))
console.log('image', image.fingerprint.slice(0, 12), image.architecture)

const box = await images.launch(image.fingerprint, 'oci')
try {
  // One program under a tiny init, as `docker run` would have it; box.start() boots the image's own.
  console.log((await box.execute(['/bin/sh', '-c', 'echo "a container of the image, pid $$"'])).stdout.trim())
  const { stdout } = await run(['/bin/sh', '-c', 'echo "a sandbox of the image"'], {
    rootfs: { image: image.fingerprint },
  })
  console.log(stdout.trim())
} finally {
  await box.destroy({ force: true })
}
