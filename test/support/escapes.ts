/**
 * The ways out of a container that are known, by the mistakes of other runtimes, and what of each is tried here. A test that tries one has its id
 * in its title; docs/escapes.md is made of both, and test/escape/table.test.ts fails for a row that nobody tries and nobody excuses.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface Escape {
  /** What is tried, and what must come of it. */
  readonly tries: string
  /** Where it has been seen. */
  readonly seen: string
  /** What of it no test shows. */
  readonly but?: string
  /** Why there is no test at all. */
  readonly open?: string
}

export interface Group {
  readonly title: string
  readonly rows: Readonly<Record<string, Escape>>
}

const row = (seen: string, tries: string, rest: Pick<Escape, 'but' | 'open'> = {}): Escape => ({ seen, tries, ...rest })
const open = (why: string) => ({ open: why })
const none = (why: string) => ({ open: `not applicable: ${why}` })
const but = (what: string) => ({ but: what })

export const GROUPS: readonly Group[] = [
  {
    title: 'A. The runtime’s programs and descriptors',
    rows: {
      A3: row(
        'LXC 5.0.2; CVE-2024-21626',
        'Descriptors of the caller without close-on-exec reach neither init, attach nor a hook',
      ),
      A5: row('CVE-2019-14271', 'Libraries and name services of the image are loaded by nothing on the host'),
      A6: row(
        'CVE-2026-41567, CVE-2022-1227',
        'Helpers are programs of the host by absolute paths, never of the image or of the caller’s PATH',
      ),
      A7: row(
        'CVE-2025-23266',
        'A hook has a fixed environment and `/` as its directory, whatever the container’s environment says',
      ),
      A8: row('runc, LXC', 'LISTEN_FDS of the caller hands nothing in'),
      A9: row(
        'runc 2024–2026',
        'Every descriptor of init, monitor and attached programs is on a list of what there may be',
      ),
    },
  },
  {
    title: 'B. Root file system: links, races, propagation',
    rows: {
      B1: row('CVE-2015-1335', 'A mount’s target behind links of the image stays below its root'),
      B2: row(
        'CVE-2021-30465',
        'A directory that is exchanged for a link while it is mounted on leads nowhere outside; what is read-only stays so',
      ),
      B3: row(
        'CVE-2019-19921, CVE-2023-27561, CVE-2023-28642',
        '`/proc`, `/sys`, `/dev` as links, files, FIFOs are refused',
      ),
      B4: row('CVE-2025-31133', 'The image’s `/dev/null` is not what covers masked paths'),
      B5: row('CVE-2025-52565', 'The console is the pty that was made for it, whatever is at its place'),
      B6: row('CVE-2026-41579, CVE-2026-47766, CVE-2013-6456', '`/dev` as a link: nothing is made where it leads'),
      B7: row('CVE-2024-45310', 'Targets that are made behind links are made inside'),
      B8: row(
        'CVE-2017-1002101, CVE-2021-25741',
        'A part of a volume, exchanged',
        none('a mount’s source is a path of the host that the caller names; there are no parts of volumes'),
      ),
      B9: row('CVE-2024-1753, CVE-2024-9407', 'A `relative` source that leads out of the root is no source'),
      B11: row(
        'CVE-2022-23648',
        'Volumes that an image declares',
        none('volumes of an image’s metadata are not mounted'),
      ),
      B12: row(
        'CVE-2026-48749',
        'A root file system that has become a link: root’s and the caller’s own are followed, nobody else’s',
      ),
      B14: row(
        'LXC, runc without pivot_root',
        'No mount of the host is left: by `..`, /proc/1/root, a nested chroot, a detached `/`',
      ),
      B16: row('runc, LXC', 'What is mounted inside is not mounted on the host, though its mounts are shared'),
      B17: row('runc 1.2', 'Options of a bind change nothing of the host’s file system'),
      B18: row('all that use overlay', '`,`, `:` and `\\` in the paths of layers are no options'),
      B19: row(
        'CVE-2021-41091, CVE-2021-41103, CVE-2025-64507',
        'Other users of the host neither list nor run what is in a container’s tree',
      ),
      B20: row(
        'LXC, runc',
        'A file inside gets no id that the container has not, on mounts with shifted ids and without',
      ),
      B21: row('kernel', 'A new /proc, /sys or debugging file system shows nothing that is masked'),
      B22: row('crun 1.16', 'Binding a FIFO, a socket or a device opens none of them'),
    },
  },
  {
    title: 'C. Writes to /proc, and labels',
    rows: {
      C1: row('CVE-2019-16884', 'A label is written through a /proc that no image can cover'),
      C2: row('CVE-2025-52881', 'A sysctl is set in the real /proc/sys, or the start fails'),
      C3: row('CVE-2015-1334', 'A fake /proc inside changes nothing of what is attached'),
      C4: row('LXC, crun', 'A label that is asked for and cannot be had is an error'),
      C5: row('CVE-2026-23268 and others', 'AppArmor’s own files are out of reach inside'),
      C6: row('LXC', 'Attach works, and confines, without a usable /proc inside'),
    },
  },
  {
    title: 'D. Attached programs',
    rows: {
      D1: row('CVE-2022-29162, CVE-2022-27650, CVE-2022-24769', 'No inheritable capability, for root or another'),
      D2: row('CVE-2016-8867', 'No ambient capability for who is not root'),
      D4: row(
        'CVE-2016-3697, CVE-2024-40635, CVE-2026-46680',
        'Ids that are none are refused, whatever the image’s passwd says of them',
      ),
      D5: row(
        'CVE-2022-2989, CVE-2022-36109',
        'A file that excludes a group excludes its members, and the groups are those that were asked for',
      ),
      D6: row('firejail, LXC', 'Attach has the filters, capabilities, namespaces, cgroup and limits that init has'),
      D7: row('CVE-2025-27612', 'Attach has no capability that init may not have'),
      D8: row('CVE-2022-31214', 'A forged state directory makes nobody of the host a container'),
      D9: row('all that keep a pid', 'Who gets the pid of an ended init is not hit'),
      D10: row('CVE-2024-32462', 'A command that looks like an option is a command'),
      D11: row('CVE-2021-3602, CVE-2020-14370, LXC', 'No variable of the caller reaches init, attach or a hook'),
    },
  },
  {
    title: 'E. Terminals and logs',
    rows: {
      E1: row('CVE-2016-10124, CVE-2017-5226', 'Nothing inside types into the caller’s terminal'),
      E2: row('CVE-2019-10063, CVE-2019-7303', 'No high bits smuggle TIOCSTI past the filter'),
      E4: row('LXC', 'The ptys of the host are not there'),
      E5: row('CVE-2023-28101', 'Control characters of a container’s words do not come out of errors and logs'),
      E6: row('CVE-2026-33711', 'A link at the place of a log of the console leads nowhere'),
      E7: row('crun 1.19, LXC', 'A slow reader of a terminal gets every byte'),
    },
  },
  {
    title: 'F. User namespaces and ids',
    rows: {
      F1: row('CVE-2014-8989', 'Who maps one id only gives up setgroups', but('the group that a file excludes')),
      F2: row(
        'CVE-2018-18955',
        'More than five extents in a nested namespace',
        none('a mistake of old kernels that nothing outside the kernel can make or mend'),
      ),
      F3: row('all', 'Overlapping, wrapping, empty and missing entries of a map are refused'),
      F5: row('CVE-2026-62313', 'Two containers share no id, so neither signals, traces nor reads the other'),
      F6: row('kernel', 'File capabilities that root inside gives have no meaning outside'),
      F8: row('all', 'Device nodes cannot be made, and those of an image not be opened'),
      F9: row('Node', 'A start from a worker of a busy program is the same start'),
    },
  },
  {
    title: 'G. Cgroups',
    rows: {
      G1: row('CVE-2022-0492', 'No release_agent is written from a nested user namespace'),
      G2: row('CDK', 'Nor by a privileged root'),
      G3: row('CVE-2023-25809', 'Nothing of the host’s cgroups is writable inside'),
      G4: row('crun 1.28', 'A cgroup’s path that leads up is refused'),
      G6: row('CVE-2024-3154', 'No value becomes a property of a systemd unit'),
      G7: row('CDK', 'devices.allow is not writable inside'),
      G9: row('crun 1.29', 'A failure while it is frozen leaves it as it was, and it thaws'),
    },
  },
  {
    title: 'H. Devices',
    rows: {
      H2: row('LXC, runc', 'A node of a device that was not given cannot be opened, wherever it lies'),
      H3: row(
        'runc, systemd',
        'A change of the rules has no moment without rules',
        open(
          'needs cgroup v2 with devices by eBPF for the container: the swap is one call there, and nothing hammers it',
        ),
      ),
      H4: row('CVE-2013-6456', 'A device that is added or removed behind links of the container stays inside'),
      H5: row('all', 'The nodes of /dev are a fixed list'),
      H6: row('all', 'No socket to the hypervisor, no /dev/kvm, no tun'),
    },
  },
  {
    title: 'I. Interfaces of the kernel',
    rows: {
      I2: row('CVE-2022-0811', 'No name or value of a sysctl smuggles another'),
      I3: row('all', 'sysrq-trigger does nothing', but('this kernel has none: the control is other files of its kind')),
      I4: row(
        'all',
        'uevent_helper is not writable',
        but('this kernel has none: the control is other files of its kind'),
      ),
      I5: row('LXC', 'Nothing is registered in binfmt_misc of the host'),
      I6: row('moby, Incus', 'Masked files give nothing away'),
      I7: row('BOtB', 'Keys of the host are out of reach'),
      I8: row('all', 'The kernel’s log is neither read nor written'),
      I9: row('all', 'Clocks, modules, swap, accounting, reboot: the host’s are not touched'),
      I10: row('all', 'bpf, perf_event_open, userfaultfd and their like are refused by the profile'),
      I11: row('CVE-2014-3519', 'open_by_handle_at opens nothing'),
      I14: row('kernel', 'No descriptor is taken from a process of another user namespace in a shared pid namespace'),
      I15: row('all', 'debugfs, tracefs, securityfs, configfs, pstore, efivarfs cannot be mounted'),
      I16: row('all', 'Nobody inside makes himself safer from the OOM killer'),
    },
  },
  {
    title: 'J. System call filter',
    rows: {
      J1: row('firejail 0.9.42', 'x32 calls are no way around it'),
      J4: row('CVE-2021-41133', 'The new mount API is absent'),
      J5: row('runc', 'Calls that nobody knew when the filter was made do not exist'),
      J6: row('docker', 'No flag of clone makes a namespace in the app profile'),
      J7: row('all', 'Arguments are compared in all their 64 bits'),
      J8: row('all', 'io_uring fails, and kills nobody'),
      J9: row('CVE-2026-31431 and others', 'Rare families of sockets are refused'),
      J10: row('LXC, Incus', 'An answer never acts for a caller that has gone'),
      J11: row('runc, LXC', 'With no_new_privs off the filter holds all the same'),
      J12: row('LXC', 'A mistake in a policy never allows'),
    },
  },
  {
    title: 'K. Sockets and networks',
    rows: {
      K1: row('CVE-2020-15257', 'No socket of ours is abstract'),
      K2: row('LXC', 'The monitor’s socket is out of reach inside, and answers its own user alone'),
      K3: row('all', 'System V objects and message queues of the host are not there'),
      K5: row('Incus', 'A stolen address on a bridge is of no use'),
      K6: row(
        'CVE-2020-8558, CVE-2021-20199',
        'The host’s loopback is not the container’s, and no forwarded connection seems to come from there',
      ),
      K7: row(
        'CVE-2021-43784',
        'Names of interfaces that are none are refused',
        but('attributes of netlink that overflow'),
      ),
      K9: row('CVE-2016-10118', 'hosts, resolv.conf and hostname behind links are written inside or not at all'),
      K10: row('bubblewrap, BOtB', 'A warning for dangerous things that are bound', open('there is no such list yet')),
    },
  },
  {
    title: 'L. Names, values, config',
    rows: {
      L1: row('CVE-2026-23953', 'A value never becomes a line of a config'),
      L2: row('LXC 5.0.2, crun', 'A name is never a path'),
      L4: row(
        'CVE-2026-28384, CVE-2026-48755',
        'Compression by a string of options',
        none('compressions are names of a fixed list; no value is split into words of a command'),
      ),
      L5: row('CVE-2026-40226, CVE-2026-53488', 'Metadata of an image sets nothing that raises rights'),
      L6: row('LXC', 'Includes that loop, never end or are no files end with an error'),
      L10: row(
        'CVE-2026-23954, CVE-2026-33897',
        'Templates that read files',
        none('templates of images have no functions'),
      ),
      L11: row('CVE-2026-33945', 'Names of credentials', none('there are no credentials')),
      L13: row('CVE-2026-34178, CVE-2025-9640', 'What is restored, cloned or renamed is checked as what is created is'),
    },
  },
  {
    title: 'M. Images and archives',
    rows: {
      M1: row('all', 'Names that lead outside are refused in every form'),
      M2: row('CVE-2014-9356, CVE-2014-6407', 'No entry and no whiteout passes through a link of an earlier one'),
      M3: row('CVE-2026-23745, CVE-2026-24842', 'Targets of hard links are paths below the root'),
      M4: row('all', 'Devices are left out, and ids shifted'),
      M5: row('overlay', 'Extended attributes that steer overlay are refused'),
      M6: row('CVE-2021-20291', 'What costs too much is refused before it is paid for'),
      M7: row('node-tar', 'Nothing is unpacked where two names are one, as on a case-folding file system'),
      M8: row(
        'CVE-2017-18641, CVE-2026-33542, CVE-2026-48769',
        'What is unpacked has the digest and the signature that was asked for',
      ),
      M9: row('flatpak', 'An older image is refused unless it is wanted'),
      M10: row('all', 'What is read is the file that was verified'),
      M12: row(
        'CVE-2023-30549',
        'An image of a file system, mounted by the kernel',
        none('squashfs is unpacked by a confined program; nothing that comes from outside is mounted'),
      ),
      M13: row('all', 'A broken unpacker finds nothing to break'),
    },
  },
  {
    title: 'N. The host’s work on a container’s data',
    rows: {
      N2: row('CVE-2023-0778', 'Reading and writing files of a container follows no link out'),
      N4: row('CVE-2015-1340', 'Shifting ids of a tree that is being changed touches nothing outside'),
      N5: row('CVE-2015-1331', 'A run directory that somebody else made is refused'),
      N6: row(
        'all',
        'An lxcpath that somebody else’s link leads to is refused',
        but('an exchange between two steps of one operation, by who owns its parent'),
      ),
      N7: row('CVE-2026-3888', 'Nothing is staged in a directory that everybody may write to'),
      N8: row('CVE-2024-9676', 'FIFOs, devices and endless files in place of passwd are not waited for'),
      N9: row('CVE-2013-6441', 'No template shows a program of the host writable'),
      N10: row('LXC', 'Neither side of the protocol trusts a length of the other'),
      N11: row('all', 'A damaged ledger is refused, and nothing of others touched'),
      N12: row('CRIU', 'Checkpoints', none('there are none')),
    },
  },
  {
    title: 'O. Exhaustion',
    rows: {
      O2: row('all', 'A flood of output costs the host a bounded memory'),
      O3: row('all', 'A hook that hangs is killed, and what was begun undone'),
      O4: row('all', 'Very many mounts and files inside do not keep it from being destroyed'),
      O6: row('all', 'Quotas of one container’s users are not another’s'),
      O7: row('all', 'Out of memory hits the container, and is told'),
      O9: row('LXC', 'Signals of the container hit nobody outside'),
    },
  },
  {
    title: 'P. Node',
    rows: {
      P1: row('Node', 'Starts do not hang on locks of busy threads'),
      P2: row('Node', 'Exit codes of other children are not stolen'),
      P3: row('Node', 'A worker that ends takes its own with it and nothing else'),
      P4: row('Node', 'However Node ends, containers live on or end as they were told'),
      P5: row('Node', 'Odd strings, proxies and getters are read once, and checked'),
      P7: row('Node', 'Installing the package runs nothing and fetches nothing'),
    },
  },
]

