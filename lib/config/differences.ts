/**
 * Where Config and liblxc 5.0.2 (Debian 12) do not say the same of a line, and why. test/config/liblxc.test.ts compares
 * all samples of all keys and fails for a difference that is not here, and for a row here that is none.
 */

/** `line` matches `KEY = VALUE`. */
export interface Difference {
  readonly line: RegExp
  /** A line that shows it. */
  readonly example: string
  readonly lxc: string
  readonly here: string
  readonly why: string
}

const row = (line: RegExp, example: string, lxc: string, here: string, why: string): Difference => ({
  line,
  example,
  lxc,
  here,
  why,
})

export const DIFFERENCES: readonly Difference[] = [
  row(
    /^lxc\.include = \/dev\/null$/,
    'lxc.include = /etc/lxc/x.conf',
    'gives no value',
    'gives the path',
    'Reading the key back is not implemented in LXC.',
  ),
  row(
    /^lxc\.environment\.(runtime|hooks) = [^=]/,
    'lxc.environment.hooks = A=b',
    'refused',
    'accepted',
    'The key came with LXC 7.',
  ),
  row(
    /^lxc\.arch = riscv64$/,
    'lxc.arch = riscv64',
    'gives x86_64',
    'gives riscv64',
    'LXC keeps only whether it is a 32-bit one.',
  ),
  row(
    /^lxc\.(init\.[ug]id|start\.delay|monitor\.unshare) = 4294967295$/,
    'lxc.init.uid = 4294967295',
    'gives -1',
    'gives 4294967295',
    'LXC prints an unsigned number as a signed one.',
  ),
  row(
    /^lxc\.(init\.[ug]id = (4294967296|1k|1\.5|08|x)|seccomp\.allow_nesting = (true|0 0))$/,
    'lxc.init.uid = 1k',
    'reads 0',
    'refused',
    'LXC forgets that it could not read the number: it would run as root what was meant to be another user.',
  ),
  row(/^lxc\.(signal|monitor).* = 65$/, 'lxc.signal.halt = 65', 'accepted', 'refused', 'The highest signal is 64.'),
  row(
    /^lxc\.environment = HOME$/,
    'lxc.environment = HOME',
    'gives HOME=/root',
    'gives HOME',
    "LXC looks the caller's value up when it reads the config, here it is looked up when the container starts. A missing variable is an error then, and not one that makes the config unreadable.",
  ),
  row(/^lxc\.environment = =a$/, 'lxc.environment = =a', 'accepted', 'refused', 'A variable without a name.'),
  row(
    /^lxc\.rootfs\.path = (dir:.|overlay:\/a:|overlayfs:|zfs:|nbd:|loop:)/,
    'lxc.rootfs.path = zfs:tank/web',
    'gives tank/web',
    'gives zfs:tank/web',
    'LXC loses the storage type, so that what it gives cannot be set again.',
  ),
  row(
    /^lxc\.rootfs\.path = (aufs:.*|\/a:\/b|dir:|overlay:\/a)$/,
    'lxc.rootfs.path = aufs:/a:/b',
    'accepted; the start fails',
    'refused',
    'The text before the colon is not a storage type, or the path is missing.',
  ),
  row(
    /^lxc\.autodev\.tmpfs\.size = (-1|big)$/,
    'lxc.autodev.tmpfs.size = big',
    'reads 500000',
    'refused',
    'What cannot be read is silently the default in LXC.',
  ),
  row(
    /^lxc\.mount\.entry = (\/a$|a b c d e f|.*bind, |.*create=link|.*idmap=x)/,
    'lxc.mount.entry = /a b none bind, create=dir',
    'accepted; what stands behind the blank is ignored, or the start fails',
    'refused',
    'Mount entries are read when the config is, so that a mistake has a file and a line.',
  ),
  row(
    /^lxc\.mount\.auto = (cgroup:rw:force|cgroup2:ro|shmounts:.+)$/,
    'lxc.mount.auto = cgroup2:ro',
    'gives nothing',
    'gives cgroup2:ro',
    'LXC loses these when it prints them.',
  ),
  row(/^lxc\.mount\.auto = shmounts:$/, 'lxc.mount.auto = shmounts:', 'accepted', 'refused', 'The path is missing.'),
  row(
    /^lxc\.idmap = u 0 (1 0|4294967295 2)$/,
    'lxc.idmap = u 0 1 0',
    'accepted; the start fails',
    'refused',
    'The kernel takes no empty range, and none beyond the highest id.',
  ),
  row(
    /^lxc\.time\.offset\.(boot|monotonic) = -/,
    'lxc.time.offset.boot = -2m',
    'refused',
    'accepted',
    'LXC documents signed offsets, and the kernel has them; LXC before 6 cannot read the sign.',
  ),
  row(
    /^lxc\.time\.offset\.boot = [0-9](h|s|ms|ns)$/,
    'lxc.time.offset.boot = 1h',
    'gives "3600 s"',
    'gives "3600s"',
    'LXC 5 prints a blank that it cannot read.',
  ),
  row(
    /^lxc\.time\.offset\.(boot|monotonic) = 9007199254740993s$/,
    'lxc.time.offset.boot = 9007199254740993s',
    'accepted',
    'refused',
    'Beyond what the kernel takes, and beyond what a number holds exactly.',
  ),
  row(
    /^lxc\.prlimit\.nofile = 2:1$/,
    'lxc.prlimit.nofile = 2:1',
    'accepted; the start fails',
    'refused',
    'The kernel refuses a soft limit above the hard one.',
  ),
  row(
    /^lxc\.prlimit\.nofile = :1$/,
    'lxc.prlimit.nofile = :1024',
    'reads 0:1024',
    'refused',
    'A missing soft limit is 0 in LXC, with which nothing can run.',
  ),
  row(
    /^lxc\.cap\.drop = 63$/,
    'lxc.cap.drop = 63',
    'refused',
    'accepted',
    'LXC asks the kernel of this machine; here a config is read the same everywhere, and the start refuses it.',
  ),
  row(
    /^lxc\.cap\.keep = none$/,
    'lxc.cap.keep = none',
    'gives nothing',
    'gives none',
    'LXC loses it when it prints it.',
  ),
  row(
    /^lxc\.seccomp\.notify\.proxy = unix:(\/run|@)/,
    'lxc.seccomp.notify.proxy = unix:@name',
    'gives name',
    'gives unix:@name',
    'What LXC gives cannot be set again.',
  ),
  row(
    /^lxc\.net\.0\.(link|name|veth\.pair) = (a{16}|a\/b|\.\.|a b)$/,
    'lxc.net.0.link = averylonginterface',
    'cut after 15 bytes, or accepted although the kernel has no such name',
    'refused',
    'The interface meant would silently be another one.',
  ),
  row(
    /^lxc\.net\.0\.hwaddr = .*[xX]/,
    'lxc.net.0.hwaddr = 10:66:6a:xx:xx:xx',
    'gives digits',
    'gives the template',
    'LXC draws the digits when it reads the config; here drawHardwareAddresses() does, which creating and starting call.',
  ),
  row(
    /^lxc\.net\.0\.(hwaddr = (10:66:6a:12:34$|10-66|zz:)|mtu = (-1|big)|ipv6\.address = .*\/129|vlan\.id = 4095)/,
    'lxc.net.0.mtu = big',
    'accepted; the start fails',
    'refused',
    'Values are read when the config is.',
  ),
  row(
    /^lxc\.net\.0\.ipv4\.address = (172|192)[0-9.]+$/,
    'lxc.net.0.ipv4.address = 192.168.1.1',
    'reads /8',
    'reads /24',
    'LXC takes the class of the address from its last byte where it means the first (little-endian machines).',
  ),
  row(
    /^lxc\.net\.0\.ipv4\.address = 10\.0\.3\.5\/24 10\.0\.3\.0$/,
    'lxc.net.0.ipv4.address = 10.0.3.5/24 10.0.3.0',
    'gives 10.0.3.5/24',
    'gives 10.0.3.5/24 10.0.3.0',
    'LXC loses the broadcast address when it prints it.',
  ),
  row(
    /^lxc\.net\.0\.veth\.vlan\.id = none$/,
    'lxc.net.0.veth.vlan.id = none',
    'gives -1',
    'gives none',
    'What LXC gives cannot be set again.',
  ),
]

