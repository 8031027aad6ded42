#include "binding/nursery.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "base/socket.h"
#include "base/sys.h"
#include "binding/launch.h"
#include "binding/reactor.h"

namespace caisson::binding::nursery {

/// A launch that comes later than this after another one makes no nursery.
constexpr int64_t kSoonMs = 2'000;
constexpr int64_t kOldMs = 10'000;

/// What a child inherits and this process can change: a nursery from before the change is not asked.
using Traits = std::array<int64_t, 7>;

static Traits traits() {
  uid_t uids[3]{};
  gid_t gids[3]{};
  ::getresuid(&uids[0], &uids[1], &uids[2]);
  ::getresgid(&gids[0], &gids[1], &gids[2]);
  return {uids[0], uids[1], uids[2], gids[0], gids[1], gids[2], ::getpriority(PRIO_PROCESS, 0)};
}

struct Nursery {
  Fd socket;
  Traits traits{};
  int64_t born = 0;
  std::atomic<bool> gone = false;
};

/// The one that is asked. Let go of, it does what it was asked before, and the reactor hears of it until it has ended.
struct Current {
  std::shared_ptr<Nursery> nursery;
  void let_go() {
    if (nursery) ::shutdown(nursery->socket.get(), SHUT_WR);
    nursery.reset();
  }
  ~Current() { let_go(); }
};

/// Of this thread: each environment of Node's has one, and a reactor to hear of the children.
static thread_local Current current;
static thread_local int64_t last = -kSoonMs;

/// On the reactor's thread: the pidfd of each child, which is this process's to reap, until the nursery ends.
static bool hear(Reactor& reactor, Nursery& nursery) {
  auto packet = socket::receive(nursery.socket.get(), 16, false);
  if (!packet && packet.error().number == EAGAIN) return true;
  if (!packet || packet->data.empty()) {
    nursery.gone = true;
    return false;
  }
  for (Fd& pidfd : packet->descriptors) reactor.reap(std::move(pidfd));
  return true;
}

/// It could not be made: what it has been asked for meanwhile is told so.
static void refuse(int socket, const Error& error) {
  for (;;) {
    auto packet = socket::receive(socket, 16, false);
    if (!packet || packet->data.empty()) return;
    if (packet->descriptors.size() >= 2) tell_failure(packet->descriptors[1].get(), error);
  }
}

static Status make(Napi::Env env, const std::string& fallback) {
  socket::Pair line = TRY(socket::pair());
  constexpr int kOn = 1;
  // It shall know who asks; set before it runs, as the first packet is there before it is.
  if (::setsockopt(line.right.get(), SOL_SOCKET, SO_PASSCRED, &kOn, sizeof kOn) < 0) return sys::failed("setsockopt");
  child::Program monitor = TRY(monitor_program("nursery", fallback));
  std::vector<Fd> descriptors;
  // It has no Spec.
  for (int i = 0; i < kNull + 1; i++) descriptors.push_back(TRY(sys::open("/dev/null", O_RDWR | O_NOCTTY)));
  descriptors.push_back(std::move(line.right));
  Reactor& reactor = Reactor::of(env);
  child::exec_soon(env, std::move(monitor), std::move(descriptors), [&reactor](const std::vector<Fd>& held, Result<child::Child> started) {
    if (started) reactor.reap(std::move(started->pidfd));
    else refuse(held[kNull + 1].get(), started.error());
  });
  auto made = std::make_shared<Nursery>();
  made->socket = std::move(line.left);
  made->traits = traits();
  made->born = sys::now_ms();
  reactor.watch(made->socket.get(), [made, &reactor] { return hear(reactor, *made); });
  current.nursery = std::move(made);
  return {};
}

/// Whether the nursery that there is will do.
static bool is_good(const Nursery* nursery, int64_t now) {
  return nursery != nullptr && !nursery->gone && now - nursery->born < kOldMs && nursery->traits == traits();
}

bool launch(Napi::Env env, const char* verb, const std::vector<int>& descriptors, const std::string& fallback) {
  const int64_t now = sys::now_ms();
  const bool soon = now - last < kSoonMs;
  last = now;
  if (!is_good(current.nursery.get(), now)) {
    current.let_go();
    if (!soon || !make(env, fallback)) return false;
  }
  const std::string name = verb;
  if (socket::send(current.nursery->socket.get(), Bytes(name.begin(), name.end()), descriptors, false)) return true;
  current.let_go();
  return false;
}

Napi::Value close(const Napi::CallbackInfo& info) {
  current.let_go();
  return info.Env().Undefined();
}

}  // namespace caisson::binding::nursery
