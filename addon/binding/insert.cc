#include "binding/insert.h"

#include <sched.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "base/sys.h"

namespace caisson::binding {

/// What is known of the caller: descriptors, opened while it waited, that stay its own whatever becomes of its pid.
struct Caller {
  Fd root;
  Fd mounts;
  uid_t uid = 0;  ///< of its file accesses
  gid_t gid = 0;
};

/// The fourth number of a line of /proc/PID/status.
static uint32_t filesystem_id(const std::string& status, const char* name) {
  size_t at = status.find(name);
  for (int field = 0; field < 4 && at != std::string::npos; field++) at = status.find('\t', at + 1);
  return at == std::string::npos ? ~0U : static_cast<uint32_t>(std::strtoul(status.c_str() + at, nullptr, 10));
}

static Result<Caller> open_caller(const Pending& pending, uint64_t id, int pid) {
  const std::string proc = "/proc/" + std::to_string(pid) + "/";
  Caller caller;
  caller.root = TRY(sys::open(proc + "root", O_PATH | O_DIRECTORY));
  caller.mounts = TRY(sys::open(proc + "ns/mnt", O_RDONLY));
  const std::string status = TRY(sys::read_file(proc + "status"));
  caller.uid = filesystem_id(status, "\nUid:");
  caller.gid = filesystem_id(status, "\nGid:");
  if (!pending.waits(id)) return sys::failed_with(ESRCH, "open", proc, "the caller no longer waits");
  return caller;
}

static Result<Fd> make_target(const Caller& caller, const std::string& target, bool directory) {
  const size_t slash = target.rfind('/');
  const std::string name = target.substr(slash + 1);
  const Fd parent = TRY(sys::open_in_root(caller.root.get(), target.substr(0, slash + 1), O_PATH | O_DIRECTORY));
  // Of this thread alone, and so without the capabilities that override permissions.
  ::setfsgid(caller.gid);
  ::setfsuid(caller.uid);
  const long made = directory ? ::mkdirat(parent.get(), name.c_str(), 0755) : ::mknodat(parent.get(), name.c_str(), S_IFREG | 0644, 0);
  if (made < 0) return sys::failed(directory ? "mkdirat" : "mknodat", target);
  return sys::open_at(parent.get(), name, O_PATH | O_NOFOLLOW);
}

/// On a thread that ends afterwards.
static Status attach_inside(const Caller& caller, const Fd& tree, const std::string& target, bool directory) {
  if (::unshare(CLONE_FS) < 0) return sys::failed("unshare", {}, "CLONE_FS");
  if (::setns(caller.mounts.get(), CLONE_NEWNS) < 0) return sys::failed("setns", {}, "CLONE_NEWNS");
  Result<Fd> at = sys::open_in_root(caller.root.get(), target, O_PATH);
  if (!at && at.error().number == ENOENT) at = make_target(caller, target, directory);
  if (!at) return at.error();
  return sys::move_mount_onto(tree.get(), at->get());
}

Status insert_mount(const Pending& pending, uint64_t id, int pid, const std::string& source, const std::string& target, bool read_only) {
  if (!target.starts_with('/') || target.ends_with('/')) return sys::failed_with(EINVAL, "move_mount", target, "not an absolute path of a name");
  const Caller caller = TRY(open_caller(pending, id, pid));
  const Fd tree = TRY(sys::open_tree(AT_FDCWD, source, OPEN_TREE_CLONE));
  struct stat status{};
  if (::fstat(tree.get(), &status) < 0) return sys::failed("fstat", source);
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | (read_only ? uint64_t{MOUNT_ATTR_RDONLY} : 0);
  TRY(sys::mount_setattr(tree.get(), "", AT_EMPTY_PATH, attributes));
  Status attached;
  std::thread([&] { attached = attach_inside(caller, tree, target, S_ISDIR(status.st_mode)); }).join();
  return attached;
}

}  // namespace caisson::binding
