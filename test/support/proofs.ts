/**
 * Which test proves the effect of each key in a running container, or why none does yet. docs/keys.md is made of it, and
 * test/spec/effects.test.ts fails for a key that is missing here or whose test is not where it is said to be.
 */
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import type { Key } from '../../lib/config/key.ts'
import { ALL_KEYS, type Pattern, SAMPLES } from '../config/samples.ts'
import { ROWS } from './keys.ts'

/** A file of test/, and words of it that name the proof. */
export interface Proof {
  readonly file: string
  readonly words: string
}

const by = (file: string, words: string, keys: readonly Pattern[]): [Pattern, Proof][] =>
  keys.map(key => [key, { file, words }])
const hook = (name: string) => `lxc.hook.${name}` as Pattern
const net = (name: string) => `lxc.net.[i].${name}` as Pattern

export const PROOFS: ReadonlyMap<Pattern, Proof> = new Map([
  ...by('system/50-hooks.test.ts', 'each at its time and place', [
    ...['pre-start', 'pre-mount', 'mount', 'autodev', 'start-host', 'start', 'stop', 'post-stop'].map(hook),
  ]),
  ...by('system/50-callbacks.test.ts', 'all ten, in their order', ['lxc.hook.clone', 'lxc.hook.destroy']),
  ...by('system/50-hooks.test.ts', 'version 1 tells by variables', ['lxc.hook.version', 'lxc.environment.hooks']),
  ...by('system/50-hooks.test.ts', "clear('lxc.hook')", ['lxc.hook']),
  ...by('system/51-inside.test.ts', 'namespaces of others are joined', ['lxc.namespace.share.*']),
  ...by('system/40-crash.test.ts', 'lives on when it is meant to', ['lxc.monitor.signal.pdeath']),
  ...by('system/50-keys.test.ts', 'signals of a config', ['lxc.signal.halt', 'lxc.signal.reboot', 'lxc.signal.stop']),
  ...by('system/50-keys.test.ts', 'what the console says is kept', [
    'lxc.console.logfile',
    'lxc.console.rotate',
    'lxc.console.size',
    'lxc.console.buffer.size',
  ]),
  ...by('system/50-keys.test.ts', 'the monitor ends elsewhere', ['lxc.cgroup.dir.monitor.pivot']),
  ...by('system/50-keys-life.test.ts', "t.test('lxc.execute.cmd'", ['lxc.execute.cmd']),
  ...by('system/50-keys-life.test.ts', "t.test('lxc.hook.clone and lxc.hook.destroy'", [
    hook('clone'),
    hook('destroy'),
  ]),
  ...by('system/50-keys-life.test.ts', "t.test('lxc.rootfs.managed'", ['lxc.rootfs.managed']),
  ...by('system/50-keys-life.test.ts', "t.test('lxc.start.auto", [
    'lxc.start.auto',
    'lxc.start.order',
    'lxc.start.delay',
    'lxc.group',
  ]),
  ...by('system/50-keys-host.test.ts', "t.test('lxc.log.level and", ['lxc.log.level', 'lxc.log.file']),
  ...by('system/50-keys-host.test.ts', "t.test('lxc.log.syslog'", ['lxc.log.syslog']),
  ...by('system/50-keys-host.test.ts', "t.test('lxc.console.path'", ['lxc.console.path']),
  ...by('system/50-keys-host.test.ts', "t.test('lxc.seccomp.notify.proxy", [
    'lxc.seccomp.notify.proxy',
    'lxc.seccomp.notify.cookie',
  ]),
  ...by('system/50-keys-host.test.ts', "t.test('lxc.keyring.session'", ['lxc.keyring.session']),
  ...by('system/50-keys-host.test.ts', "t.test('lxc.seccomp.allow_nesting'", ['lxc.seccomp.allow_nesting']),
  ...by('system/50-keys-host.test.ts', "t.test('lxc.cgroup.relative'", ['lxc.cgroup.relative']),
  ...by('system/50-keys-host.test.ts', "t.test('lxc.sched.core'", ['lxc.sched.core']),
  ...by('system/50-keys-host.test.ts', "t.test('lxc.selinux.context", [
    'lxc.selinux.context',
    'lxc.selinux.context.keyring',
  ]),
  ...by('system/52-apparmor.test.ts', 'unconfined, nesting, raw rules', [
    'lxc.apparmor.profile',
    'lxc.apparmor.allow_nesting',
    'lxc.apparmor.raw',
  ]),
  ...by('system/52-apparmor.test.ts', 'allow_incomplete', ['lxc.apparmor.allow_incomplete']),
  ...by('system/50-network.test.ts', "link: 'cnet0'", [net('link')]),
  ...by('system/50-network.test.ts', 'changes while it runs', [
    'caisson.net.[i].limit.ingress',
    'caisson.net.[i].limit.egress',
  ]),
  ...by('system/55-ephemeral.test.ts', 'is gone when it is stopped', ['lxc.ephemeral']),
  ...by('system/55-ephemeral.test.ts', 'changes in memory', ['caisson.overlay.tmpfs']),
  ...by('system/50-storage.test.ts', 'its file system is the one', ['caisson.rootfs.fstype']),
  ...by('system/55-network-kinds.test.ts', 'macvlan', [net('macvlan.mode')]),
  ...by('system/55-network-kinds.test.ts', 'a router: no bridge', [net('veth.mode'), net('l2proxy')]),
  ...by('system/55-network-kinds.test.ts', 'and scripts', [net('script.up'), net('script.down')]),
  ...by('system/50-keys-vlan.test.ts', 'lxc.net.[i].ipvlan.mode and', [net('ipvlan.mode'), net('ipvlan.isolation')]),
  ...by('system/50-keys-vlan.test.ts', "'lxc.net.[i].vlan.id'", [net('vlan.id')]),
  ...by('system/50-keys-vlan.test.ts', 'lxc.net.[i].veth.vlan.id and', [
    net('veth.vlan.id'),
    net('veth.vlan.tagged.id'),
  ]),
  ...by('system/50-keys-global.test.ts', "t.test('lxc.lxcpath and lxc.default_config'", [
    'lxc.lxcpath',
    'lxc.default_config',
  ]),
  ...by('system/50-keys-global.test.ts', "'lxc.cgroup.pattern and lxc.cgroup.use'", [
    'lxc.cgroup.pattern',
    'lxc.cgroup.use',
  ]),
  ...by('system/50-keys-global.test.ts', "t.test('lxc.bdev.*'", [
    'lxc.bdev.lvm.vg',
    'lxc.bdev.lvm.thin_pool',
    'lxc.bdev.zfs.root',
    'lxc.bdev.rbd.rbdpool',
    'lxc.bdev.rbd.rbduser',
  ]),
  ...ROWS.flatMap(({ key }) => by('support/keys.ts', key.replace(/^lxc\.net\.\[i\]\./, ''), [key])),
])

