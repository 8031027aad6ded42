#include "monitor/start.h"

#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/socket.h"
#include "base/sys.h"
#include "kernel/automount.h"
#include "kernel/device.h"
#include "kernel/idmap.h"
#include "kernel/keyring.h"
#include "kernel/link.h"
#include "kernel/mount.h"
#include "kernel/namespace.h"
#include "kernel/path.h"
#include "kernel/process.h"
#include "kernel/rootfs.h"
#include "kernel/seccomp.h"
#include "monitor/ahead.h"
#include "monitor/covers.h"
#include "monitor/guest.h"
#include "monitor/hook.h"
#include "monitor/newborn.h"
#include "monitor/peers.h"
#include "monitor/reaper.h"
#include "monitor/sources.h"

namespace caisson {

using namespace guest;
using namespace sources;

// ── what a row depends on: answered alike on both sides ─────────────────────────────────────────────────────────────────

static bool in_namespace(const Context& c, NamespaceKind kind) { return ns::has(c.spec.namespaces, kind); }
static bool has_mnt(const Context& c) { return in_namespace(c, NamespaceKind::mnt); }
static bool has_net(const Context& c) { return in_namespace(c, NamespaceKind::net); }
static bool has_cgroup(const Context& c) { return in_namespace(c, NamespaceKind::cgroup); }
static bool has_time(const Context& c) { return in_namespace(c, NamespaceKind::time); }
static bool has_hostname(const Context& c) { return !c.spec.hostname.empty(); }
static bool has_dev(const Context& c) { return has_mnt(c) && (c.spec.dev.tmpfs || c.spec.dev.pts > 0); }
static bool has_tty(const Context& c) { return !c.spec.console.path.empty(); }
static bool has_pty(const Context& c) { return c.spec.dev.pts > 0 && (c.spec.console.pty || c.spec.dev.ttys > 0); }
static bool has_console(const Context& c) { return has_mnt(c) && (has_pty(c) || has_tty(c)); }
static bool has_covers(const Context& c) { return has_mnt(c) && !(c.spec.masked.empty() && c.spec.read_only.empty()); }
static bool has_proc(const Context& c) { return has_mnt(c) && c.spec.proc; }
static bool has_filling(const Context& c) { return has_mnt(c) && c.spec.rootfs.empty; }
static bool has_closing(const Context& c) { return has_filling(c) && c.spec.rootfs.attributes != 0; }
static bool has_links(const Context& c) { return has_net(c) && !c.spec.links.empty(); }
static bool has_sysctls(const Context& c) { return !c.spec.sysctls.empty(); }
static bool always(const Context&) { return true; }
static bool is_ahead(const Context& c) { return c.spec.ahead; }
static bool opens_outside(const Context& c) { return has_mnt(c) && c.privileged; }
// Before the mapped root is somebody else than the caller: it may not pass the caller's private directories. What a hook is still to mount
// can only be found after it.
static bool finds_early(const Context& c) { return has_mnt(c) && !c.privileged && !hook::has(c, HookPoint::pre_mount); }
// An empty root is the container's own to fill, so it is made with the container's ids.
static bool opens_root_outside(const Context& c) { return opens_outside(c) && !c.spec.rootfs.empty; }
static bool opens_root_inside(const Context& c) { return has_mnt(c) && !opens_root_outside(c); }
/// Of one that is made ahead, what the whole Spec says is done when that has come.
template <bool (*holds)(const Context&)>
static bool at_once(const Context& c) {
  return !c.spec.ahead && holds(c);
}
template <bool (*holds)(const Context&)>
static bool later(const Context& c) {
  return c.spec.ahead && holds(c);
}

// ── the host's rows ─────────────────────────────────────────────────────────────────────────────────────────────────────

static bool has_scope(const Context& c) { return c.spec.cgroup.scope.has_value(); }

/// Only systemd may move us there; from then on the scope is ours, and below it we live aside, since what shares out controllers on v2 holds
/// no processes. At a reboot we are there already.
static Status enter_scope(Context& c) {
  const std::string& scope = *c.spec.cgroup.scope;
  if (cgroup::own_unified(c.spec.cgroup).compare(0, scope.size(), scope) != 0) {
    const bool answered = TRY(c.peers->ask("scope.enter", ::getpid(), c.spec.hook_timeout_ms));
    if (!answered) return sys::refused("ERR_NO_CGROUP", "the process that asks systemd for a scope is gone", scope);
  }
  return cgroup::leave_monitor(c.spec.cgroup, {});
}

static Status create_cgroups(Context& c) {
  c.places = TRY(cgroup::create(c.spec.cgroup));
  return {};
}

/// The caller's own id needs no giving, and root's is done as they are made.
static bool gives_cgroups(const Context& c) { return has_cgroups(c) && !c.privileged && !c.spec.idmap.newuidmap.empty(); }

static Status give_cgroups(Context& c) {
  const std::optional<uint32_t> owner = idmap::id_over(c.spec.idmap.uids, c.spec.cgroup.owner_uid.value_or(0));
  if (!owner) return {};
  return idmap::run_over(c.spec.idmap, [&] { return cgroup::give(c.spec.cgroup, *owner); });
}

static Status remove_cgroups(Context& c) {
  c.places.clear();
  Status removed = cgroup::remove(c.spec.cgroup);
  // What the container has made in a cgroup of a user without rights belongs to its own ids.
  if (removed || !gives_cgroups(c) || removed.error().number != EACCES) return removed;
  return idmap::run_over(c.spec.idmap, [&c] { return cgroup::remove(c.spec.cgroup); });
}

/// Opened outside: the container has no right to it but through this descriptor.
static Status lend_console(Context& c) {
  c.console_inner = TRY(sys::open(c.spec.console.path, O_RDWR | O_NOCTTY));
  return {};
}

static Status clone_init(Context& c) {
  socket::Pair line = TRY(socket::pair());
  Fd told, tells;
  if (c.spec.minimal_init) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return sys::failed("pipe2");
    told = Fd(ends[0]), tells = Fd(ends[1]);
  }
  // The cgroup and time namespaces come later: they are entered by the process itself.
  uint64_t flags = ns::flags(c.spec.namespaces);
  flags &= ~ns::flags({NamespaceKind::cgroup, NamespaceKind::time});
  const int unified = cgroup::unified(c.places);
  newborn::Child child = TRY(newborn::clone(c, flags, unified));
  if (child.pid == 0) {
    c.side = Side::guest;
    c.unified_joined = unified >= 0;
    c.line = std::move(line.right);
    c.ending = std::move(tells);
    line.left.reset();
    return {};
  }
  c.ending = std::move(told);
  c.pidfd = std::move(child.pidfd);
  c.init = child.pid;
  c.line = std::move(line.left);
  return {};
}

