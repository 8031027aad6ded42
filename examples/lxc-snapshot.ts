#!/usr/bin/env node
/** lxc-snapshot(1) */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { defineTool, main } from '../lib/tools/tool.ts'

export const tool = defineTool({
  name: 'lxc-snapshot',
  summary: 'Makes a snapshot of a stopped container, or lists, restores or destroys snapshots.',
  options: {
    list: { short: 'L', help: 'list them' },
    showcomments: { short: 'C', help: 'with their comments' },
    comment: { short: 'c', value: 'FILE', help: 'what the new snapshot is about' },
    restore: { short: 'r', value: 'SNAPSHOT', help: 'put the container back into that state' },
    newname: { short: 'N', value: 'NAME', help: 'with --restore: make a new container of it' },
    destroy: { short: 'd', value: 'SNAPSHOT', help: 'destroy it; ALL: all of them' },
  },
  examples: [
    ['lxc-snapshot web', 'makes one, snap0 and so on'],
    ['lxc-snapshot web -L -C', 'lists them with their comments'],
    ['lxc-snapshot web -r snap0', 'puts the container back'],
    ['lxc-snapshot web -r snap0 -N web-before', 'makes a container of it'],
    ['lxc-snapshot web -d ALL', 'destroys all'],
  ],
  async run({ options, open, say }) {
    const { name, path: lxcpath, snapshots } = await open()
    if (options.restore !== undefined) await snapshots.restore(options.restore, options.newname)
    else if (options.destroy?.startsWith('ALL')) await snapshots.destroyAll()
    else if (options.destroy !== undefined) await snapshots.destroy(options.destroy)
    else if (options.list || options.showcomments) {
      const all = await snapshots.list()
      if (all.length === 0) say('No snapshots')
      for (const { name: snapshot, at, comment } of all) {
        say(`${snapshot} (${path.join(lxcpath, name, 'snaps')}) ${formatTime(at)}`)
        if (options.showcomments && comment !== undefined) say(comment.trimEnd())
      }
    } else {
      const comment = options.comment === undefined ? {} : { comment: await readFile(options.comment, 'utf8') }
      await snapshots.create(comment)
    }
    return 0
  },
})

/** `2026:01:31 23:59:59`, in local time, as LXC writes it. */
function formatTime(at: Date): string {
  const two = (number: number) => String(number).padStart(2, '0')
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join(':')
  return `${day} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':')}`
}

main(import.meta, tool)
