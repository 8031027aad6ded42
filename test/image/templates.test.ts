/** Templates that use the host: its own system, a template program by LXC's convention, Debian's builders. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createRootfs, type TemplateContext } from '../../lib/image/template.ts'
import { findTemplate } from '../../lib/image/templates.ts'

const rooted = { skip: process.geteuid?.() === 0 ? false : 'needs root: owners' }
const shift = [{ type: 'both', container: 0, host: 600000, range: 65536 }] as const
const base = await mkdtemp(join(tmpdir(), 'caisson-templates-'))
t.teardown(() => rm(base, { recursive: true }))
let serial = 0

async function context(
  options: Record<string, unknown>,
  more: Partial<TemplateContext> = {},
): Promise<TemplateContext> {
  const rootfs = join(base, String(++serial), 'rootfs')
  await mkdir(rootfs, { recursive: true })
  return { name: 'web', rootfs, options, ...more }
}

t.test('N9: host shows programs read-only and nothing else', async t => {
  const made = await context({})
  const { config } = await createRootfs(findTemplate('host'), made)
  t.ok(config.length > 0)
  for (const [key, entry] of config) {
    const [source = '', target = '', , options = ''] = entry.split(' ')
    t.equal(key, 'lxc.mount.entry')
    t.ok(options.split(',').includes('ro') && options.split(',').includes('nosuid'), entry)
    t.ok(
      source.startsWith('/usr') ||
        source.startsWith('/opt') ||
        source.startsWith('/etc/') ||
        /^\/(s?bin|lib\w*)$/.test(source),
      source,
    )
    t.notOk(/passwd|shadow|ssh/.test(source))
    if (!options.includes('create=')) t.ok((await lstat(join(made.rootfs, target))).isDirectory())
  }
  t.equal((await stat(join(made.rootfs, 'tmp'))).mode & 0o1777, 0o1777 & ~process.umask())
  t.match(await readFile(join(made.rootfs, 'etc/passwd'), 'utf8'), /^root:/)
})

const PROGRAM = `#!/bin/sh
for arg; do case $arg in --path=*) path=\${arg#*=};; --name=*) name=\${arg#*=};; --rootfs=*) rootfs=\${arg#*=};; --fail) echo no luck >&2; exit 3;; esac; done
mkdir "$rootfs/etc"; echo "$name" >"$rootfs/etc/hostname"; env >"$rootfs/etc/env"; shift 3; echo "$@" >"$rootfs/etc/args"
printf '# comment\\nlxc.rootfs.path = dir:%s\\nlxc.mount.fstab = %s/fstab\\nlxc.tty.max=2\\n' "$rootfs" "$path" >>"$path/config"
`

t.test('a template program is called as lxc-create calls it', async t => {
  const program = join(base, 'lxc-mine')
  await writeFile(program, PROGRAM, { mode: 0o755 })
  const made = await context({ args: ['--release', 'a b'] })
  process.env.SECRET_OF_THE_CALLER = 'x'
  const { config } = await createRootfs(findTemplate(program), made)
  t.match(config, [
    ['lxc.mount.fstab', /fstab$/],
    ['lxc.tty.max', '2'],
  ])
  t.equal(await readFile(join(made.rootfs, 'etc/args'), 'utf8'), '--release a b\n')
  t.notMatch(await readFile(join(made.rootfs, 'etc/env'), 'utf8'), /SECRET/)
  t.same(await readdir(join(made.rootfs, '..')), ['rootfs'], 'nothing else stays')
  const failing = await context({ args: ['--fail'] })
  await t.rejects(createRootfs(findTemplate(program), failing), { code: 'ERR_TOOL_FAILED', message: /no luck/ })
  t.same(await readdir(join(failing.rootfs, '..')), ['rootfs'])
  await t.rejects(createRootfs(findTemplate(program), await context({ args: 'x' })), { code: 'ERR_INVALID_OPTION' })
  t.test('and its tree is shifted', rooted, async t => {
    const shifted = await context({}, { shift })
    await createRootfs(findTemplate(program), shifted)
    t.equal((await stat(join(shifted.rootfs, 'etc/hostname'))).uid, 600000)
  })
})

t.test('directory copies are shifted, too', rooted, async t => {
  const source = await context({})
  await writeFile(join(source.rootfs, 'file'), 'x')
  const made = await context({ path: source.rootfs }, { shift })
  await createRootfs(findTemplate('directory'), made)
  t.equal((await stat(join(made.rootfs, 'file'))).uid, 600000)
})

t.test(
  "LXC's own templates run",
  { skip: existsSync('/usr/share/lxc/templates/lxc-local') ? rooted.skip : 'needs lxc' },
  async t => {
    const tree = await context({})
    await mkdir(join(tree.rootfs, 'dev'))
    await writeFile(join(tree.rootfs, 'hello'), 'x')
    const at = join(base, 'pair')
    await mkdir(join(at, 'meta'), { recursive: true })
    await writeFile(join(at, 'meta/config'), 'lxc.include = LXC_TEMPLATE_CONFIG/common.conf\n')
    execFileSync('tar', ['-C', tree.rootfs, '-cJf', join(at, 'rootfs.tar.xz'), '.'])
    execFileSync('tar', ['-C', join(at, 'meta'), '-cJf', join(at, 'meta.tar.xz'), 'config'])
    const files = { metadata: join(at, 'meta.tar.xz'), fstree: join(at, 'rootfs.tar.xz') }
    const theirs = await context({ args: ['--metadata', files.metadata, '--fstree', files.fstree] })
    const ours = await context({ ...files, store: join(base, 'store') })
    const [a, b] = [
      await createRootfs(findTemplate('/usr/share/lxc/templates/lxc-local'), theirs),
      await createRootfs(findTemplate('local'), ours),
    ]
    t.ok(existsSync(join(theirs.rootfs, 'hello')) && existsSync(join(ours.rootfs, 'hello')))
    const includes = (config: typeof a.config) => config.filter(([key]) => key === 'lxc.include')
    t.same(includes(b.config), includes(a.config), 'the same image says the same to both')
  },
)

t.test('builders check what they are given before anything runs', async t => {
  for (const name of ['mmdebstrap', 'debootstrap']) {
    await t.rejects(createRootfs(findTemplate(name), await context({})), {
      code: 'ERR_INVALID_OPTION',
      hint: /bookworm/,
    })
    const odd = await context({ suite: 'bookworm', include: 'a b; rm -rf /' })
    await t.rejects(createRootfs(findTemplate(name), odd), { code: 'ERR_INVALID_OPTION' })
    for (const option of ['suite', 'mirror']) {
      const words = await context({ suite: 'bookworm', [option]: '--foreign' })
      await t.rejects(createRootfs(findTemplate(name), words), { code: 'ERR_INVALID_OPTION' }, `${option} is no option`)
    }
  }
})
