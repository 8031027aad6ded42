#include "kernel/namespace.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace caisson::ns {

constexpr uint64_t kFlags[] = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,    CLONE_NEWNET,
                               CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP, CLONE_NEWTIME};

uint64_t flags(const std::vector<NamespaceKind>& kinds) {
  uint64_t all = 0;
  for (const NamespaceKind kind : kinds) all |= kFlags[static_cast<size_t>(kind)];
  return all;
}

bool has(const std::vector<NamespaceKind>& kinds, NamespaceKind wanted) {
  for (const NamespaceKind kind : kinds) {
    if (kind == wanted) return true;
  }
  return false;
}

const char* name(NamespaceKind kind) { return names(kind)[static_cast<size_t>(kind)]; }

Status join(const std::vector<Joined>& wanted) {
  const auto enter = [](const Joined& one) -> Status {
    if (::setns(one.descriptor, static_cast<int>(flags({one.kind}))) < 0) return sys::failed("setns", name(one.kind));
    return {};
  };
  // Those of the caller's user namespace need its rights, those of a joined user namespace need the rights there: what is refused before
  // the user namespace is joined is tried again after it.
  std::vector<Joined> later;
  for (const bool user : {false, true}) {
    for (const Joined& one : wanted) {
      if ((one.kind == NamespaceKind::user) != user) continue;
      Status entered = enter(one);
      if (entered) continue;
      if (user || entered.error().number != EPERM) return entered;
      later.push_back(one);
    }
  }
  for (const Joined& one : later) TRY(enter(one));
  return {};
}

Status unshare_cgroup() {
  if (::unshare(CLONE_NEWCGROUP) < 0) return sys::failed("unshare", {}, "CLONE_NEWCGROUP");
  return {};
}

Status enter_time(const std::vector<TimeOffset>& offsets) {
  if (::unshare(CLONE_NEWTIME) < 0) return sys::failed("unshare", {}, "CLONE_NEWTIME");
  std::string text;
  for (const TimeOffset& offset : offsets) {
    text += std::string(offset.monotonic ? "monotonic " : "boottime ") + std::to_string(offset.seconds) + " " +
            std::to_string(offset.nanoseconds) + "\n";
  }
  if (!text.empty()) {
    // The file of a process that is not dumpable belongs to the host's root. Nobody of the container is there yet to make use of it.
    const int dumpable = ::prctl(PR_GET_DUMPABLE);
    ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    Status written = sys::write_file("/proc/self/timens_offsets", text);
    ::prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
    if (!written) return written;
  }
  const Fd made = TRY(sys::open("/proc/self/ns/time_for_children", O_RDONLY));
  if (::setns(made.get(), CLONE_NEWTIME) < 0) return sys::failed("setns", "time");
  return {};
}

Status set_hostname(const std::string& hostname) {
  if (::sethostname(hostname.data(), hostname.size()) < 0) return sys::failed("sethostname", hostname);
  return {};
}

Status raise_loopback() {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return sys::failed("socket", "AF_INET");
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0) return sys::failed("ioctl", "lo", "SIOCSIFFLAGS");
  return {};
}

}  // namespace caisson::ns
