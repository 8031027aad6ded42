#include "monitor/attach.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

#include "base/socket.h"
#include "base/sys.h"
#include "kernel/device.h"
#include "kernel/mount.h"
#include "kernel/namespace.h"
#include "kernel/process.h"
#include "monitor/guest.h"
#include "monitor/schedule.h"
#include "monitor/supervisor.h"

namespace caisson::attach {

using namespace guest;

static bool joins_cgroup(const Context& c) { return ns::has(c.spec.namespaces, NamespaceKind::cgroup); }
static bool has_supervisor(const Context& c) { return c.spec.minimal_init; }
static bool remounts(const Context& c) { return c.remount; }
static bool has_terminal(const Context& c) { return c.spec.process.terminal; }

static Status open_cgroups(Context& c) {
  const pid_t init = c.own_cgroup ? 0 : TRY(sys::pid_of(c.target));
  c.places = TRY(cgroup::open(c.spec.cgroup, init));
  return {};
}

static Status share_core(Context& c) { return process::take_core_cookie(TRY(sys::pid_of(c.target))); }

/// All namespaces but the cgroup one: that is joined by the program itself, once it is in its cgroups. From here on this process could be
/// traced by the container's root, were it dumpable.
static Status join_namespaces(Context& c) {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return sys::failed("prctl", {}, "PR_SET_DUMPABLE");
  const uint64_t flags = ns::flags(c.spec.namespaces) & ~ns::flags({NamespaceKind::cgroup});
  if (flags != 0 && ::setns(c.target, static_cast<int>(flags)) < 0) return sys::failed("setns");
  return {};
}

static Status clone_program(Context& c) {
  socket::Pair line = TRY(socket::pair());
  int pidfd = -1;
  const int unified = cgroup::unified(c.places);
  const pid_t pid = TRY(sys::clone_process(CLONE_PARENT, &pidfd, 0, unified));
  if (pid == 0) {
    c.side = Side::guest;
    c.unified_joined = unified >= 0;
    c.line = std::move(line.right);
    line.left.reset();
    return {};
  }
  c.pidfd = Fd(pidfd);
  c.init = pid;
  c.line = std::move(line.left);
  return {};
}

static Status kill_program(Context& c) { return sys::pidfd_send_signal(c.pidfd.get(), SIGKILL); }

static Status join_cgroup(Context& c) {
  if (::setns(c.target, static_cast<int>(ns::flags({NamespaceKind::cgroup}))) < 0) return sys::failed("setns", "cgroup");
  return {};
}

/// /proc and /sys of the host tell of the host's namespaces. The new ones cover them in a mount namespace that ends with the program.
static Status remount_views(Context&) {
  TRY(mount::leave_host());
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount("proc", "/proc", "proc", kFlags, nullptr) < 0) return sys::failed("mount", "/proc");
  if (::mount("sysfs", "/sys", "sysfs", kFlags, nullptr) < 0) return sys::failed("mount", "/sys");
  return {};
}

static Status open_terminal(Context& c) {
  const Fd root = TRY(sys::open("/", O_PATH | O_DIRECTORY));
  device::Pty pty = TRY(device::open_pty(root.get()));
  const winsize size{static_cast<unsigned short>(c.spec.process.rows), static_cast<unsigned short>(c.spec.process.columns), 0, 0};
  if (size.ws_row > 0 && ::ioctl(pty.outer.get(), TIOCSWINSZ, &size) < 0) return sys::failed("ioctl", "TIOCSWINSZ");
  c.console = std::move(pty.outer);
  c.console_inner = std::move(pty.inner);
  return {};
}

/// Before the mount namespace is joined, in which the socket's path would be another's.
static Status connect_monitor(Context& c) {
  c.monitor = TRY(socket::connect(c.spec.run_dir + "/socket"));
  return {};
}

/// A call that the program makes before the monitor has its listener just waits. Afterwards only the monitor keeps it.
static Status keep_listener(Context& c) {
  constexpr int64_t kDeadlineMs = 5000;
  const Request request{.id = 1, .verb = Verb::listener};
  TRY(socket::send(c.monitor.get(), encode(request), {c.listener.get()}, true));
  c.listener.reset();
  if (!TRY(socket::wait_readable(c.monitor.get(), sys::now_ms() + kDeadlineMs))) {
    return sys::refused("ERR_TIMEOUT", "the container's monitor did not take the listener in time");
  }
  const socket::Packet packet = TRY(socket::receive(c.monitor.get(), kLargestMessage, true));
  Report report;
  if (!decode(packet.data.data(), packet.data.size(), report)) return sys::refused("ERR_MONITOR_LOST", "the container's monitor has ended");
  if (report.error) return *report.error;
  return {};
}

