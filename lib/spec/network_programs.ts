/** Programs of the host that have a part in a container's network: scripts of the config, Open vSwitch, helpers of users. */
import type { Config } from '../config/config.ts'
import type { HostProgram } from '../native/spec.ts'
import { type Address, formatAddress, type Subnet } from '../network/address.ts'
import { formatMac, hostName, type Owner } from '../network/names.ts'
import { helperFiles, type UserNetwork } from '../network/user.ts'

const PATH = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin'
const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`

/** lxc.net.N.script.up and .down: `exec SCRIPT NAME net up veth LINK PEER`, with version 1 in the environment only. */
export function hostScript(
  config: Config,
  index: number,
  moment: 'up' | 'down',
  owner: Owner,
  link: string,
): HostProgram[] {
  const script = config.value(`lxc.net.${index}.script.${moment}`)
  if (script === undefined) return []
  const version = config.value('lxc.hook.version')
  const type = config.value(`lxc.net.${index}.type`) ?? ''
  const peer = type === 'veth' ? (config.value(`lxc.net.${index}.veth.pair`) ?? hostName(owner)) : ''
  const words = [owner.container, 'net', moment, type, link, peer].filter(word => word !== '')
  const environment = {
    LXC_NAME: owner.container,
    LXC_HOOK_VERSION: String(version),
    LXC_HOOK_TYPE: moment,
    LXC_HOOK_SECTION: 'net',
    LXC_NET_TYPE: type,
    LXC_NET_PARENT: link,
    LXC_NET_PEER: peer,
  }
  return [
    {
      argv: ['/bin/sh', '-c', `exec ${script}${version === 0 ? ` ${words.map(quote).join(' ')}` : ''}`],
      environment: [PATH, ...Object.entries(environment).map(([key, value]) => `${key}=${value}`)],
      pidAt: -1,
    },
  ]
}

/** A port of an Open vSwitch bridge, ovs-vsctl(8): it stays in the switch's database until it is taken out. */
export function openVSwitch(
  program: string,
  bridge: string,
  port: string,
  vlan: number | 'none' | undefined,
): { up: HostProgram[]; down: HostProgram[] } {
  const run = (...words: string[]): HostProgram[] => [{ argv: [program, ...words], environment: [PATH], pidAt: -1 }]
  const tag = typeof vlan === 'number' ? [`tag=${vlan}`] : []
  return {
    up: run('--may-exist', 'add-port', bridge, port, ...tag),
    down: run('--if-exists', 'del-port', bridge, port),
  }
}

/** What a user wants of a helper. */
export interface UserWish extends Owner {
  readonly bridge: string
  /** Inside. */
  readonly name: string
  readonly runDir: string
  readonly mac: Uint8Array
  /** 0: the helper's choice. */
  readonly mtu: number
  readonly addresses: readonly Subnet[]
  readonly gateways: readonly Address[]
}

/** An interface that programs make. */
export interface UserConnection {
  readonly up: HostProgram[]
  readonly down: HostProgram[]
  /** The program gives it its addresses and brings it up; otherwise the container does. */
  readonly configured: boolean
}

/** LXC's helper counts a veth until the kernel has taken it away, which it does a moment after the end of the container that had it. */
const USER_NIC = `
tries=40
until said=$("$@" 2>&1); do
  status=$?
  case $said in *[Qq]uota*) [ $((tries -= 1)) -gt 0 ] && sleep 0.05 && continue ;; esac
  printf '%s\\n' "$said" >&2
  exit $status
done
`

/** The programs that give the container its interface and take it; undefined when none is installed. */
export function userNetwork(user: UserNetwork, wish: UserWish): UserConnection | undefined {
  // The veth goes with the namespace, and LXC's helper itself forgets those that are gone when it is asked again.
  if (user.lxcUserNic?.bridges.includes(wish.bridge)) {
    const { program } = user.lxcUserNic
    const words = [program, 'create', wish.lxcpath, wish.container, '', 'veth', wish.bridge, wish.name]
    const argv = ['/bin/sh', '-c', USER_NIC, 'sh', ...words]
    return { up: [{ argv, environment: [PATH], pidAt: argv.indexOf('') }], down: [], configured: false }
  }
  const argv =
    user.pasta !== undefined
      ? pasta(user.pasta, wish)
      : user.slirp4netns !== undefined
        ? slirp4netns(user.slirp4netns, wish)
        : undefined
  if (argv === undefined) return undefined
  return {
    up: [{ argv, environment: [PATH], pidAt: argv.length - 1 }],
    down: [endHelper(wish.runDir)],
    configured: true,
  }
}

/**
 * pasta(1), with nothing of what it opens by itself: no port of the host's loopback is the container's, nor one of the container's the
 * host's, and the gateway's address does not stand for the host.
 */
function pasta(program: string, { runDir, name, mac, mtu, addresses, gateways }: UserWish): string[] {
  const closed = ['--tcp-ports', '--udp-ports', '--tcp-ns', '--udp-ns'].flatMap(way => [way, 'none'])
  const four = addresses.find(({ family }) => family === 4)
  return [
    ...[program, '--quiet', '--config-net', '--no-map-gw', ...closed],
    ...['--pid', helperFiles(runDir).pid, '--ns-ifname', name],
    ...(mac.length === 0 ? [] : ['--ns-mac-addr', formatMac(mac)]),
    ...(mtu === 0 ? [] : ['--mtu', String(mtu)]),
    ...addresses.flatMap(address => ['--address', formatAddress(address)]),
    ...(four === undefined ? [] : ['--netmask', String(four.prefix)]),
    ...gateways.flatMap(gateway => ['--gateway', formatAddress(gateway)]),
    '',
  ]
}

/**
 * slirp4netns(1) stays in the foreground: it is ready when it says so on descriptor 3, and it has failed when that is closed before. Its
 * own namespaces keep it from the files of the user.
 */
const SLIRP = `
pid=$0; name=$1; shift; log=$pid.log
ready=$("$@" "$name" --ready-fd=3 3>&1 >"$log" 2>&1 & echo $! >"$pid")
[ "$ready" = 1 ] && exec rm -f "$log"
cat "$log" >&2; rm -f "$log" "$pid"; exit 1
`

function slirp4netns(program: string, { runDir, name, mac, mtu }: UserWish): string[] {
  const { pid, socket } = helperFiles(runDir)
  const options = [
    ...['--configure', '--enable-sandbox', '--enable-seccomp', '--disable-host-loopback', `--api-socket=${socket}`],
    ...(mac.length === 0 ? [] : [`--macaddress=${formatMac(mac)}`]),
    ...(mtu === 0 ? [] : [`--mtu=${mtu}`]),
  ]
  return ['/bin/sh', '-c', SLIRP, pid, name, program, ...options, '']
}

/** The helper would outlive the container: it is ended by the pid that it left, if that process still is what it was. */
function endHelper(runDir: string): HostProgram {
  const end = `
[ -e "$0" ] && read -r pid <"$0" || exit 0
rm -f "$0" "$1"
tr '\\0' '\\n' <"/proc/$pid/cmdline" | grep -qxF -e "$0" -e "--api-socket=$1" || exit 0
kill "$pid"
`
  const { pid, socket } = helperFiles(runDir)
  return { argv: ['/bin/sh', '-c', end, pid, socket], environment: [PATH], pidAt: -1 }
}
