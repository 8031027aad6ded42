#include "monitor/proxy.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/socket.h"
#include "base/sys.h"

namespace caisson {

/// LXC's.
constexpr int64_t kPatienceMs = 30'000;

/// The head of every packet. The layout is LXC's; `cookie` bytes of cookie end the packet.
struct Head {
  uint64_t reserved;
  int32_t monitor;
  int32_t init;
  seccomp_notif_sizes sizes;
  uint64_t cookie;
};
static_assert(sizeof(Head) == 32);

static seccomp_notif_sizes sizes() {
  seccomp_notif_sizes known{};
  if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &known) < 0) known = {sizeof(seccomp_notif), sizeof(seccomp_notif_resp), 64};
  return known;
}

static void answer(int listener, seccomp_notif_resp& response) {
  // ENOENT: the caller no longer waits.
  (void)!::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static void refuse(int listener, uint64_t id) {
  seccomp_notif_resp response{};
  response.id = id;
  response.error = -ENOSYS;
  answer(listener, response);
}

Result<Fd> Proxy::connect(const SyscallProxySpec& spec) {
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return sys::failed("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t from = spec.abstract ? 1 : 0;
  if (spec.address.size() + 1 > sizeof address.sun_path) return sys::failed_with(ENAMETOOLONG, "connect", spec.address);
  std::memcpy(address.sun_path + from, spec.address.data(), spec.address.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + spec.address.size());
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) < 0) return sys::failed("connect", spec.address);
  return socket;
}

Status Proxy::adopt(Fd socket) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = socket.get();
  if (::epoll_ctl(loop_, EPOLL_CTL_ADD, socket.get(), &event) < 0) return sys::failed("epoll_ctl");
  socket_ = std::move(socket);
  return {};
}

/// The connection, made anew when the proxy was started anew.
bool Proxy::send(const Bytes& packet, const std::vector<int>& descriptors) {
  if (socket_ && socket::send(socket_.get(), packet, descriptors, false)) return true;
  if (socket_ && errno == EAGAIN) return false;
  lose();
  auto fresh = connect(*spec_);
  return fresh && adopt(std::move(*fresh)) && socket::send(socket_.get(), packet, descriptors, false);
}

/// The caller's directory and memory; only that it still waits after they were opened proves that they are its own, seccomp_unotify(2).
static std::vector<Fd> open_caller(int listener, uint64_t id, uint32_t pid) {
  const std::string path = "/proc/" + std::to_string(pid);
  std::vector<Fd> opened;
  opened.emplace_back(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  opened.emplace_back(::open((path + "/mem").c_str(), O_RDWR | O_CLOEXEC));
  if (!opened[0] || !opened[1] || ::ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0) opened.clear();
  return opened;
}

void Proxy::pass(int listener, pid_t init) {
  const seccomp_notif_sizes known = sizes();
  Head head{0, ::getpid(), init, known, spec_->cookie.size()};
  Bytes packet(sizeof head + known.seccomp_notif + known.seccomp_notif_resp);
  // The kernel wants zeros there.
  if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, packet.data() + sizeof head) < 0) return;
  seccomp_notif call;
  std::memcpy(&call, packet.data() + sizeof head, sizeof call);
  std::memcpy(packet.data(), &head, sizeof head);
  std::memcpy(packet.data() + sizeof head + known.seccomp_notif, &call.id, sizeof call.id);
  packet.insert(packet.end(), spec_->cookie.begin(), spec_->cookie.end());
  const std::vector<Fd> caller = open_caller(listener, call.id, call.pid);
  if (caller.empty() || !send(packet, {caller[0].get(), caller[1].get(), listener})) return refuse(listener, call.id);
  waiting_.push_back({listener, call.id, sys::now_ms() + kPatienceMs});
}

bool Proxy::serve(int fd) {
  if (!socket_ || fd != socket_.get()) return false;
  for (;;) {
    auto packet = socket::receive(fd, 4096, false);
    if (!packet && packet.error().number == EAGAIN) return true;
    if (!packet || packet->data.empty()) return lose(), true;
    take(packet->data);
  }
}

void Proxy::take(const Bytes& packet) {
  const seccomp_notif_sizes known = sizes();
  const size_t at = sizeof(Head) + known.seccomp_notif;
  Head head;
  seccomp_notif_resp response;
  uint64_t id = 0;
  if (packet.size() < at + sizeof response) return;
  std::memcpy(&head, packet.data(), sizeof head);
  std::memcpy(&id, packet.data() + sizeof head, sizeof id);
  std::memcpy(&response, packet.data() + at, sizeof response);
  const auto found = std::ranges::find(waiting_, id, &Waiting::id);
  if (found == waiting_.end()) return;
  const int listener = found->listener;
  waiting_.erase(found);
  if (head.reserved != 0 || response.id != id) return refuse(listener, id);
  answer(listener, response);
}

/// The proxy is gone, and with it every answer that was to come.
void Proxy::lose() {
  if (socket_) ::epoll_ctl(loop_, EPOLL_CTL_DEL, socket_.get(), nullptr);
  socket_.reset();
  for (const Waiting& call : waiting_) refuse(call.listener, call.id);
  waiting_.clear();
}

int64_t Proxy::deadline() const { return waiting_.empty() ? -1 : waiting_.front().until; }

void Proxy::expire(int64_t now) {
  while (!waiting_.empty() && waiting_.front().until <= now) {
    refuse(waiting_.front().listener, waiting_.front().id);
    waiting_.erase(waiting_.begin());
  }
}

void Proxy::forget(int listener) {
  std::erase_if(waiting_, [listener](const Waiting& call) { return call.listener == listener; });
}

}  // namespace caisson