static Status exec_program(Context& c) {
  if (has_supervisor(c)) return supervisor::run(c);
  process::reset_signals();
  return process::exec(c.spec.process);
}

constexpr Side kHost = Side::host;
constexpr Side kGuest = Side::guest;

constexpr Row kAttach[] = {
    {"lsm.prepare", kHost, prepare_labels, nullptr, has_labels},
    {"cgroup.open", kHost, open_cgroups, nullptr, has_cgroups},
    {"core.share", kHost, share_core, nullptr, schedules_cores},
    {"rlimit.set", kHost, set_rlimits},
    {"proc.set", kHost, set_proc},
    {"monitor.connect", kHost, connect_monitor, nullptr, notifies},
    {"namespace.join", kHost, join_namespaces},
    {"process.clone", kHost, clone_program, kill_program},

    {"cgroup.enter", kGuest, enter_cgroups, nullptr, has_cgroups},
    {"cgroup.join", kGuest, join_cgroup, nullptr, joins_cgroup},
    {"idmap.enter", kGuest, enter_idmap, nullptr, has_user},
    {"mount.remount", kGuest, remount_views, nullptr, remounts},
    {"pids.unshare", kGuest, supervisor::unshare_pids, nullptr, has_supervisor},
    {"keyring.renew", kGuest, renew_keyring},
    {"console.open", kGuest, open_terminal, nullptr, has_terminal},
    {"session.create", kGuest, create_session},
    {"process.prepare", kGuest, set_modes},
    {"caps.bound", kGuest, bound_caps},
    {"lsm.label", kGuest, label_process, nullptr, has_labels},
    {"landlock.restrict", kGuest, restrict_files, nullptr, has_landlock},
    {"seccomp.load", kGuest, load_filter, nullptr, filters_early},
    {"ids.set", kGuest, set_ids},
    {"caps.set", kGuest, set_caps},
    {"privileges.forbid", kGuest, forbid_privileges, nullptr, forbids_privileges},
    {"seccomp.load", kGuest, load_filter, nullptr, filters_late},
    {"listener.keep", kHost, keep_listener, nullptr, notifies},
    {"process.exec", kGuest, exec_program},
};

/// The part of a StartSpec that the shared rows read.
static StartSpec as_start(const AttachSpec& told) {
  StartSpec spec;
  spec.namespaces = told.namespaces;
  spec.idmap.deny_setgroups = told.keep_groups;
  spec.idmap.uids = {{.container = told.first_uid, .host = 0, .range = 1}};
  spec.idmap.gids = {{.container = told.first_gid, .host = 0, .range = 1}};
  spec.cgroup = told.cgroup;
  spec.security = told.security;
  spec.run_dir = told.run_dir.value_or("");
  spec.minimal_init = told.own_pids;
  spec.process = told.process;
  spec.console.pty = false;
  spec.console.input = told.input;
  spec.console.output = told.output;
  spec.console.error = told.error;
  return spec;
}

int run(const AttachSpec& told, Fd, Fd channel, std::vector<Fd> slots) {
  const StartSpec spec = as_start(told);
  Context context(spec);
  context.slots = std::move(slots);
  context.target = context.slot(told.init);
  context.own_cgroup = told.own_cgroup;
  context.remount = told.remount;
  Schedule schedule(kAttach, context);
  Status walked = schedule.walk();
  Report report{.kind = ReportKind::started, .state = State::running, .pid = context.init, .trace = schedule.trace()};
  std::vector<int> descriptors;
  if (walked) {
    descriptors.push_back(context.pidfd.get());
    if (context.console) descriptors.push_back(context.console.get());
  } else {
    report.kind = ReportKind::failed;
    report.error = std::move(walked).error();
    report.cleanup = schedule.undo();
    // The program is the caller's child: only the caller can reap it.
    if (context.pidfd) descriptors.push_back(context.pidfd.get());
  }
  return socket::send(channel.get(), encode(report), descriptors, true) ? 0 : 2;
}

}  // namespace caisson::attach
