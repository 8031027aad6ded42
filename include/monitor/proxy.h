// The program that answers system calls for a container (lxc.seccomp.notify.proxy), by LXC's protocol, so that the proxies of LXC and
// Incus work here.
//
// Theory of operation. Over one SOCK_SEQPACKET connection each call is a packet of header, seccomp_notif, an empty seccomp_notif_resp and
// the cookie, with three descriptors: the caller's directory below /proc, its memory, and the listener. The answer has the same form
// without cookie. Any number of calls may be under way; they are told apart by their id. A call that cannot be handed on, or is not
// answered within kPatienceMs, fails with ENOSYS, as it does where nobody listens.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "base/codec.h"
#include "base/fd.h"
#include "base/result.h"
#include "spec.h"

namespace caisson {

class Proxy {
 public:
  /// `loop` is the epoll descriptor that learns of answers.
  Proxy(int loop, const std::optional<SyscallProxySpec>& spec) : loop_(loop), spec_(spec) {}

  static Result<Fd> connect(const SyscallProxySpec& spec);
  /// Takes a connection that was made before.
  Status adopt(Fd socket);
  /// Hands on the call that waits at a listener; `init` is the container's.
  void pass(int listener, pid_t init);
  /// Reads answers. False when `fd` is not the connection.
  bool serve(int fd);
  /// When the oldest call has waited long enough (ms, CLOCK_MONOTONIC); -1: none waits.
  int64_t deadline() const;
  void expire(int64_t now);
  /// The listener is closed: nobody waits at it.
  void forget(int listener);

 private:
  struct Waiting {
    int listener;
    uint64_t id;
    int64_t until;
  };

  bool send(const Bytes& packet, const std::vector<int>& descriptors);
  void take(const Bytes& packet);
  void lose();

  int loop_;
  const std::optional<SyscallProxySpec>& spec_;
  Fd socket_;
  std::vector<Waiting> waiting_;
};

}  // namespace caisson
