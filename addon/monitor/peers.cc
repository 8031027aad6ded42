#include "monitor/peers.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/socket.h"
#include "base/sys.h"

namespace caisson {

static Status watch(int loop, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0) return sys::failed("epoll_ctl");
  return {};
}

Status Peers::adopt(Fd socket, bool launcher) {
  TRY(watch(loop_, socket.get()));
  auto peer = std::make_unique<Peer>();
  peer->socket = std::move(socket);
  peer->launcher = launcher;
  peers_.push_back(std::move(peer));
  return {};
}

Status Peers::listen(int run_dir) {
  listener_ = TRY(socket::listen(run_dir, "socket"));
  return watch(loop_, listener_.get());
}

void Peers::close_listener() { listener_.reset(); }

void Peers::accept() {
  Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket) return;
  auto uid = socket::peer_uid(socket.get());
  if (!uid || (*uid != 0 && *uid != ::getuid())) return;
  // A connection that cannot be watched is closed: the peer sees the end of file and reports it.
  (void)!adopt(std::move(socket), false);
}

Peer* Peers::find(int socket) {
  for (const auto& peer : peers_) {
    if (peer->socket.get() == socket) return peer.get();
  }
  return nullptr;
}

bool Peers::has_tty(int64_t number) const {
  return std::ranges::any_of(peers_, [number](const auto& peer) { return peer->tty == number; });
}

Peer* Peers::launcher() {
  for (const auto& peer : peers_) {
    if (peer->launcher) return peer.get();
  }
  return nullptr;
}

std::optional<Request> Peers::read(Peer& peer, std::vector<Fd>& descriptors, bool& closed) {
  auto packet = socket::receive(peer.socket.get(), 4096, false);
  if (!packet && packet.error().number == EAGAIN) return std::nullopt;
  Request request;
  if (!packet || packet->data.empty() || !decode(packet->data.data(), packet->data.size(), request)) {
    closed = true;
    return std::nullopt;
  }
  descriptors = std::move(packet->descriptors);
  return request;
}

void Peers::drop(int socket) {
  std::erase_if(peers_, [socket](const auto& peer) { return peer->socket.get() == socket; });
}

bool Peers::send(Peer& peer, const Report& report, const std::vector<int>& descriptors) {
  if (socket::send(peer.socket.get(), encode(report), descriptors, false)) return true;
  drop(peer.socket.get());
  return false;
}

Result<bool> Peers::ask(const std::string& step, pid_t init, int64_t timeout_ms) {
  const int64_t deadline = sys::now_ms() + timeout_ms;
  const uint32_t id = ++asked_;
  Peer* asked = launcher();
  if (asked == nullptr || !send(*asked, {.kind = ReportKind::ask, .id = id, .pid = init, .step = step})) return false;
  while (Peer* peer = launcher()) {
    if (!TRY(socket::wait_readable(peer->socket.get(), deadline))) return sys::refused("ERR_TIMEOUT", "the callback took too long");
    std::vector<Fd> descriptors;
    bool closed = false;
    const std::optional<Request> request = read(*peer, descriptors, closed);
    if (closed) drop(peer->socket.get());
    if (!request) continue;
    if (request->verb != Verb::answered) {
      send(*peer, {.kind = ReportKind::reply, .id = request->id, .error = sys::refused("ERR_CONTAINER_STATE", "it waits for " + step)});
      continue;
    }
    if (request->id != id) continue;
    if (request->number != 0) return sys::refused("ERR_HOOK", "its callback failed");
    return true;
  }
  return false;
}

template <class Wants>
void Peers::send_to(Wants wants, const Report& report) {
  std::vector<int> sockets;
  for (const auto& peer : peers_) {
    if (wants(*peer)) sockets.push_back(peer->socket.get());
  }
  for (const int socket : sockets) {
    if (Peer* peer = find(socket)) send(*peer, report);
  }
}

void Peers::publish(const Report& report) {
  send_to([](const Peer& peer) { return peer.launcher || peer.subscribed; }, report);
}

void Peers::tell_answering(const Report& report) {
  send_to([](const Peer& peer) { return peer.answers; }, report);
}

}  // namespace caisson