static Status kill_init(Context& c) {
  if (c.init == 0) return {};
  const Status killed = sys::pidfd_send_signal(c.pidfd.get(), SIGKILL);
  const Status all = cgroup::kill(c.places);
  while (::waitpid(c.init, nullptr, __WALL) < 0 && errno == EINTR) continue;
  c.init = 0;
  c.line.reset();
  return all;
}

/// pid and start time: with the boot id in the ledger they name init for good, so that a new monitor can adopt it.
static Status record_init(Context& c) {
  if (!c.run_dir) return {};
  const uint64_t started = TRY(sys::start_time(c.init));
  const std::string record = std::to_string(c.init) + " " + std::to_string(started) + "\n";
  TRY(sys::replace_file_at(c.run_dir.get(), "init", record, 0600));
  if (c.spec.signals.parent_death != 0) return {};
  // It may outlive this monitor: another one will want to know what it was told.
  const Bytes told = encode(c.spec);
  const std::string_view bytes(reinterpret_cast<const char*>(told.data()), told.size());
  return sys::replace_file_at(c.run_dir.get(), "spec", bytes, 0600);
}

static Status write_idmap(Context& c) { return idmap::write(c.init, c.spec.idmap); }

static bool lends(const Context& c) {
  for (const LinkSpec& link : c.spec.links) {
    if (link.kind == LinkKind::phys) return c.privileged && !c.spec.run_dir.empty();
  }
  return false;
}

