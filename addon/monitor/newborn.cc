#include "monitor/newborn.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/socket.h"
#include "base/sys.h"
#include "kernel/idmap.h"
#include "kernel/namespace.h"

namespace caisson::newborn {

/// What the process in between says before it ends.
struct Word {
  int32_t pid = 0;
  std::optional<Error> error{};
  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("pid", s.pid), v("error", s.error);
  }
};

static Result<pid_t> join_and_clone(const Context& c, uint64_t flags, int unified) {
  std::vector<ns::Joined> wanted;
  for (const NamespaceJoin& join : c.spec.joined) wanted.push_back({join.kind, c.slot(join.descriptor)});
  TRY(ns::join(wanted));
  // With CLONE_PARENT the exit signal is that of this process, and clone3 wants none named.
  return sys::clone_process(flags | CLONE_PARENT, nullptr, 0, unified);
}

/// Returns 0 in the newborn process; the process in between never returns.
static pid_t bear(const Context& c, uint64_t flags, int unified, int tell) {
  auto pid = join_and_clone(c, flags, unified);
  if (pid && *pid == 0) return 0;
  Word word;
  if (pid) word.pid = *pid;
  else word.error = std::move(pid).error();
  ::_exit(socket::send(tell, encode(word), {}, true) ? 0 : 1);
}

static Result<Child> clone_by_other(Context& c, uint64_t flags, int unified) {
  socket::Pair line = TRY(socket::pair());
  const pid_t between = ::fork();
  if (between < 0) return sys::failed("fork");
  if (between == 0) return Child{bear(c, flags, unified, line.right.get()), {}};
  line.right.reset();
  auto packet = socket::receive(line.left.get(), kLargestMessage, true);
  while (::waitpid(between, nullptr, 0) < 0 && errno == EINTR) continue;
  if (!packet) return std::move(packet).error();
  Word word;
  if (!decode(packet->data.data(), packet->data.size(), word)) {
    return sys::refused("ERR_INIT_KILLED", "the process that joins the namespaces was killed");
  }
  if (word.error) return *std::move(word.error);
  // It is this process's child and not yet waited for: the number can't be another's.
  return Child{word.pid, TRY(sys::pidfd_open(word.pid))};
}

Result<Child> clone(Context& c, uint64_t flags, int unified) {
  const idmap::Owner owner(c.spec.idmap);
  if (!c.spec.joined.empty()) return clone_by_other(c, flags, unified);
  int pidfd = -1;
  const pid_t pid = TRY(sys::clone_process(flags, &pidfd, SIGCHLD, unified));
  return Child{pid, Fd(pid == 0 ? -1 : pidfd)};
}

}  // namespace caisson::newborn
