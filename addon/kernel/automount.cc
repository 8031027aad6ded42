#include "kernel/automount.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/sys.h"
#include "kernel/mount.h"
#include "kernel/namespace.h"
#include "kernel/path.h"

namespace caisson::automount {

constexpr uint64_t kPlain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/// Binds `path` of a mounted file system over itself with other attributes.
static Status rebind(int root, const std::string& path, uint64_t set, uint64_t clear) {
  const Fd place = TRY(path::open_strict(root, path));
  const Fd mount = TRY(sys::open_tree(place.get(), "", OPEN_TREE_CLONE | AT_EMPTY_PATH));
  mount_attr attributes{};
  attributes.attr_set = set;
  attributes.attr_clr = clear;
  TRY(sys::mount_setattr(mount.get(), "", AT_EMPTY_PATH, attributes));
  return sys::move_mount_onto(mount.get(), place.get());
}

Status mount_proc(int root, const StartSpec& spec) {
  std::vector<Option> options;
  if (spec.proc_hidden) options = {{"subset", "pid"}, {"hidepid", "invisible"}};
  const Fd proc = TRY(mount::create("proc", "proc", options, kPlain));
  const Fd target = TRY(path::make_directory_strict(root, "proc"));
  return sys::move_mount_onto(proc.get(), target.get());
}

Status protect_proc(int root, const StartSpec& spec) {
  if (!spec.proc_read_only_sys || spec.proc_hidden) return {};
  // What /proc/sys/net governs belongs to the network namespace: with one of its own the container may set it. Its copy is taken
  // while it is still writable and put above the read-only one.
  const bool own_network = ns::has(spec.namespaces, NamespaceKind::net);
  Fd net;
  if (own_network) {
    const Fd place = TRY(path::open_strict(root, "proc/sys/net"));
    net = TRY(sys::open_tree(place.get(), "", OPEN_TREE_CLONE | AT_EMPTY_PATH));
  }
  TRY(rebind(root, "proc/sys", MOUNT_ATTR_RDONLY, 0));
  if (own_network) {
    const Fd place = TRY(path::open_strict(root, "proc/sys/net"));
    TRY(sys::move_mount_onto(net.get(), place.get()));
  }
  return mount::protect(root, "proc/sysrq-trigger");
}

/// Without a network namespace of its own a container cannot mount sysfs; it is shown the host's, read-only.
static Result<Fd> open_sys(const StartSpec& spec) {
  if (ns::has(spec.namespaces, NamespaceKind::net)) return mount::create("sysfs", "sysfs", {}, kPlain);
  return mount::clone("/sys", true);
}

Status mount_sys(int root, const StartSpec& spec) {
  if (spec.sysfs == StartSpec::Sysfs::none) return {};
  const Fd sys = TRY(open_sys(spec));
  const Fd target = TRY(path::make_directory_strict(root, "sys"));
  const bool own_network = ns::has(spec.namespaces, NamespaceKind::net);
  if (spec.sysfs != StartSpec::Sysfs::read_write || !own_network) {
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY | kPlain;
    TRY(sys::mount_setattr(sys.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, attributes));
  }
  TRY(sys::move_mount_onto(sys.get(), target.get()));
  if (spec.sysfs != StartSpec::Sysfs::mixed || !own_network) return {};
  return rebind(root, "sys/devices/virtual/net", 0, MOUNT_ATTR_RDONLY);
}

Status mount_cgroup(int root, const StartSpec& spec) {
  if (spec.cgroupfs == StartSpec::CgroupFs::none) return {};
  const bool read_only = spec.cgroupfs == StartSpec::CgroupFs::read_only;
  const Fd cgroup = TRY(mount::create("cgroup2", "cgroup2", {}, kPlain | (read_only ? MOUNT_ATTR_RDONLY : 0)));
  const Fd target = TRY(path::open_strict(root, "sys/fs/cgroup"));
  return sys::move_mount_onto(cgroup.get(), target.get());
}

/// Our own /dev/null, and proof that it is that device.
static Result<Fd> open_null() {
  Fd null = TRY(sys::open("/dev/null", O_PATH | O_NOFOLLOW));
  struct stat info{};
  if (::fstat(null.get(), &info) < 0) return sys::failed("fstat", "/dev/null");
  if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3)) {
    return sys::refused("ERR_FEATURE_MISSING", "the host's /dev/null is not the null device", "/dev/null");
  }
  return null;
}

Status cover(int root, const StartSpec& spec) {
  for (const std::string& path : spec.read_only) TRY(mount::protect(root, path));
  if (spec.masked.empty()) return {};
  const Fd null = TRY(open_null());
  const Fd empty = TRY(mount::create("tmpfs", "masked", {{"size", "4k"}, {"mode", "0555"}}, kPlain | MOUNT_ATTR_RDONLY));
  for (const std::string& path : spec.masked) TRY(mount::mask(root, path, null.get(), empty.get()));
  return {};
}

}  // namespace caisson::automount
