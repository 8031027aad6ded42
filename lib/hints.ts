/**
 * What to do about a failure: one table, keyed by the step of the schedule, the call and the errno. The first row that fits gives the hint,
 * and where the kernel's word says too little, a code of the library's own.
 */
import type { ErrorCode } from './errors.ts'

interface Seen {
  readonly step: string
  readonly call: string
  readonly code: string
  readonly path: string
}

interface Row {
  readonly step?: RegExp
  readonly call?: string
  readonly errno?: string
  readonly code?: ErrorCode
  readonly hint: string | ((seen: Seen) => string)
}

/** The calls that the library cannot do without, and the first Linux that has each: the manual pages' HISTORY. */
const SINCE: Readonly<Record<string, string>> = {
  open_tree: '5.2',
  move_mount: '5.2',
  fsopen: '5.2',
  fsconfig: '5.2',
  fsmount: '5.2',
  pidfd_open: '5.3',
  pidfd_send_signal: '5.1',
  clone3: '5.3',
  openat2: '5.6',
  close_range: '5.9',
  mount_setattr: '5.12',
}

const ROWS: readonly Row[] = [
  ...Object.entries(SINCE).map(
    ([call, version]): Row => ({
      call,
      errno: 'ENOSYS',
      code: 'ERR_FEATURE_MISSING',
      hint: `${call} is missing: it needs Linux ${version}, and no seccomp filter around this program that hides it`,
    }),
  ),
  {
    step: /^mount\.attach$/,
    call: 'mkdirat',
    errno: 'EROFS',
    hint: ({ path }) =>
      `the root is read-only and has no ${path}: make the directory in the rootfs, or choose a target that it has, or one below /tmp`,
  },
  {
    step: /\.exec$/,
    errno: 'ENOENT',
    code: 'ERR_INIT_MISSING',
    hint: ({ path }) => `${path} does not exist in the container, or the interpreter that it names does not`,
  },
  {
    step: /\.exec$/,
    errno: 'ENOEXEC',
    code: 'ERR_WRONG_ARCHITECTURE',
    hint: ({ path }) =>
      `${path} is not a program for this machine: look at it with file(1), or install qemu-user-static`,
  },
  {
    step: /\.exec$/,
    errno: 'EACCES',
    hint: ({ path }) => `${path} has no execute permission for this user, or lies on a file system mounted noexec`,
  },
  {
    step: /^idmap\.write$/,
    errno: 'EPERM',
    code: 'ERR_ID_NOT_GRANTED',
    hint: 'the id map holds ids that the caller may not map: root needs CAP_SETUID here; others need ranges in /etc/subuid and /etc/subgid, and newuidmap',
  },
  {
    step: /^idmap\.write$/,
    code: 'ERR_ID_NOT_GRANTED',
    hint: 'give the user a range with `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`, and use that range',
  },
  {
    step: /^path\.lock$/,
    call: 'unshare',
    errno: 'ENOSPC',
    hint: 'the covers of /proc and /sys are locked by way of a user namespace below the container’s: lxc.sysctl.user.max_user_namespaces and max_mnt_namespaces, or those of the host, leave no room for one',
  },
  {
    step: /^link\.create$/,
    errno: 'ENODEV',
    hint: ({ path }) => `the host has no interface "${path}": make it first, or change lxc.net.N.link`,
  },
  {
    step: /^link\.create$/,
    call: 'RTM_NEWROUTE',
    errno: 'EEXIST',
    hint: 'the host has such a route already, to another container perhaps: change lxc.net.N.veth.ipv4.route or ipv6.route, or the address of the router',
  },
  {
    step: /^link\.create$/,
    errno: 'EEXIST',
    hint: ({ path }) =>
      `the name is taken (${path}), on the host or inside: choose another lxc.net.N.veth.pair or lxc.net.N.name`,
  },
  {
    step: /^link\.create$/,
    errno: 'EOPNOTSUPP',
    code: 'ERR_FEATURE_MISSING',
    hint: 'this kernel lacks the interface type or an option of it: load its module (veth, macvlan, ipvlan, 8021q, bridge, ifb)',
  },
  {
    step: /^link\.create$/,
    errno: 'EPERM',
    code: 'ERR_FEATURE_MISSING',
    hint: 'making interfaces on the host needs CAP_NET_ADMIN: run as root, or use lxc.net.0.type = empty',
  },
  {
    step: /^link\.configure$/,
    errno: 'ENETUNREACH',
    hint: 'the gateway is in none of the interface’s subnets: correct lxc.net.N.ipv4.gateway, or write `dev`',
  },
  {
    step: /^time\.enter$/,
    errno: 'EINVAL',
    code: 'ERR_FEATURE_MISSING',
    hint: 'this kernel has no time namespaces: boot one with CONFIG_TIME_NS (Linux 5.6), or leave lxc.time.offset.* out',
  },
  {
    step: /^init\.clone$/,
    errno: 'EPERM',
    code: 'ERR_FEATURE_MISSING',
    hint: 'user namespaces are not allowed here: `sysctl kernel.unprivileged_userns_clone=1` (Debian), `sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu), or run as root',
  },
  {
    step: /^init\.clone$/,
    errno: 'ENOSPC',
    code: 'ERR_FEATURE_MISSING',
    hint: 'a limit of namespaces is reached: raise `sysctl user.max_user_namespaces` and its neighbours',
  },
  {
    step: /\.clone$/,
    errno: 'EAGAIN',
    hint: 'a limit of processes is reached: RLIMIT_NPROC, pids.max of the own cgroup, or kernel.pid_max',
  },
  {
    step: /^mount\.shift$/,
    errno: 'EINVAL',
    code: 'ERR_FEATURE_MISSING',
    hint: 'the file system cannot be shown with shifted ids (idmapped mounts need ext4, xfs, btrfs, tmpfs and the like, Linux 5.12): put the container there',
  },
  {
    step: /^rootfs\.open$/,
    errno: 'ENOENT',
    code: 'ERR_ROOTFS_MISSING',
    hint: 'the directory of lxc.rootfs.path does not exist',
  },
  {
    step: /^rootfs\.(open|find)$/,
    errno: 'ELOOP',
    hint: 'a link in lxc.rootfs.path belongs to somebody else, or lies where others may exchange it: name the directory itself',
  },
  {
    step: /^rootfs\./,
    errno: 'EACCES',
    code: 'ERR_ROOTFS_ACCESS',
    hint: "the container's root user must be able to pass every directory above the root file system: `chmod o+x` them, or move the container",
  },
  {
    step: /^cgroup\.create$/,
    errno: 'EEXIST',
    hint: 'a cgroup of that name is left from a container that was killed: `recover()` removes it',
  },
  {
    step: /^cgroup\.create$/,
    code: 'ERR_NO_CGROUP',
    hint: 'the cgroup file system cannot be written: run as root, or have a subtree delegated (`systemd-run --user --scope -p Delegate=yes`)',
  },
  {
    step: /^proc\.mount$/,
    errno: 'EPERM',
    hint: "parts of the host's /proc are covered by mounts, so the kernel refuses a new one: run outside of a container, or unmount what lies over /proc",
  },
  {
    step: /^(proc|sys|device)\./,
    errno: 'EROFS',
    hint: 'the root file system is read-only and lacks the directory to mount on: make it in the image',
  },
  {
    step: /^namespace\.join$/,
    errno: 'EPERM',
    hint: 'only the user who started the container, or root, can enter it',
  },
  {
    call: 'execveat',
    errno: 'EACCES',
    hint: 'memfds may not be executed (vm.memfd_noexec=2) and the monitor beside the addon has no execute permission',
  },
  {
    call: 'connect',
    errno: 'EACCES',
    code: 'ERR_CONTAINER_NOT_RUNNING',
    hint: 'the container belongs to another user',
  },
]

/** Of codes that the native side gives itself. */
const OF_CODES: Readonly<Record<string, string>> = {
  ERR_NO_CGROUP:
    'a user needs a delegated cgroup: `systemd-run --user --scope -p Delegate=yes -- …`; diagnose() says what is missing here',
}

/** The code and the hint for a failure of the native side. */
export function hintFor(
  failure: { step: string; call: string; path: string; code: string },
  errno: string,
): { code: string; hint: string | undefined } {
  const seen: Seen = { step: failure.step, call: failure.call, path: failure.path, code: failure.code }
  if (failure.code !== '') return { code: failure.code, hint: OF_CODES[failure.code] }
  const row = ROWS.find(
    one =>
      (one.step === undefined || one.step.test(seen.step)) &&
      (one.call === undefined || one.call === seen.call) &&
      (one.errno === undefined || one.errno === errno),
  )
  if (row === undefined) return { code: errno, hint: undefined }
  return { code: row.code ?? errno, hint: typeof row.hint === 'string' ? row.hint : row.hint(seen) }
}
