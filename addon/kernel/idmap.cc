#include "kernel/idmap.h"

#include <grp.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>

#include "base/codec.h"
#include "base/socket.h"
#include "base/sys.h"
#include "kernel/caps.h"
#include "kernel/process.h"

namespace caisson::idmap {

// Raw system calls: glibc's wrappers are for whole multi-threaded processes, and this is one short-lived switch of one thread.
static void set_effective(uid_t uid, gid_t gid) {
  if (uid != 0) {
    ::syscall(SYS_setresgid, -1, gid, -1);
    ::syscall(SYS_setresuid, -1, uid, -1);
  } else {
    ::syscall(SYS_setresuid, -1, uid, -1);
    ::syscall(SYS_setresgid, -1, gid, -1);
  }
}

Owner::Owner(const IdMap& map) {
  if (!map.owner_uid || ::geteuid() != 0) return;
  set_effective(*map.owner_uid, map.owner_gid.value_or(*map.owner_uid));
  // Cgroups and devices are still reached with the caller's rights (setfsuid(2) allows any of the real, effective and saved ids).
  ::setfsuid(0);
  ::setfsgid(0);
  // The switch emptied the effective set; hosts that restrict unprivileged user namespaces look at it.
  caps::raise_permitted();
  taken_ = true;
}

Owner::~Owner() {
  if (taken_) set_effective(0, 0);
}

static std::string text_of(const std::vector<IdMapExtent>& extents) {
  std::string text;
  for (const IdMapExtent& extent : extents) {
    text += std::to_string(extent.container) + " " + std::to_string(extent.host) + " " + std::to_string(extent.range) + "\n";
  }
  return text;
}

static Status write_by_program(const std::string& program, pid_t pid, const std::vector<IdMapExtent>& extents) {
  Strings argv{program, std::to_string(pid)};
  for (const IdMapExtent& extent : extents) {
    argv.push_back(std::to_string(extent.container));
    argv.push_back(std::to_string(extent.host));
    argv.push_back(std::to_string(extent.range));
  }
  return process::run(argv, {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"});
}

Status write(pid_t pid, const IdMap& map) {
  const std::string proc = "/proc/" + std::to_string(pid);
  if (map.deny_setgroups) TRY(sys::write_file(proc + "/setgroups", "deny"));
  // One write(2) each: the kernel takes a map whole or not at all.
  TRY(map.newgidmap.empty() ? sys::write_file(proc + "/gid_map", text_of(map.gids))
                            : write_by_program(map.newgidmap, pid, map.gids));
  return map.newuidmap.empty() ? sys::write_file(proc + "/uid_map", text_of(map.uids))
                               : write_by_program(map.newuidmap, pid, map.uids);
}

static bool maps_root(const std::vector<IdMapExtent>& extents) {
  for (const IdMapExtent& extent : extents) {
    if (extent.container == 0) return true;
  }
  return extents.empty();
}

Status enter(const IdMap& map) {
  if (!map.deny_setgroups && ::syscall(SYS_setgroups, 0, nullptr) < 0) return sys::failed("setgroups");
  const auto first = [](const std::vector<IdMapExtent>& extents) { return extents.empty() ? 0U : extents[0].container; };
  const uid_t uid = maps_root(map.uids) ? 0 : first(map.uids);
  const gid_t gid = maps_root(map.gids) ? 0 : first(map.gids);
  if (::syscall(SYS_setresgid, gid, gid, gid) < 0) return sys::failed("setresgid");
  if (::syscall(SYS_setresuid, uid, uid, uid) < 0) return sys::failed("setresuid");
  return {};
}

static std::vector<IdMapExtent> beside_own(uint32_t own, const std::vector<IdMapExtent>& extents) {
  std::vector<IdMapExtent> all{{0, own, 1}};
  uint32_t next = 1;
  for (const IdMapExtent& extent : extents) {
    all.push_back({next, extent.host, extent.range});
    next += extent.range;
  }
  return all;
}

std::optional<uint32_t> id_over(const std::vector<IdMapExtent>& extents, uint32_t host) {
  for (const IdMapExtent& extent : beside_own(0, extents)) {
    if (extent.container > 0 && host >= extent.host && host - extent.host < extent.range) return extent.container + host - extent.host;
  }
  return std::nullopt;
}

/// What the process over other ids says before it ends.
struct Word {
  std::optional<Error> error{};
  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("error", s.error);
  }
};

[[noreturn]] static void act_as_root(int line, const std::function<Status()>& act) {
  // An end of file: there will be no map.
  auto go = socket::receive(line, 64, true);
  if (!go || go->data.empty()) ::_exit(1);
  Status status = enter({});
  if (status) status = act();
  Word word;
  if (!status) word.error = std::move(status).error();
  ::_exit(socket::send(line, encode(word), {}, true) ? 0 : 1);
}

Status run_over(const IdMap& map, const std::function<Status()>& act) {
  socket::Pair line = TRY(socket::pair());
  const pid_t pid = TRY(sys::clone_process(CLONE_NEWUSER, nullptr, SIGCHLD, -1));
  if (pid == 0) {
    line.left.reset();
    act_as_root(line.right.get(), act);
  }
  line.right.reset();
  IdMap over = map;
  over.uids = beside_own(::geteuid(), map.uids), over.gids = beside_own(::getegid(), map.gids);
  Status status = write(pid, over);
  if (status) status = socket::send(line.left.get(), Bytes(1), {}, true);
  Word word;
  if (status) {
    auto packet = socket::receive(line.left.get(), 4096, true);
    const bool told = packet && decode(packet->data.data(), packet->data.size(), word);
    if (!told) status = sys::failed_with(EPROTO, "recvmsg", {}, "the process over the container's ids was killed");
    else if (word.error) status = *std::move(word.error);
  }
  line.left.reset();
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) continue;
  return status;
}

Result<Fd> open(pid_t pid) { return sys::open("/proc/" + std::to_string(pid) + "/ns/user", O_RDONLY); }

}  // namespace caisson::idmap