/** What no test shows in a running container yet, and why. It is to stay empty. */
export const UNPROVEN: Readonly<Partial<Record<Pattern, string>>> = {}

/** What is true of a key. That it is typed is for the compiler to say (test/config/types.test.ts). */
export interface Examined {
  readonly parsed: boolean
  readonly printed: boolean
  /** The proof of its effect is where it is said to be. */
  readonly proven: boolean
}

/** Whether every right sample of a key is read, and printed as it should be, and whether its proof is there. */
export function examine(name: Pattern): Examined {
  const { parse, print, verbatim } = (ALL_KEYS[name] as Key).kind
  const samples = SAMPLES[name].right.map(sample => (typeof sample === 'string' ? [sample, sample] : sample))
  const values = samples.map(([text]) => attempt(() => ({ value: parse(text) })))
  const isPrinted = ([, canonical]: readonly string[], index: number): boolean => {
    const read = values[index]
    if (read === undefined) return false
    // What is kept verbatim is compared by what it means.
    return (
      print(read.value) === canonical || (verbatim === true && isDeepStrictEqual(parse(print(read.value)), read.value))
    )
  }
  const proof = PROOFS.get(name)
  const proven = proof && readFileSync(new URL(`../${proof.file}`, import.meta.url), 'utf8').includes(proof.words)
  return { parsed: !values.includes(undefined), printed: samples.every(isPrinted), proven: proven === true }
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}
