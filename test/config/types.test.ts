// A wrong key or word is a compile error. Each line below a @ts-expect-error fails the type check when it compiles.
import t from 'tap'
import { Config, type ConfigKey, type ConfigValue } from '../../lib/config/config.ts'
import type { IdMapLine } from '../../lib/config/idmap.ts'
import type { MountLine } from '../../lib/config/mount_entry.ts'
import type { ConfigInput, ContainerPattern, NamesOf } from '../../lib/config/names.ts'
import type { ResourceLimit } from '../../lib/config/prlimit.ts'

/** Exactly the same type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const yes = <_ extends true>(): void => {}

/** Keys whose value could be anything; none may be. */
type Untyped = { [P in ContainerPattern]: unknown extends ConfigValue<NamesOf<P>> ? P : never }[ContainerPattern]
yes<Same<Untyped, never>>()
/** Keys that take any text, number or list; only `set` with a wrong word would tell. */
type Loose = { [P in ContainerPattern]: string | number extends ConfigInput<NamesOf<P>> ? P : never }[ContainerPattern]
yes<Same<Loose, never>>()

/** Never called: only its types count. */
export function compiles(config: Config): void {
  config.set('lxc.tty.max', 4).set('lxc.tty.max', '4')
  config.set('lxc.autodev', true).set('lxc.autodev', 0)
  config.set('lxc.net.0.type', 'veth').set(`lxc.net.${3}.veth.mode`, 'router')
  config.set('lxc.cap.drop', 'sys_time').set('lxc.cap.drop', ['chown', 'kill']).set('lxc.cap.drop', 'chown kill')
  config.set('lxc.signal.halt', 'SIGTERM').set('lxc.signal.halt', 'SIGRTMIN+3').set('lxc.signal.halt', 15)
  config.set('lxc.prlimit.nofile', '1:unlimited').set('lxc.prlimit.7', 5)
  config.set('lxc.mount.auto', 'cgroup:rw:force').set('lxc.mount.auto', ['proc', 'sys:ro'])
  config.set('lxc.sysctl.net.ipv4.ip_forward', '1').set('lxc.cgroup2.memory.max', '1G')
  config.set('lxc.idmap', 'u 0 100000 65536').set('lxc.arch', 'x86_64').set('lxc.hook', '')
  config.clear('lxc.net.0').clear('lxc.hook').clear()

  // @ts-expect-error
  config.set('lxc.utsname', 'old name')
  // @ts-expect-error
  config.set('lxc.net.0.typ', 'veth')
  // @ts-expect-error
  config.set('lxc.net.x.type', 'veth')
  // @ts-expect-error
  config.set('lxc.net.0.type', 'bridge')
  // @ts-expect-error
  config.set('lxc.autodev', 'yes')
  // @ts-expect-error
  config.set('lxc.tty.max', 'many')
  // @ts-expect-error
  config.set('lxc.cap.drop', 'CAP_CHOWN')
  // @ts-expect-error
  config.set('lxc.cap.drop', ['chwon'])
  // @ts-expect-error
  config.set('lxc.signal.halt', 'TERM')
  // @ts-expect-error
  config.set('lxc.prlimit.nofiles', 5)
  // @ts-expect-error
  config.set('lxc.mount.auto', 'proc:ro')
  // @ts-expect-error
  config.set('lxc.namespace.share.network', '1')
  // @ts-expect-error
  config.set('lxc.hook', '/bin/true')
  // @ts-expect-error
  config.get('lxc.foo')

  yes<Same<ConfigValue<'lxc.tty.max'>, number>>()
  yes<Same<ConfigValue<'lxc.autodev'>, boolean>>()
  yes<Same<ConfigValue<'lxc.uts.name'>, string | undefined>>()
  yes<Same<ConfigValue<'lxc.idmap'>, readonly IdMapLine[]>>()
  yes<Same<ConfigValue<'lxc.mount.entry'>, readonly MountLine[]>>()
  yes<Same<ConfigValue<'lxc.prlimit.nofile'>, ResourceLimit | undefined>>()
  yes<Same<ConfigValue<'lxc.net.0.macvlan.mode'>, 'private' | 'vepa' | 'bridge' | 'passthru'>>()
  yes<Same<ConfigValue<'lxc.cgroup.dir'>, string | undefined>>()
  yes<Same<ConfigValue<'lxc.cgroup.cpu.shares'>, readonly string[]>>()
  yes<Same<ReturnType<typeof config.get<'lxc.cap.drop'>>, string[] | undefined>>()
  yes<Same<ReturnType<typeof config.get<'lxc.uts.name'>>, string | undefined>>()
}

t.test('the interface of the contract', async t => {
  // What a program written against the contract may do with any config.
  const contract: {
    get(key: ConfigKey): string | string[] | undefined
    clear(key?: string): Config
    keys(prefix?: string): string[]
    toString(): string
    load(file: string): Promise<void>
    save(file?: string): Promise<void>
  } = new Config()
  t.same(contract.keys(), [])
})
