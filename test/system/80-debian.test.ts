// A real distribution: Debian, booted by its own systemd to a settled state, entered, and shut down in order.
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Container } from '../../lib/index.ts'
import { startContainer } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { directory } from '../support/rootfs.ts'

/** The tree, made once by scripts/debian-rootfs, or why there is none. */
function tree(): string | { skip: string } {
  if (needsRoot) return { skip: needsRoot }
  try {
    const script = fileURLToPath(new URL('../../scripts/debian-rootfs', import.meta.url))
    return execFileSync(script, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  } catch (error) {
    return { skip: `needs a Debian tree: ${(error as { stderr?: string }).stderr?.trim().split('\n').at(-1)}` }
  }
}

async function settled(container: Container): Promise<string> {
  for (let tries = 0; tries < 240; tries++) {
    const { stdout } = await container.attach(['systemctl', 'is-system-running'], { reject: false })
    if (/^(running|degraded|maintenance)/.test(stdout)) return stdout.trim()
    await sleep(500)
  }
  return 'never settled'
}

const debian = tree()

t.test(
  'Debian by its own systemd',
  { skip: typeof debian === 'string' ? false : debian.skip, timeout: 240_000 },
  async t => {
    const copy = `${directory(t)}/tree`
    execFileSync('cp', ['-a', '--reflink=auto', debian as string, copy])
    const { container } = await startContainer(t, { rootfs: copy })
    t.match(await settled(container), /^(running|degraded)$/, 'it has settled')
    t.comment((await container.attach(['systemctl', '--failed', '--no-legend'])).stdout)
    t.match(await container.attach(['systemd-detect-virt']), { stdout: 'lxc\n' })
    const { stdout } = await container.attach(
      ['systemctl', 'show', 'console-getty.service', '--property=ControlGroup'],
      { reject: false },
    )
    t.match(stdout, /console-getty|ControlGroup=/, 'its services have cgroups of their own')
    await container.stop({ timeout: 60_000 })
    t.match(await container.exited(), { code: 0, signal: null }, 'it has shut itself down')
  },
)
