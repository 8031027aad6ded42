// AppArmor, where the kernel runs it (the VM lane): a profile for each container, in force at init, in attach, and gone at the end.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Config } from '../../lib/config/config.ts'
import { type AttachOptions, type Container, recover } from '../../lib/index.ts'
import { chooseProfile } from '../../lib/lsm/apparmor.ts'
import { errorOf, makeContainer, startContainer, tagOf } from '../support/container.ts'
import { needsRoot } from '../support/host.ts'
import { until } from '../support/until.ts'

const runs = existsSync('/sys/kernel/security/apparmor/profiles')
const skip = needsRoot || (runs ? false : 'this kernel does not run AppArmor: the VM lane does')

const labelOf = (pid: number) => readFileSync(`/proc/${pid}/attr/current`, 'utf8').trim()
const loaded = (tag: string) => readFileSync('/sys/kernel/security/apparmor/profiles', 'utf8').includes(tag)
const run = async (container: Container, script: string, options: AttachOptions = {}) =>
  container.attach(['sh', '-c', script], { reject: false, ...options })

t.test('a generated profile by default', { skip }, async t => {
  const { container, lxcpath } = await startContainer(t, { seccomp: false })
  const tag = `caisson.c.${tagOf(lxcpath)}`
  const init = (await container.initPid()) as number

  await t.test('init and what is attached are in it, read from outside (C1, C3)', async t => {
    t.equal(labelOf(init), `${tag} (enforce)`)
    t.equal((await run(container, 'cat /proc/self/attr/current')).stdout, `${tag} (enforce)\n`)
    await run(container, 'mount -t tmpfs none /proc; mkdir -p /proc/self/attr; echo x > /proc/self/attr/exec')
    const joined = container.attach(['sleep', '100'])
    await until(() => joined.pid, 'it runs')
    t.equal(labelOf(joined.pid), `${tag} (enforce)`)
    joined.kill('SIGKILL')
    await joined.then(
      () => undefined,
      () => undefined,
    )
    await run(container, 'umount /proc')
  })

  await t.test('denials are AppArmor’s: without it the same goes, or fails otherwise', async t => {
    const tries: [what: string, script: string][] = [
      ['a kernel file system (I15)', 'mount -t securityfs none /var'],
      ['procfs bound elsewhere', 'mount --rbind /proc /var'],
      ['policy files (C5)', 'echo x > /sys/kernel/security/apparmor/.load'],
    ]
    for (const [what, script] of tries) t.not((await run(container, script)).exitCode, 0, what)
    const bound = await run(container, 'mount --rbind /proc /var && umount -l /var', { elevated: ['lsm'] })
    t.equal(bound.exitCode, 0, 'control: out of the profile, procfs is bound')
  })

  await t.test('what a container needs is let through', async t => {
    for (const script of [
      'mount -t tmpfs none /var && umount /var',
      'echo 1 > /proc/sys/net/ipv4/ip_forward',
      'kill -0 1',
      'hostname x',
    ]) {
      t.equal((await run(container, script)).exitCode, 0, script)
    }
  })

  await container.stop({ force: true })
  await until(() => !loaded(tag), 'it is unloaded at the end')
})

t.test('the policy of the host is out of reach, by its usual place and another (C5)', { skip }, async t => {
  const policy = '/sys/kernel/security/apparmor'
  const profile = 'profile caisson_canary { }\n'
  const compiled = execFileSync('apparmor_parser', ['--skip-kernel-load', '--skip-cache', '--stdout'], {
    input: profile,
  })
  for (const idmap of [undefined, false] as const) {
    for (const at of ['sys/kernel/security', 'var']) {
      const made = await startContainer(t, {
        ...(idmap === false ? { idmap } : {}),
        config: `lxc.mount.entry = /sys/kernel/security ${at} none rbind 0 0\n`,
      })
      const tag = `caisson.c.${tagOf(made.lxcpath)}`
      writeFileSync(join(made.rootfs, 'policy'), compiled)
      if (at === 'var')
        t.equal((await run(made.container, 'test -e /var/apparmor/.load')).exitCode, 0, 'control: it is there')
      for (const script of [
        ...['.load', '.replace'].map(file => `cat /policy > /${at}/apparmor/${file}`),
        `printf %s ${tag} > /${at}/apparmor/.remove`,
        `echo 'changeprofile unconfined' > /proc/self/attr/current`,
        `mkdir /${at}/apparmor/policy/namespaces/canary`,
      ])
        t.not((await run(made.container, script)).exitCode, 0, `${idmap ?? 'mapped'}: ${script}`)
      t.notOk(loaded('caisson_canary'), 'nothing was loaded')
      t.ok(loaded(tag), 'and its own is where it was')
      await made.container.stop({ force: true })
    }
  }
  writeFileSync(`${policy}/.load`, compiled)
  t.ok(loaded('caisson_canary'), 'control: the host loads the same')
  writeFileSync(`${policy}/.remove`, 'caisson_canary')
})