/** What liblxc cannot be asked, and what therefore is only stated. */
export const DECISIONS: readonly (readonly [what: string, why: string])[] = [
  [
    'lxc.keyring.session = 1 gives init a session keyring of its own, as LXC documents it',
    'LXC does the reverse: 1 makes none.',
  ],
  ['Clearing lxc.tty.max sets it to 0', 'In LXC clearing it by the API does nothing.'],
  [
    'Options of mounts are matched as whole words',
    'LXC searches its own as substrings and others as prefixes: "rootcontext=…" is read as ro, and a path of an overlay that contains "optional" is cut.',
  ],
  ['Directories are included in the order of the names', 'LXC documents that, and takes them as they come.'],
  [
    'A subkey of an interface may stand before or without its type; what it needs is checked at the start',
    'LXC refuses veth.*, macvlan.*, ipvlan.* and vlan.* keys before the type is set.',
  ],
  ['Clearing a subkey of an interface that is not there does nothing', 'LXC refuses the line.'],
  [
    'lxc.namespace.clone and .keep, lxc.cap.drop and .keep may both be read; setting both is an error of the start',
    'LXC refuses the line, so that the container cannot be opened any more.',
  ],
  [
    'A line without "lxc." at its beginning is passed over and reported',
    'LXC passes it over silently, so that "lcx.cap.drop" looks as if it worked.',
  ],
  ['Carriage returns before line feeds are line ends', 'LXC takes them as part of the value.'],
  ['A gateway is auto, dev or an address, as it was set last', 'In LXC dev stays once it was set.'],
  [
    'A log is written only where lxc.log.level, .file or .syslog says so: by the monitor, with steps (TRACE), states (INFO, NOTICE), failures of cleaning up (WARN) and errors; never through a link',
    'LXC always has a log with at least its errors, and follows links.',
  ],
  [
    'An ephemeral container that could not be started stays',
    'LXC destroys it, and with it the reason why it did not start.',
  ],
  [
    'The calls of a container go to lxc.seccomp.notify.proxy as they come, with the listener as third descriptor; an answer is known by its id; without its proxy a container does not start',
    'LXC waits for each answer before it hands on the next call.',
  ],
  [
    'A filter is always loaded beside those that are in force',
    'LXC loads none where there is one already, unless lxc.seccomp.allow_nesting is set.',
  ],
  [
    'lxc.prlimit.nofile is 1024:524288 where it is unset, and lxc.prlimit.core 1, with which a crash neither leaves a file nor runs the program of a core_pattern',
    'In LXC init has the limits of the starter.',
  ],
  [
    'What is masked or read-only below /proc and /sys is locked: root inside cannot unmount it, and mounts another /proc or /sys with the profile nesting only',
    'LXC masks nothing; root inside unmounts and remounts what lxc.mount.auto has made.',
  ],
  ['The option move of a mount is refused', 'LXC 7 takes the mount away from the host.'],
  [
    'Values of hooks are words; no shell reads them, and their environment is whole',
    'LXC hands them to /bin/sh, with the environment of the starter.',
  ],
  [
    'Root may map ids that /etc/subuid does not give it',
    'Where newuidmap is installed LXC asks it as root, too: for lxc-start, give root the range in /etc/subuid and /etc/subgid.',
  ],
]