static Status create_links(Context& c) {
  c.netns = TRY(sys::open("/proc/" + std::to_string(c.init) + "/ns/net", O_RDONLY));
  if (lends(c)) TRY(link::pin(c.netns.get(), c.spec.run_dir + "/net"));
  return link::create(c.spec.links, {c.netns.get(), c.init});
}

static Status remove_links(Context& c) {
  // A monitor that has adopted the container finds the namespace where the one before it has kept it.
  if (!c.netns && lends(c)) c.netns = TRY(sys::open(c.spec.run_dir + "/net", O_RDONLY));
  Status removed = link::remove(c.spec.links, {c.netns.get(), c.init});
  c.netns.reset();
  const Status unpinned = lends(c) ? link::unpin(c.spec.run_dir + "/net") : Status{};
  return removed ? unpinned : removed;
}

// ── the guest's rows ────────────────────────────────────────────────────────────────────────────────────────────────────

static Status unshare_cgroup(Context&) { return ns::unshare_cgroup(); }
static Status enter_time(Context& c) { return ns::enter_time(c.spec.time_offsets); }
static Status set_hostname(Context& c) { return ns::set_hostname(c.spec.hostname); }
static Status raise_link(Context&) { return ns::raise_loopback(); }
static Status configure_links(Context& c) { return link::configure(c.spec.links); }
static Status isolate_mounts(Context&) { return mount::isolate(true); }
static Status attach_root(Context& c) { return rootfs::attach(c.spec.rootfs, c.root.get()); }
static Status fill_root(Context& c) { return rootfs::fill(c.spec.rootfs, c.root.get()); }
static Status close_root(Context& c) { return rootfs::close(c.spec.rootfs, c.root.get()); }
static Status mount_proc(Context& c) { return automount::mount_proc(c.root.get(), c.spec); }
static Status protect_proc(Context& c) { return automount::protect_proc(c.root.get(), c.spec); }
static Status mount_sys(Context& c) { return automount::mount_sys(c.root.get(), c.spec); }
static Status mount_cgroup(Context& c) { return automount::mount_cgroup(c.root.get(), c.spec); }
static Status cover_paths(Context& c) { return automount::cover(c.root.get(), c.spec); }
static Status pivot_root(Context& c) { return rootfs::pivot(c.root.get()); }
static Status populate_dev(Context& c) { return device::populate(c.root.get(), c.spec.dev, in_user(c)); }

static Status schedule_core(Context&) { return process::new_core_cookie(); }

static Status set_sysctls(Context& c) {
  for (const Setting& setting : c.spec.sysctls) {
    const Fd place = TRY(path::open_strict(c.root.get(), "proc/sys/" + setting.path));
    // An O_PATH descriptor of the fresh procfs, opened for writing through itself.
    TRY(sys::write_file("/proc/self/fd/" + std::to_string(place.get()), setting.value));
  }
  return {};
}

static Status open_console(Context& c) {
  const ConsoleSpec& console = c.spec.console;
  const std::string& dir = c.spec.dev.tty_dir;
  if (!console.path.empty()) TRY(device::bind_tty(c.root.get(), console.path, "console"));
  if (console.pty) {
    device::Pty pty = TRY(device::open_pty(c.root.get()));
    TRY(device::bind_pty(c.root.get(), pty, "console"));
    const winsize size{static_cast<unsigned short>(c.spec.process.rows), static_cast<unsigned short>(c.spec.process.columns), 0, 0};
    if (size.ws_row > 0 && ::ioctl(pty.outer.get(), TIOCSWINSZ, &size) < 0) return sys::failed("ioctl", "TIOCSWINSZ");
    if (!dir.empty()) TRY(device::bind_pty(c.root.get(), pty, dir + "/console"));
    c.console = std::move(pty.outer);
    c.console_inner = std::move(pty.inner);
  }
  for (uint32_t i = 1; i <= c.spec.dev.ttys; i++) {
    const std::string name = "tty" + std::to_string(i);
    device::Pty pty = TRY(device::open_pty(c.root.get()));
    TRY(device::bind_pty(c.root.get(), pty, dir.empty() ? name : dir + "/" + name));
    if (!dir.empty()) TRY(device::link(c.root.get(), dir + "/" + name, name));
    c.ttys.push_back(std::move(pty.outer));
  }
  return {};
}