t.test('left behind by a killed monitor, it is recovered', { skip }, async t => {
  const { container, lxcpath } = await startContainer(t)
  const tag = `caisson.c.${tagOf(lxcpath)}`
  const init = (await container.initPid()) as number
  const stat = readFileSync(`/proc/${init}/stat`, 'utf8')
  const monitor = Number(stat.slice(stat.lastIndexOf(')')).split(' ')[2])
  process.kill(monitor, 'SIGKILL')
  // Dead, whether or not somebody has waited for it yet.
  await until(() => !existsSync(`/proc/${init}/exe`), 'init ends with it')
  t.ok(loaded(tag), 'control: nobody unloads it')
  const recovered = await recover({ path: lxcpath })
  t.ok(recovered.some(one => one.what === 'apparmor' && one.name === tag))
  t.notOk(loaded(tag))
})

t.test('unconfined, nesting, raw rules, unknown profiles (C4)', { skip }, async t => {
  const { container, lxcpath } = await makeContainer(t)
  const { config } = container
  config.set('lxc.apparmor.profile', 'unconfined')
  await container.start()
  t.equal(labelOf((await container.initPid()) as number), 'unconfined')
  await container.stop({ force: true })
  config
    .clear('lxc.apparmor.profile')
    .set('lxc.apparmor.profile', 'generated')
    .set('lxc.apparmor.raw', 'deny /tmp/secret rw,')
  await container.start()
  t.not((await run(container, 'echo x > /tmp/secret')).exitCode, 0, 'a raw rule holds')
  await container.stop({ force: true })
  config.clear('lxc.apparmor.raw').set('lxc.apparmor.allow_nesting', 1)
  await container.start()
  t.match(labelOf((await container.initPid()) as number), `caisson.c.${tagOf(lxcpath)}//&:`)
  await container.stop({ force: true })
  config.clear('lxc.apparmor.allow_nesting').set('lxc.apparmor.raw', '} profile evil {')
  t.match(await errorOf(container.start()), { code: 'ERR_CONFIG_VALUE' })
  config.clear('lxc.apparmor.raw').clear('lxc.apparmor.profile').set('lxc.apparmor.profile', 'unconfined_x')
  t.match(await errorOf(container.start()), { code: 'ERR_FEATURE_MISSING', message: /not loaded/ })
})

t.test('nesting: the uncovered /proc is there for the kernel to see, not to be read', { skip }, async t => {
  const { container } = await startContainer(t, { profiles: ['nesting'] })
  const read = 'cat /dev/.lxc/proc/uptime'
  t.not((await run(container, read)).exitCode, 0)
  t.equal((await run(container, read, { elevated: ['lsm'] })).exitCode, 0, 'control: out of the profile it is read')
  const own = await run(container, 'unshare -U -r -m -p -f mount -t proc proc /proc')
  t.equal(own.exitCode, 0, 'a user namespace inside has a /proc of its own')
})

t.test('allow_incomplete: a kernel that does not mediate mounts', async t => {
  const features = { mount: false, unix: true, stack: true, mqueue: true, userns: true }
  const host = { features, loads: true, obstacle: undefined }
  const config = Config.parse('lxc.apparmor.profile = generated\n')
  t.throws(() => chooseProfile(config, 'tag', true, host), { code: 'ERR_FEATURE_MISSING', hint: /allow_incomplete/ })
  config.set('lxc.apparmor.allow_incomplete', 1)
  const { label, profile } = chooseProfile(config, 'tag', true, host)
  t.equal(label, 'tag', 'it goes without, by a profile that has no rules of mounts')
  t.notMatch(profile?.text, /^\s*(deny )?mount/m)
  await t.test('where mounts are mediated they still are', { skip }, async t => {
    const { container } = await startContainer(t, { config: 'lxc.apparmor.allow_incomplete = 1\n' })
    t.not((await run(container, 'mount --rbind /proc /var')).exitCode, 0)
  })
})
