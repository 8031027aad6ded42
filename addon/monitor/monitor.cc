#include "monitor/monitor.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/sys.h"
#include "kernel/caps.h"
#include "kernel/cover.h"
#include "kernel/mount.h"
#include "kernel/tree.h"
#include "monitor/hook.h"
#include "monitor/confinement.h"
#include "monitor/life.h"
#include "monitor/proxy.h"
#include "monitor/start.h"

namespace caisson::monitor {

/// The lock that says "this container has a monitor": held by the open file description, gone with the process however it ends.
static Result<Fd> lock(int run_dir) {
  Fd file = TRY(sys::open_at(run_dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  struct flock range{};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  constexpr int kTries = 20;
  // A monitor that was killed a moment ago lets go of its descriptors one after the other.
  for (int tries = 0; tries < kTries; tries++) {
    if (::fcntl(file.get(), F_OFD_SETLK, &range) == 0) return file;
    if (errno != EAGAIN && errno != EACCES) break;
    ::usleep(5'000);
  }
  if (errno == EAGAIN || errno == EACCES) return sys::refused("ERR_CONTAINER_RUNNING", "it has a monitor already");
  return sys::failed("fcntl", "lock");
}

static Error with_step(Error error, const char* step) {
  error.step = step;
  return error;
}

static Status open_log(const StartSpec& spec, Context& context) {
  Status opened = context.log.open(spec);
  return opened ? Status{} : Status(with_step(std::move(opened).error(), "log.open"));
}

/// Before anything of the container exists: without the proxy its calls would fail one by one.
static Status connect_proxy(const StartSpec& spec, Context& context) {
  if (!spec.syscall_proxy) return {};
  auto connected = Proxy::connect(*spec.syscall_proxy);
  if (!connected) return with_step(std::move(connected).error(), "seccomp.proxy");
  context.proxy = std::move(*connected);
  return {};
}

static Status begin(const StartSpec& spec, Context& context, Peers& peers, Fd& held) {
  ::umask(022);
  if (::setsid() < 0 && errno != EPERM) return sys::failed("setsid");
  if (::chdir("/") < 0) return sys::failed("chdir", "/");
  context.privileged = caps::effective(caps::kSysAdmin);
  TRY(open_log(spec, context));
  TRY(connect_proxy(spec, context));
  if (spec.unshare) TRY(mount::leave_host());
  if (spec.run_dir.empty()) return {};
  context.run_dir = TRY(sys::open(spec.run_dir, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  held = TRY(lock(context.run_dir.get()));
  if (::unlinkat(context.run_dir.get(), "exit", 0) < 0 && errno != ENOENT) return sys::failed("unlinkat", "exit");
  return peers.listen(context.run_dir.get());
}

static std::string text_of(const ExitRecord& exit) {
  const auto number = [](const auto& value) { return value ? std::to_string(*value) : std::string("-"); };
  return "code " + number(exit.code) + "\nsignal " + number(exit.signal) + "\noomKilled " + std::to_string(exit.oom_killed) +
         "\npidsLimitHit " + std::to_string(exit.pids_limit_hit) + "\natMs " + std::to_string(exit.at_ms) + "\ncpuUsec " +
         number(exit.cpu_usec) + "\nmemoryPeak " + number(exit.memory_peak) + "\npidsPeak " + number(exit.pids_peak) + "\n";
}

static std::string told_of(const std::optional<ExitRecord>& exit) {
  if (exit && exit->signal) return "init was killed by signal " + std::to_string(*exit->signal);
  return exit && exit->code ? "init ended with code " + std::to_string(*exit->code) : "how init ended is not known";
}

/// What the run directory says once the monitor is gone: how it ended; and, when everything outside was removed, no ledger.
static void leave_records(Context& context, const std::optional<ExitRecord>& exit, std::vector<Error>& cleanup) {
  if (!context.run_dir) return;
  const int dir = context.run_dir.get();
  if (exit) {
    Status written = sys::replace_file_at(dir, "exit", text_of(*exit), 0600);
    if (!written) cleanup.push_back(std::move(written).error());
  }
  ::unlinkat(dir, "init", 0);
  ::unlinkat(dir, "spec", 0);
  if (cleanup.empty()) ::unlinkat(dir, "ledger.json", 0);
  ::unlinkat(dir, "socket", 0);
}

/// The launcher gets init's pidfd and, for a program on a terminal, the terminal's outer end, which is then its own to read.
static void tell_started(Context& context, Peers& peers, const std::vector<TraceEntry>& trace) {
  Peer* launcher = peers.launcher();
  if (launcher == nullptr) return;
  std::vector<int> descriptors{context.pidfd.get()};
  const bool terminal = context.spec.process.terminal && context.console;
  if (terminal) descriptors.push_back(context.console.get());
  peers.send(*launcher, {.kind = ReportKind::started, .state = State::running, .pid = context.init, .trace = trace}, descriptors);
  if (terminal) context.console.reset();
}

/// Finds the init that the record of a dead monitor names: the same process, by its start time, or none.
static Status adopt_init(const StartSpec& spec, Context& context) {
  const Fd record = TRY(sys::open_at(context.run_dir.get(), "init", O_RDONLY | O_NOFOLLOW));
  const std::string text = TRY(sys::read_all(record.get(), "init"));
  char* end = nullptr;
  const auto pid = static_cast<pid_t>(std::strtol(text.c_str(), &end, 10));
  const uint64_t started = std::strtoull(end, nullptr, 10);
  context.pidfd = TRY(sys::pidfd_open(pid));
  if (TRY(sys::start_time(pid)) != started) return sys::failed_with(ESRCH, "pidfd_open", text, "another process has that number now");
  context.init = pid;
  context.places = TRY(cgroup::open(spec.cgroup));
  return {};
}

/// Everything that one turn of a container's life shares.
struct Turn {
  const StartSpec& spec;
  Context& context;
  Peers& peers;
  int loop;
  Fd& held;
  bool first;
  bool adopted;
};

/// What an ephemeral container was. A hook that fails keeps it, marked, for recover().
static Status remove_container(Context& context) {
  context.root.reset();
  TRY(hook::run(context, HookPoint::destroy));
  return tree::remove(context.spec.lxcpath, context.spec.name);
}

/// The container runs: it is told, lived, and undone. False when it is not to be started again.
static bool live(Turn& turn, Schedule& schedule) {
  const auto& [spec, context, peers, loop, held, first, adopted] = turn;
  context.log.write(schedule.trace());
  context.log.write(Level::notice, "state", "RUNNING, init is process " + std::to_string(context.init));
  if (first) tell_started(context, peers, schedule.trace());
  else peers.publish({.kind = ReportKind::state, .state = State::running, .pid = context.init});
  cover::reap(context.copier);
  // It has its own; held here too, a pipe would not end with it. One that may reboot needs them again.
  if (spec.minimal_init) context.slots.clear();
  Status confined = confinement::fits(context) ? confinement::enter(context) : Status{};
  Report report{.kind = ReportKind::exited, .state = State::stopped};
  const auto note = [&](Status status) {
    if (!status) report.cleanup.push_back(std::move(status).error());
  };
  note(std::move(confined));
  // Off the way to exec, as it may wait for a grace period.
  const std::string origin = cgroup::own_unified(spec.cgroup);
  if (!spec.foreground) note(cgroup::enter_monitor(spec.cgroup));
  Life life(spec, context, peers, loop);
  report.exit = life.live();
  context.rebooting = life.rebooting();
  if (!spec.foreground) note(cgroup::leave_monitor(spec.cgroup, origin));
  for (Error& error : schedule.undo()) report.cleanup.push_back(std::move(error));
  if (spec.ephemeral && !life.rebooting()) note(remove_container(context));
  for (const Error& error : report.cleanup) context.log.write(Level::warn, error);
  context.log.write(Level::notice, "state", (life.rebooting() ? "REBOOTING, " : "STOPPED, ") + told_of(report.exit));
  if (life.rebooting()) {
    peers.publish({.kind = ReportKind::state, .state = State::starting});
    return true;
  }
  leave_records(context, report.exit, report.cleanup);
  peers.close_listener();
  // Whoever hears of the end may start it again at once.
  held.reset();
  peers.publish(report);
  return false;
}

/// One start, or the adoption of a living container, and one life.
static bool live_once(Turn& turn) {
  Context& context = turn.context;
  Schedule schedule(start_rows(), context);
  Status begun = turn.adopted ? adopt_init(turn.spec, context) : schedule.walk();
  if (context.side == Side::guest) ::_exit(127);  // a minimal init that could not begin
  if (begun) {
    if (turn.adopted) schedule.take_over();
    return live(turn, schedule);
  }
  Report report{.kind = turn.first ? ReportKind::failed : ReportKind::exited, .state = State::stopped, .error = std::move(begun).error()};
  context.log.write(schedule.trace());
  context.log.write(Level::error, *report.error);
  if (!turn.adopted) {
    report.cleanup = schedule.undo();
    leave_records(context, std::nullopt, report.cleanup);
  }
  turn.held.reset();
  turn.peers.publish(report);
  return false;
}

static int serve(StartSpec& spec, Fd told, Fd channel, std::vector<Fd> slots, bool adopted) {
  const Fd loop(::epoll_create1(EPOLL_CLOEXEC));
  Peers peers(loop.get());
  Context context(spec);
  context.peers = &peers;
  context.told = std::move(told);
  context.slots = std::move(slots);
  context.rest = {channel.get(), &spec};
  Fd held;
  if (!peers.adopt(std::move(channel), true)) return 2;
  Status begun = begin(spec, context, peers, held);
  if (!begun) {
    Report report{.kind = ReportKind::failed, .state = State::stopped, .error = std::move(begun).error()};
    if (report.error->step.empty()) report.error->step = "monitor.begin";
    context.log.write(Level::error, *report.error);
    peers.publish(report);
    return 1;
  }
  context.log.write(Level::info, "state", adopted ? "ADOPTED" : "STARTING");
  Turn turn{spec, context, peers, loop.get(), held, true, adopted};
  while (live_once(turn)) {
    turn.first = turn.adopted = false;
    context.root.reset();
    context.console.reset();
    context.ttys.clear();
    context.listener.reset();
    context.line.reset();
    context.unified_joined = false;
  }
  return 0;
}

int run(StartSpec& spec, Fd told, Fd channel, std::vector<Fd> slots) {
  return serve(spec, std::move(told), std::move(channel), std::move(slots), false);
}

int adopt(StartSpec& spec, Fd told, Fd channel, std::vector<Fd> slots) {
  return serve(spec, std::move(told), std::move(channel), std::move(slots), true);
}

}  // namespace caisson::monitor