/** Why a row has no test, or undefined for one that must have some. */
export const excuse = ({ open }: Escape): string | undefined => open

/** A call of test() and its title: ids are letter and number, as a word of it. */
const TITLE = /\btest\(\s*(?:'((?:[^'\\\n]|\\.)+)'|"((?:[^"\\\n]|\\.)+)"|`([^`]+)`)/g
const ID = /\b[A-Q][1-9]\d?\b/g

/** A test that names an id: its file below test/, its title, and whether it says that it has a control. */
export interface Trial {
  readonly file: string
  readonly title: string
  readonly control: boolean
}

const root = fileURLToPath(new URL('..', import.meta.url))

/** Every test of the project whose title has an id, by id. */
export function trials(): ReadonlyMap<string, readonly Trial[]> {
  const found = new Map<string, Trial[]>()
  const files = readdirSync(root, { recursive: true }).map(String)
  for (const file of files.filter(name => /\.test\.ts$|^rootless\//.test(name)).sort()) {
    const text = readFileSync(`${root}/${file}`, 'utf8')
    const titles = [...text.matchAll(TITLE)]
    for (const [index, match] of titles.entries()) {
      const title = match[1] ?? match[2] ?? match[3] ?? ''
      const body = text.slice(match.index, titles[index + 1]?.index)
      for (const id of new Set(title.match(ID) ?? [])) {
        found.set(id, [...(found.get(id) ?? []), { file, title, control: /\bcontrol\b/i.test(body) }])
      }
    }
  }
  return found
}
