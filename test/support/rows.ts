/** Shows the rows of test/support/keys.ts: a container for each group of them, and one without any. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Container } from '../../lib/index.ts'
import { startContainer } from './container.ts'
import { FILES, ROWS, type Row, type Seen } from './keys.ts'
import { parseReport } from './probe.ts'
import { directory, rootfs } from './rootfs.ts'
import { until } from './until.ts'

/** A root file system whose init first writes down what it is. */
function reportingRoot(t: Test): string {
  const root = rootfs(t)
  const script = '/probe report "$@" > /tmp/new; mv /tmp/new /tmp/report; exec /probe init'
  rmSync(join(root, 'sbin/init'))
  writeFileSync(join(root, 'sbin/init'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return root
}

/** Reads a file that is about to be written. */
export async function soon(file: string): Promise<string> {
  await until(() => existsSync(file), `${file} is written`)
  return readFileSync(file, 'utf8')
}

async function look(container: Container): Promise<Seen> {
  const pid = (await container.initPid()) ?? 0
  const init = parseReport(await soon(`/proc/${pid}/root/tmp/report`))
  const run = async (...command: readonly string[]) => {
    const { stdout, exitCode } = await container.attach(command, { reject: false })
    return exitCode === 0 ? stdout.trim() : (exitCode ?? -1)
  }
  return { container, pid, init, run }
}

/** What a row sees; that there is nothing to be seen is an answer. */
async function seen(row: Row, by: Seen): Promise<unknown> {
  try {
    return await row.see(by)
  } catch (error) {
    return error
  }
}

/** Rows of the group `net` make interfaces on the host: they are for one of the test's own. */
export async function showRows(t: Test, wanted: (group: string) => boolean): Promise<void> {
  const at = directory(t)
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(at, name), text)
  const other = reportingRoot(t)
  writeFileSync(join(other, 'etc/proof'), '')
  const plain = await look((await startContainer(t, { rootfs: reportingRoot(t) })).container)
  const shown = ROWS.filter(({ group }) => wanted(group))
  for (const { key, skip } of shown) if (skip) t.pass(key, { skip })
  for (const group of new Set(shown.map(row => row.group))) {
    const rows = shown.filter(row => row.group === group && !row.skip)
    const config = rows.map(({ lines }) => lines.replaceAll('@/root', other).replaceAll('@', at)).join('')
    const without = await Promise.all(rows.map(row => seen(row, plain)))
    const { container } = await startContainer(t, { rootfs: reportingRoot(t), config })
    const by = await look(container)
    for (const [index, row] of rows.entries()) {
      t.strictSame(await seen(row, by), row.shows, row.key)
      t.notSame(without[index], row.shows, `${row.key} alone does it`)
    }
    await container.destroy({ force: true })
  }
}
