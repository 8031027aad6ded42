#include "base/socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/sys.h"

namespace caisson::socket {

Result<Pair> pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return sys::failed("socketpair");
  return Pair{Fd(ends[0]), Fd(ends[1])};
}

Status send(int socket, const Bytes& data, const std::vector<int>& descriptors, bool wait) {
  iovec part{const_cast<uint8_t*>(data.data()), data.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostDescriptors * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptors.size() > kMostDescriptors) return sys::failed_with(E2BIG, "sendmsg");
  if (!descriptors.empty()) {
    const size_t size = descriptors.size() * sizeof(int);
    std::memset(control, 0, sizeof control);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(header), descriptors.data(), size);
  }
  for (;;) {
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    if (sent >= 0) return {};
    if (errno != EINTR) return sys::failed("sendmsg");
  }
}

static void take_control(msghdr& message, Packet& into) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS) {
      std::memcpy(&into.sender.emplace(), CMSG_DATA(header), sizeof(ucred));
    }
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(header) + i * sizeof(int), sizeof number);
      into.descriptors.emplace_back(number);
    }
  }
}

Result<Packet> receive(int socket, size_t most, bool wait) {
  Packet packet;
  // How long it is, before room is made: the longest packets are rare, and monitors are many.
  ssize_t size;
  bool reset = false;
  do {
    size = ::recv(socket, nullptr, 0, MSG_PEEK | MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT));
    // A peer that has ended with something of ours unread: the kernel says so once, and before what the peer has said last.
  } while (size < 0 && (errno == EINTR || (errno == ECONNRESET && !std::exchange(reset, true))));
  if (size < 0 && errno != ECONNRESET) return sys::failed("recv");
  packet.data.resize(std::min(most, static_cast<size_t>(std::max<ssize_t>(size, 1))));
  iovec part{packet.data.data(), packet.data.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostDescriptors * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
  } while (got < 0 && (errno == EINTR || (errno == ECONNRESET && !std::exchange(reset, true))));
  if (got < 0 && errno == ECONNRESET) got = 0;
  if (got < 0) return sys::failed("recvmsg");
  take_control(message, packet);
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return sys::failed_with(EMSGSIZE, "recvmsg");
  packet.data.resize(static_cast<size_t>(got));
  return packet;
}

Result<bool> wait_readable(int socket, int64_t deadline_ms) {
  for (;;) {
    const int64_t left = deadline_ms < 0 ? -1 : std::max<int64_t>(0, deadline_ms - sys::now_ms());
    pollfd waited{socket, POLLIN, 0};
    const int ready = ::poll(&waited, 1, static_cast<int>(std::min<int64_t>(left, 1 << 30)));
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) return sys::failed("poll");
  }
}

/// The address of `name` in the directory that `dir` is open on.
static sockaddr_un address_at(int dir, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(dir) + "/" + name;
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size() + 1, sizeof address.sun_path - 1));
  return address;
}

Result<Fd> listen(int dir, const std::string& name) {
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return sys::failed("socket");
  if (::unlinkat(dir, name.c_str(), 0) < 0 && errno != ENOENT) return sys::failed("unlinkat", name);
  const sockaddr_un address = address_at(dir, name);
  if (::fchmod(socket.get(), 0600) < 0) return sys::failed("fchmod", name);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) return sys::failed("bind", name);
  if (::listen(socket.get(), 64) < 0) return sys::failed("listen", name);
  return socket;
}

Result<Fd> connect(const std::string& path) {
  const size_t slash = path.rfind('/');
  const Fd dir = TRY(sys::open(path.substr(0, slash), O_PATH | O_DIRECTORY));
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return sys::failed("socket");
  const sockaddr_un address = address_at(dir.get(), path.substr(slash + 1));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return sys::failed("connect", path);
  }
  return socket;
}

Result<uid_t> peer_uid(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return sys::failed("getsockopt", {}, "SO_PEERCRED");
  return peer.uid;
}

}  // namespace caisson::socket