/// The signal that init gets when the monitor dies. It is forgotten whenever ids change, so it is set last; a monitor that died before
/// is seen on the line.
static Status follow_monitor(Context& c) {
  if (c.spec.signals.parent_death == 0) return {};
  if (::prctl(PR_SET_PDEATHSIG, c.spec.signals.parent_death, 0, 0, 0) < 0) return sys::failed("prctl", {}, "PR_SET_PDEATHSIG");
  if (TRY(socket::wait_readable(c.line.get(), sys::now_ms()))) ::_exit(1);
  return {};
}

static Status exec_init(Context& c) {
  if (c.spec.minimal_init) return reaper::run(c);
  process::reset_signals();
  return process::exec(c.spec.process);
}

// ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────────────

constexpr Side kHost = Side::host;
constexpr Side kGuest = Side::guest;

using Point = HookPoint;

constexpr Row kStart[] = {
    {"lsm.prepare", kHost, prepare_labels, remove_labels, has_labels},
    {"hook.pre-start", kHost, hook::call<Point::pre_start>, nullptr, hook::calls<Point::pre_start>},
    {"hook.pre-start", kHost, hook::run<Point::pre_start>, hook::run<Point::post_stop>, hook::frames},
    {"hook.post-stop", kHost, hook::nothing, hook::call<Point::post_stop>, hook::calls<Point::post_stop>},
    {"scope.enter", kHost, enter_scope, nullptr, has_scope},
    {"cgroup.create", kHost, create_cgroups, remove_cgroups, has_cgroups},
    {"cgroup.give", kHost, give_cgroups, nullptr, gives_cgroups},
    {"rootfs.open", kHost, open_root, nullptr, at_once<opens_root_outside>},
    {"mount.open", kHost, open_sources, nullptr, at_once<opens_outside>},
    {"console.lend", kHost, lend_console, nullptr, has_tty},
    {"init.clone", kHost, clone_init, kill_init},
    {"init.record", kHost, record_init},
    {"idmap.write", kHost, write_idmap, nullptr, has_user},
    {"link.create", kHost, create_links, remove_links, has_links},
    {"mount.shift", kHost, shift_mounts, nullptr, at_once<shifts>},
    {"mount.lock", kHost, lock_mounts, nullptr, at_once<locks>},
    {"rlimit.set", kHost, set_rlimits, nullptr, at_once<always>},
    {"proc.set", kHost, set_proc, nullptr, at_once<always>},

    {"cgroup.enter", kGuest, enter_cgroups, nullptr, has_cgroups},
    {"rootfs.find", kGuest, find_root, nullptr, finds_early},
    {"mount.find", kGuest, find_sources, nullptr, finds_early},
    {"idmap.enter", kGuest, enter_idmap, nullptr, in_user},
    {"cgroup.unshare", kGuest, unshare_cgroup, nullptr, has_cgroup},
    {"time.enter", kGuest, enter_time, nullptr, has_time},
    {"keyring.renew", kGuest, renew_keyring},
    {"link.raise", kGuest, raise_link, nullptr, has_net},
    {"link.configure", kGuest, configure_links, nullptr, has_links},
    {"mount.isolate", kGuest, isolate_mounts, nullptr, has_mnt},

    // Up to here a sandbox can be made before anybody knows what it is for.
    {"spec.await", kHost, ahead::await_spec, nullptr, is_ahead},
    {"cgroup.limit", kHost, ahead::limit_cgroups, nullptr, later<has_cgroups>},
    {"rootfs.open", kHost, open_root, nullptr, later<opens_root_outside>},
    {"mount.open", kHost, open_sources, nullptr, later<opens_outside>},
    {"mount.shift", kHost, shift_mounts, nullptr, later<shifts>},
    {"mount.lock", kHost, lock_mounts, nullptr, later<locks>},
    {"rlimit.set", kHost, set_rlimits, nullptr, is_ahead},
    {"proc.set", kHost, set_proc, nullptr, is_ahead},
    {"spec.take", kGuest, ahead::take_spec, nullptr, is_ahead},

    {"hostname.set", kGuest, set_hostname, nullptr, has_hostname},
    {"hook.pre-mount", kHost, hook::call<Point::pre_mount>, nullptr, hook::calls<Point::pre_mount>},
    {"hook.pre-mount", kGuest, hook::run<Point::pre_mount>, nullptr, hook::has<Point::pre_mount>},
    {"rootfs.open", kGuest, open_root, nullptr, opens_root_inside},
    {"rootfs.attach", kGuest, attach_root, nullptr, has_mnt},
    {"rootfs.fill", kGuest, fill_root, nullptr, has_filling},
    {"proc.mount", kGuest, mount_proc, nullptr, has_proc},
    {"sysctl.set", kGuest, set_sysctls, nullptr, has_sysctls},
    {"proc.protect", kGuest, protect_proc, nullptr, has_proc},
    {"sys.mount", kGuest, mount_sys, nullptr, has_mnt},
    {"cgroup.mount", kGuest, mount_cgroup, nullptr, has_mnt},
    {"device.populate", kGuest, populate_dev, nullptr, has_dev},
    {"mount.attach", kGuest, attach_mounts, nullptr, has_mnt},
    {"hook.mount", kHost, hook::call<Point::mount>, nullptr, hook::calls<Point::mount>},
    {"hook.mount", kGuest, hook::run<Point::mount>, nullptr, hook::has<Point::mount>},
    {"hook.autodev", kHost, hook::call<Point::autodev>, nullptr, hook::calls<Point::autodev>},
    {"hook.autodev", kGuest, hook::run<Point::autodev>, nullptr, hook::has<Point::autodev>},
    {"console.open", kGuest, open_console, nullptr, has_console},
    {"path.cover", kGuest, cover_paths, nullptr, has_covers},
    {"path.copy", kHost, covers::copy, nullptr, covers::locks_outside},
    {"path.lock", kGuest, covers::lock, nullptr, covers::locks},
    {"rootfs.close", kGuest, close_root, nullptr, has_closing},
    {"rootfs.pivot", kGuest, pivot_root, nullptr, has_mnt},
    {"session.create", kGuest, create_session},
    {"process.prepare", kGuest, set_modes},
    {"core.schedule", kGuest, schedule_core, nullptr, schedules_cores},
    {"hook.stop", kHost, hook::keep_namespaces, hook::run_stop, hook::has<Point::stop>},
    {"hook.stop", kHost, hook::nothing, hook::call<Point::stop>, hook::calls<Point::stop>},
    {"hook.start-host", kHost, hook::call<Point::start_host>, nullptr, hook::calls<Point::start_host>},
    {"hook.start-host", kHost, hook::run<Point::start_host>, nullptr, hook::has<Point::start_host>},
    // Here and not after the filter, which may forbid the guest to hand over the turn.
    {"hook.start", kHost, hook::call<Point::start>, nullptr, hook::calls<Point::start>},
    {"caps.bound", kGuest, bound_caps},
    {"lsm.label", kGuest, label_process, nullptr, has_labels},
    {"landlock.restrict", kGuest, restrict_files, nullptr, has_landlock},
    // Without no_new_privs a filter needs CAP_SYS_ADMIN, which may be about to go; with it, the filter comes as late as it can.
    {"seccomp.load", kGuest, load_filter, nullptr, filters_early},
    {"ids.set", kGuest, set_ids},
    {"caps.set", kGuest, set_caps},
    {"privileges.forbid", kGuest, forbid_privileges, nullptr, forbids_privileges},
    {"init.follow", kGuest, follow_monitor},
    {"seccomp.load", kGuest, load_filter, nullptr, filters_late},
    {"hook.start", kGuest, hook::run<Point::start>, nullptr, hook::has<Point::start>},
    {"init.exec", kGuest, exec_init},
};

std::span<const Row> start_rows() { return kStart; }

}  // namespace caisson
