#include "monitor/life.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "base/sys.h"
#include "monitor/memory.h"

namespace caisson {

constexpr int64_t kAskAgainMs = 20;
/// A container that has lived so long is likely to live on.
constexpr int64_t kSettleMs = 500;

// Rows: the states in their order. Columns: stop, kill, reboot, freeze, thaw, frozen, expired, orphaned, ended.
#define A(name) &Life::act_##name
const Life::Action Life::kTable[][kEvents] = {
    /* stopped  */ {},
    /* starting */ {},
    /* running  */ {A(stop), A(kill), A(reboot), A(freeze), A(thaw), nullptr, A(kill), A(kill), A(end)},
    /* stopping */ {A(stop), A(kill), nullptr, nullptr, A(thaw), nullptr, A(kill), A(kill), A(end)},
    /* aborting */ {nullptr, A(kill), nullptr, nullptr, nullptr, nullptr, A(kill), A(kill), A(end)},
    /* freezing */ {A(stop), A(kill), nullptr, nullptr, A(thaw), A(frozen), A(freeze_expired), A(kill), A(end)},
    /* frozen   */ {A(stop), A(kill), nullptr, A(freeze), A(thaw), nullptr, nullptr, A(kill), A(end)},
    /* thawed   */ {},
};
#undef A

Life::Life(const StartSpec& spec, Context& context, Peers& peers, int loop)
    : spec_(spec), context_(context), peers_(peers), loop_(loop), console_(loop), listeners_(loop, spec.syscall_proxy.has_value()),
      proxy_(loop, spec.syscall_proxy) {}

static void watch(int loop, int fd, uint32_t events) {
  if (fd < 0) return;
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  ::epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
}

ExitRecord Life::live() {
  watch(loop_, context_.pidfd.get(), EPOLLIN);
  // A log that cannot be written is reported when the container starts, not here: the pty is drained all the same.
  (void)!console_.open(spec_.console, context_.console.get());
  // Without its listener kept, calls with a notify rule fail with ENOSYS, which is what its absence means.
  if (context_.listener) (void)!listeners_.add(std::move(context_.listener));
  // A connection that cannot be watched is made anew by the first call.
  if (context_.proxy) (void)!proxy_.adopt(std::move(context_.proxy));
  settle_at_ = sys::now_ms() + kSettleMs;
  // A tty whose last inner end is closed reads as hung up; kept open, it can be looked at before and between getties.
  for (const Fd& tty : context_.ttys) tty_inners_.emplace_back(::ioctl(tty.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  while (!ended_) {
    follow_owner();
    wait_once();
  }
  console_.finish();
  return reap();
}

/// However its channel was lost: it was closed, or what was sent could not be, which may have been during the start.
void Life::follow_owner() {
  if (!spec_.foreground || orphaned_ || peers_.launcher() != nullptr) return;
  orphaned_ = true;
  happen(Event::orphaned);
}

void Life::wait_once() {
  int64_t next = -1;
  for (const int64_t at : {kill_at_, thaw_at_, ask_at_, settle_at_, console_.deadline(), proxy_.deadline()}) {
    if (at >= 0 && (next < 0 || at < next)) next = at;
  }
  int64_t timeout = next < 0 ? -1 : std::max<int64_t>(0, next - sys::now_ms());
  // A v1 freezer tells nobody when it is done.
  if (state_ == State::freezing && !frozen_watch_.fd) timeout = timeout < 0 ? 2 : std::min<int64_t>(timeout, 2);
  epoll_event events[8];
  const int count = ::epoll_wait(loop_, events, 8, static_cast<int>(std::min<int64_t>(timeout, 1 << 30)));
  for (int i = 0; i < count && !ended_; i++) dispatch(events[i].data.fd, events[i].events);
  if (ended_) return;
  if (state_ == State::freezing) check_frozen();
  const int64_t now = sys::now_ms();
  if (settle_at_ >= 0 && now >= settle_at_) settle_at_ = -1, memory::settle();
  console_.expire(now);
  proxy_.expire(now);
  if (ask_at_ >= 0 && now >= ask_at_) ask_to_halt();
  if ((kill_at_ >= 0 && now >= kill_at_) || (thaw_at_ >= 0 && now >= thaw_at_)) happen(Event::expired);
}

void Life::dispatch(int fd, uint32_t events) {
  if (fd == context_.pidfd.get()) return happen(Event::ended);
  if (fd == peers_.listener()) return peers_.accept();
  if (console_.serve(fd)) return;
  if (proxy_.serve(fd)) return;
  if (listeners_.has(fd)) {
    if ((events & EPOLLIN) != 0) return proxy_.pass(fd, context_.init);
    proxy_.forget(fd);
    listeners_.drop(fd);
    return;
  }
  if (Peer* peer = peers_.find(fd)) hear(*peer);
}

void Life::hear(Peer& peer) {
  bool closed = false;
  std::vector<Fd> descriptors;
  const std::optional<Request> request = peers_.read(peer, descriptors, closed);
  if (closed) peers_.drop(peer.socket.get());
  else if (request) answer(*request, peer, std::move(descriptors));
}

void Life::answer(const Request& request, Peer& peer, std::vector<Fd> descriptors) {
  switch (request.verb) {
    case Verb::subscribe: peer.subscribed = true; [[fallthrough]];
    case Verb::state: return answer_state(request, peer);
    case Verb::spec: return reply(request, peer, {}, {context_.pidfd.get(), context_.told.get()});
    case Verb::signal: return reply(request, peer, signal_init(static_cast<int>(request.number)));
    case Verb::stop: return happen(Event::stop, &request, &peer);
    case Verb::kill: return happen(Event::kill, &request, &peer);
    case Verb::reboot: return happen(Event::reboot, &request, &peer);
    case Verb::freeze: return happen(Event::freeze, &request, &peer);
    case Verb::thaw: return happen(Event::thaw, &request, &peer);
    case Verb::log: {
      Result<Fd> file = console_.log_file();
      if (!file) return reply(request, peer, std::move(file).error());
      if (request.number == 1) console_.clear();
      return reply(request, peer, {}, {file->get()});
    }
    case Verb::console: return answer_console(request, peer);
    case Verb::answered: return;  // too late: nobody waits for it any more
    case Verb::listener: return answer_listener(request, peer, std::move(descriptors));
  }
}

/// The console has any number of viewers; a tty is lent to one peer, until that closes its connection.
void Life::answer_console(const Request& request, Peer& peer) {
  if (request.number == 0) {
    Result<Fd> viewer = console_.view();
    if (!viewer) return reply(request, peer, std::move(viewer).error());
    return reply(request, peer, {}, {viewer->get(), context_.console.get()});
  }
  const auto count = static_cast<int64_t>(context_.ttys.size());
  int64_t number = request.number;
  for (int64_t next = 1; number < 0 && next <= count; next++) {
    if (!peers_.has_tty(next)) number = next;
  }
  if (number < 0) return reply(request, peer, sys::refused("ERR_CONTAINER_BUSY", "no tty is free: it has " + std::to_string(count) + " (lxc.tty.max)"));
  if (number > count)
    return reply(request, peer, sys::refused("ERR_INVALID_OPTION", "it has " + std::to_string(count) + " ttys (lxc.tty.max)"));
  if (peers_.has_tty(number)) return reply(request, peer, sys::refused("ERR_CONTAINER_BUSY", "somebody has tty" + std::to_string(number)));
  peer.tty = number;
  Report report{.kind = ReportKind::reply, .id = request.id, .state = state_, .pid = static_cast<int32_t>(number)};
  peers_.send(peer, report, {context_.ttys[static_cast<size_t>(number - 1)].get()});
}

void Life::answer_listener(const Request& request, Peer& peer, std::vector<Fd> descriptors) {
  if (!spec_.security.seccomp_notify) return reply(request, peer, sys::refused("ERR_CONTAINER_STATE", "its filter has no notify rule"));
  if (descriptors.empty()) {
    if (spec_.syscall_proxy) return reply(request, peer, sys::refused("ERR_CONTAINER_STATE", "its system calls go to lxc.seccomp.notify.proxy"));
    peer.answers = true;
    return reply(request, peer, {}, listeners_.descriptors());
  }
  reply(request, peer, listeners_.add(std::move(descriptors.front())));
  peers_.tell_answering({.kind = ReportKind::listener, .state = state_});
}

void Life::answer_state(const Request& request, Peer& peer) {
  peers_.send(peer, {.kind = ReportKind::reply, .id = request.id, .state = state_, .pid = context_.init});
}

void Life::reply(const Request& request, Peer& peer, Status status, const std::vector<int>& descriptors) {
  Report report{.kind = ReportKind::reply, .id = request.id, .state = state_, .pid = context_.init};
  if (!status) report.error = std::move(status).error();
  peers_.send(peer, report, descriptors);
}

void Life::happen(Event event, const Request* request, Peer* peer) {
  const Action action = kTable[static_cast<size_t>(state_)][static_cast<size_t>(event)];
  if (action != nullptr) return (this->*action)(request, peer);
  if (request == nullptr) return;
  const std::string state = names(state_)[static_cast<size_t>(state_)];
  reply(*request, *peer, sys::refused("ERR_CONTAINER_STATE", "it is " + state));
}

void Life::enter(State state) {
  if (state_ == state) return;
  state_ = state;
  context_.log.write(Level::info, "state", names(state_)[static_cast<size_t>(state_)]);
  peers_.publish({.kind = ReportKind::state, .state = state, .pid = context_.init});
}

Status Life::signal_init(int number) { return sys::pidfd_send_signal(context_.pidfd.get(), number); }

/// The signals that init has a handler for or blocks to read them, as a mask; empty when it is gone.
static uint64_t heard_signals(pid_t init) {
  auto status = sys::read_file("/proc/" + std::to_string(init) + "/status", 1 << 16);
  uint64_t heard = 0;
  for (const char* field : {"SigBlk:\t", "SigCgt:\t"}) {
    const size_t at = status ? status->find(field) : std::string::npos;
    if (at != std::string::npos) heard |= std::strtoull(status->c_str() + at + 8, nullptr, 16);
  }
  return heard;
}

/// Asks init to shut down: by the signal that was named, or SIGRTMIN+3 where it listens to that, as systemd does, or SIGPWR. Process 1 of
/// a pid namespace never gets a signal that it has no handler for, so an init that has only just begun is asked again, ever more seldom.
/// One that waits in sigwaitinfo(2) hears what /proc shows as unheard: that is why it is asked at once all the same.
void Life::ask_to_halt() {
  const uint64_t heard = heard_signals(context_.init);
  const auto hears = [heard](int number) { return (heard >> (number - 1) & 1) != 0; };
  const int power_off = SIGRTMIN + 3;
  const int number = halt_ != 0 ? halt_ : hears(power_off) ? power_off : SIGPWR;
  const bool gone = !signal_init(number);
  ask_at_ = gone || hears(number) ? -1 : sys::now_ms() + ask_pause_;
  ask_pause_ = std::min<int64_t>(ask_pause_ * 2, 1000);
}

void Life::act_stop(const Request* request, Peer* peer) {
  Status status;
  if (state_ == State::frozen || state_ == State::freezing) status = cgroup::thaw(context_.places);
  if (status) {
    halt_ = request->number > 0 ? static_cast<int>(request->number) : static_cast<int>(spec_.signals.halt);
    kill_at_ = request->timeout_ms < 0 ? -1 : sys::now_ms() + request->timeout_ms;
    settle_freeze(sys::refused("ERR_CONTAINER_STATE", "it is STOPPING"));
    enter(State::stopping);
    ask_pause_ = kAskAgainMs;
    ask_to_halt();
  }
  reply(*request, *peer, std::move(status));
}

void Life::act_kill(const Request* request, Peer* peer) {
  kill_at_ = -1;
  const int number = static_cast<int>(spec_.signals.stop);
  // A configured stop signal is for init; SIGKILL takes the whole container with it.
  Status status = number != 0 && number != SIGKILL && request != nullptr && request->number == 0
                      ? signal_init(number)
                      : cgroup::kill(context_.places);
  Status killed = number == SIGKILL || number == 0 || request == nullptr ? signal_init(SIGKILL) : Status{};
  // An init that was adopted is another process's child, and may be gone already.
  if (status && !killed && killed.error().number != ESRCH) status = std::move(killed);
  enter(State::stopping);
  if (request != nullptr) reply(*request, *peer, std::move(status));
}

void Life::act_reboot(const Request* request, Peer* peer) {
  halt_ = static_cast<int>(spec_.signals.reboot);
  ask_pause_ = kAskAgainMs;
  ask_to_halt();
  reply(*request, *peer, {});
}

void Life::act_freeze(const Request* request, Peer* peer) {
  if (state_ == State::frozen) return reply(*request, *peer, {});
  Status status = cgroup::freeze(context_.places);
  if (!status) return reply(*request, *peer, std::move(status));
  auto watched = cgroup::watch_events(context_.places);
  if (watched && watched->fd) {
    frozen_watch_ = std::move(*watched);
    watch(loop_, frozen_watch_.fd.get(), frozen_watch_.events);
  }
  freezer_socket_ = peer->socket.get();
  freezer_ = *request;
  thaw_at_ = request->timeout_ms < 0 ? -1 : sys::now_ms() + request->timeout_ms;
  enter(State::freezing);
  check_frozen();
}

void Life::check_frozen() {
  auto frozen = cgroup::frozen(context_.places);
  if (frozen && *frozen) happen(Event::frozen);
}

/// Answers whoever waits for a freeze, and forgets its deadline.
void Life::settle_freeze(Status status) {
  thaw_at_ = -1;
  frozen_watch_ = {};
  if (freezer_socket_ < 0) return;
  Peer* peer = peers_.find(freezer_socket_);
  freezer_socket_ = -1;
  if (peer != nullptr) reply(freezer_, *peer, std::move(status));
}

void Life::act_frozen(const Request*, Peer*) {
  enter(State::frozen);
  settle_freeze({});
}

/// A container is never left half frozen.
void Life::act_freeze_expired(const Request*, Peer*) {
  if (kill_at_ >= 0 && sys::now_ms() >= kill_at_) return act_kill(nullptr, nullptr);
  Status thawed = cgroup::thaw(context_.places);
  enter(State::running);
  settle_freeze(thawed ? Status(sys::refused("ERR_TIMEOUT", "not every process could be frozen in time")) : std::move(thawed));
}

void Life::act_thaw(const Request* request, Peer* peer) {
  Status status = cgroup::thaw(context_.places);
  if (status && (state_ == State::frozen || state_ == State::freezing)) {
    settle_freeze(sys::refused("ERR_CONTAINER_STATE", "it was thawed meanwhile"));
    enter(State::thawed);
    enter(State::running);
  }
  reply(*request, *peer, std::move(status));
}

void Life::act_end(const Request*, Peer*) {
  ended_ = true;
  settle_freeze(sys::refused("ERR_CONTAINER_NOT_RUNNING", "it ended meanwhile"));
  enter(State::stopping);
}

static int64_t unix_ms() {
  timeval now{};
  ::gettimeofday(&now, nullptr);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_usec / 1000;
}

/// The head of struct pidfd_info, linux/pidfd.h of 6.15.
struct PidfdInfo {
  uint64_t mask;
  uint64_t cgroup;
  uint32_t ids[11];
  int32_t exit_code;
};
static_assert(sizeof(PidfdInfo) == 64);

/// The wait status of a process that is not our child, which its parent must have reaped: Linux 6.15 keeps it in the pidfd.
static std::optional<int> ending_of_other(int pidfd) {
  constexpr uint64_t kExit = 1U << 3;  // PIDFD_INFO_EXIT
  for (int tries = 0; tries < 100; tries++) {
    PidfdInfo info{};
    info.mask = kExit;
    if (::ioctl(pidfd, _IOWR(0xFF, 11, PidfdInfo), &info) < 0) return std::nullopt;
    if ((info.mask & kExit) != 0) return info.exit_code;
    ::usleep(10'000);
  }
  return std::nullopt;
}

/// The wait status of the process, which is reaped if it is our child.
static std::optional<int> ending_of(int pidfd, pid_t pid) {
  int status = 0;
  pid_t waited;
  while ((waited = ::waitpid(pid, &status, __WALL)) < 0 && errno == EINTR) continue;
  if (waited == pid) return status;
  return ending_of_other(pidfd);
}

/// What a minimal init that was not killed itself has said of its child.
static std::optional<int> ending_of_child(Fd& told) {
  int status = 0;
  const Fd from = std::move(told);
  return from && ::read(from.get(), &status, sizeof status) == sizeof status ? std::optional(status) : std::nullopt;
}

ExitRecord Life::reap() {
  ExitRecord record;
  const std::optional<int> status = ending_of(context_.pidfd.get(), context_.init);
  ::epoll_ctl(loop_, EPOLL_CTL_DEL, context_.pidfd.get(), nullptr);
  const cgroup::Usage usage = cgroup::usage(context_.places);
  context_.init = 0;
  const std::optional<int> child = ending_of_child(context_.ending);
  record.at_ms = unix_ms();
  record.oom_killed = usage.oom_kills > 0;
  record.pids_limit_hit = usage.pids_limit_hits > 0;
  record.cpu_usec = usage.cpu_usec;
  record.memory_peak = usage.memory_peak;
  record.pids_peak = usage.pids_peak;
  if (!status && !child) return record;
  // reboot(2) in a pid namespace ends its init by SIGHUP (restart) or SIGINT (halt, power off), pid_namespaces(7).
  const int ending = child ? *child : *status;
  const int signal = WIFSIGNALED(ending) ? WTERMSIG(ending) : 0;
  rebooting_ = signal == SIGHUP && !child;
  if (signal == 0) record.code = WEXITSTATUS(ending);
  else if (!child && (signal == SIGINT || rebooting_)) record.code = 0;
  else record.signal = signal;
  return record;
}

}  // namespace caisson
