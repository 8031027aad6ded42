// What the link tests share: TAP, network namespaces of our own, packets sent between them. Nothing here sees or touches the host's links.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/sys.h"
#include "kernel/link.h"

using namespace caisson;

inline int count = 0;
inline bool failed = false;

inline bool check(bool good, const std::string& what) {
  if (!good) failed = true;
  std::printf("%sok %d - %s\n", good ? "" : "not ", ++count, what.c_str());
  return good;
}

inline bool worked(Status status, const std::string& what) {
  const bool good = check(static_cast<bool>(status), what);
  if (good) return true;
  const Error& e = status.error();
  std::printf("# %s %s: %s %s\n", e.call.c_str(), e.path.c_str(), std::strerror(e.number), e.detail.c_str());
  return false;
}

/// A new network namespace with lo up; the caller stays where it is.
inline Fd new_namespace() {
  Fd home = sys::open("/proc/thread-self/ns/net", O_RDONLY).value();
  ::unshare(CLONE_NEWNET);
  Fd made = sys::open("/proc/thread-self/ns/net", O_RDONLY).value();
  LinkSpec lo;
  lo.name = "lo";
  (void)link::configure({lo});
  ::setns(home.get(), CLONE_NEWNET);
  return made;
}

template <class Act>
inline auto inside(const Fd& netns, Act act) {
  auto visit = netlink::Visit::to(netns.get());
  return act();
}

inline Bytes ip(const char* text) {
  const bool four = std::strchr(text, ':') == nullptr;
  Bytes bytes(four ? 4 : 16);
  ::inet_pton(four ? AF_INET : AF_INET6, text, bytes.data());
  return bytes;
}

inline Bytes mac(uint8_t last) { return {0x02, 0xca, 0x15, 0, 0, last}; }

inline LinkSpec bridge(const std::string& name, const char* address) {
  LinkSpec link;
  link.kind = LinkKind::bridge, link.name = name, link.mac = link.host_mac = mac(1), link.tag = "caisson:test:" + name;
  link.addresses.push_back({ip(address), 24, {}});
  return link;
}

inline LinkSpec veth(const std::string& host, uint8_t number) {
  LinkSpec link;
  link.kind = LinkKind::veth, link.name = "eth0", link.host_name = host, link.parent = "br0", link.tag = "caisson:test:" + host;
  link.mac = mac(number), link.host_mac = {0xfe, 0xca, 0x15, 0, 0, number};
  link.addresses.push_back({ip(("10.9.0." + std::to_string(number)).c_str()), 24, ip("10.9.0.255")});
  link.addresses.push_back({ip(("fd09::" + std::to_string(number)).c_str()), 64, {}});
  link.routes.push_back({Bytes(4), 0, ip("10.9.0.1"), false});
  return link;
}

inline bool make(const LinkSpec& link, const Fd& netns, const std::string& what) {
  if (!worked(link::create({link}, {netns.get(), 0}), what)) return false;
  return worked(inside(netns, [&] { return link::configure({link}); }), what + ", inside");
}

inline std::vector<LinkState> links() {
  auto socket = netlink::Socket::open();
  return link::list(*socket).value();
}

inline const LinkState* named(const std::vector<LinkState>& all, const std::string& name) {
  const auto at = std::find_if(all.begin(), all.end(), [&](const LinkState& l) { return l.name == name; });
  return at == all.end() ? nullptr : &*at;
}

inline bool exists(const std::string& name) { return named(links(), name) != nullptr; }

// ── traffic ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

inline Fd receiver(uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in any{};
  any.sin_family = AF_INET, any.sin_port = htons(port);
  ::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any);
  return fd;
}

inline void send_to(const char* address, uint16_t port) {
  const Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET, to.sin_port = htons(port);
  ::inet_pton(AF_INET, address, &to.sin_addr);
  ::sendto(fd.get(), "hello", 5, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
}

/// Whether something comes; what must not come is given a shorter while.
inline bool arrives(const Fd& fd, int wait_ms) {
  pollfd wait{fd.get(), POLLIN, 0};
  if (::poll(&wait, 1, wait_ms) != 1) return false;
  char drop[2048];
  return ::recv(fd.get(), drop, sizeof drop, 0) > 0;
}

inline bool reaches(const Fd& from, const char* address, const Fd& to, int wait_ms) {
  const Fd socket = inside(to, [] { return receiver(4711); });
  inside(from, [&] { send_to(address, 4711); });
  return arrives(socket, wait_ms);
}

/// The whole test in a network namespace of its own, where there may be one.
inline int test_alone(void (*const* tests)(), size_t size) {
  if (::unshare(CLONE_NEWNET) != 0) {
    std::printf("1..0 # SKIP needs root: network namespaces\n");
    return 0;
  }
  for (size_t i = 0; i < size; i++) tests[i]();
  std::printf("1..%d\n", count);
  return failed ? 1 : 0;
}
