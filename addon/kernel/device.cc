#include "kernel/device.h"

#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "kernel/mount.h"
#include "kernel/path.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

namespace caisson::device {

constexpr uint64_t kNoPrograms = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;

static Status make_node(int dev, const DeviceNode& node) {
  const mode_t type = node.type == 'b' ? S_IFBLK : S_IFCHR;
  if (::mknodat(dev, node.name.c_str(), type | node.mode, makedev(node.major, node.minor)) < 0) {
    return sys::failed("mknodat", "/dev/" + node.name);
  }
  // mknodat obeys the umask.
  if (::fchmodat(dev, node.name.c_str(), node.mode, 0) < 0) return sys::failed("fchmodat", "/dev/" + node.name);
  return {};
}

/// Shows the host's node, after making sure that it is the device it is meant to be.
static Status bind_node(int dev, const DeviceNode& node) {
  const std::string path = "/dev/" + node.name;
  const Fd host = TRY(sys::open(path, O_PATH | O_NOFOLLOW));
  struct stat info{};
  if (::fstat(host.get(), &info) < 0) return sys::failed("fstat", path);
  const bool right_type = node.type == 'b' ? S_ISBLK(info.st_mode) : S_ISCHR(info.st_mode);
  if (!right_type || info.st_rdev != makedev(node.major, node.minor)) {
    return sys::refused("ERR_FEATURE_MISSING", "the host's node is another device", path);
  }
  const Fd mount = TRY(sys::open_tree(host.get(), "", OPEN_TREE_CLONE | AT_EMPTY_PATH));
  const Fd target = TRY(path::make_file(dev, node.name));
  return sys::move_mount_onto(mount.get(), target.get());
}

static Status make_links(int dev) {
  constexpr const char* kLinks[][2] = {{"/proc/self/fd", "fd"},
                                       {"/proc/self/fd/0", "stdin"},
                                       {"/proc/self/fd/1", "stdout"},
                                       {"/proc/self/fd/2", "stderr"}};
  for (const auto& [target, name] : kLinks) {
    if (::symlinkat(target, dev, name) < 0) return sys::failed("symlinkat", std::string("/dev/") + name);
  }
  return {};
}

static Status mount_below_dev(int root, const char* name, Result<Fd> mount) {
  const Fd detached = TRY(std::move(mount));
  const Fd target = TRY(path::make_directory_strict(root, std::string("dev/") + name));
  return sys::move_mount_onto(detached.get(), target.get());
}

static Result<Fd> create_pts(const DevSpec& spec, const char* group) {
  std::vector<Option> options{{"ptmxmode", "0666"}, {"mode", "0620"}, {"max", std::to_string(spec.pts)}};
  if (group != nullptr) options.push_back({"gid", group});
  return mount::create("devpts", "devpts", options, kNoPrograms);
}

static Status mount_pts(int root, const DevSpec& spec) {
  auto pts = create_pts(spec, "5");
  // EINVAL: gid 5 (tty) is not in the id map.
  if (!pts && pts.error().number == EINVAL) pts = create_pts(spec, nullptr);
  TRY(mount_below_dev(root, "pts", std::move(pts)));
  if (!spec.tmpfs) return {};
  const Fd dev = TRY(path::open_strict(root, "dev"));
  if (::symlinkat("pts/ptmx", dev.get(), "ptmx") < 0) return sys::failed("symlinkat", "/dev/ptmx");
  return {};
}

static Status fill(int root, const DevSpec& spec, bool bound) {
  const std::vector<Option> options{{"mode", "0755"}, {"size", std::to_string(spec.size)}};
  TRY(mount_below_dev(root, "", mount::create("tmpfs", "dev", options, kNoPrograms)));
  const Fd dev = TRY(path::open_strict(root, "dev"));
  for (const DeviceNode& node : spec.nodes) TRY(bound ? bind_node(dev.get(), node) : make_node(dev.get(), node));
  return make_links(dev.get());
}

Status populate(int root, const DevSpec& spec, bool bound) {
  if (spec.tmpfs) TRY(fill(root, spec, bound));
  if (spec.pts > 0) TRY(mount_pts(root, spec));
  if (!spec.tmpfs) return {};
  constexpr uint64_t kPlain = kNoPrograms | MOUNT_ATTR_NODEV;
  if (spec.shm) TRY(mount_below_dev(root, "shm", mount::create("tmpfs", "shm", {{"mode", "1777"}}, kPlain)));
  if (spec.mqueue) TRY(mount_below_dev(root, "mqueue", mount::create("mqueue", "mqueue", {}, kPlain)));
  return {};
}

Result<Pty> open_pty(int root) {
  const Fd pts = TRY(path::open_strict(root, "dev/pts"));
  struct statfs system{};
  if (::fstatfs(pts.get(), &system) < 0) return sys::failed("fstatfs", "/dev/pts");
  if (system.f_type != DEVPTS_SUPER_MAGIC) return sys::refused("ERR_FEATURE_MISSING", "no devpts is mounted there", "/dev/pts");
  Pty pty;
  pty.outer = TRY(sys::open_at(pts.get(), "ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW));
  const int unlocked = 0;
  if (::ioctl(pty.outer.get(), TIOCSPTLCK, &unlocked) < 0) return sys::failed("ioctl", "TIOCSPTLCK");
  if (::ioctl(pty.outer.get(), TIOCGPTN, &pty.number) < 0) return sys::failed("ioctl", "TIOCGPTN");
  // Linux 4.13: the other end without any path that could have been replaced meanwhile (CVE-2025-52565).
  pty.inner = Fd(::ioctl(pty.outer.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pty.inner) return sys::failed("ioctl", "TIOCGPTPEER");
  return pty;
}

Status bind_tty(int root, const std::string& path, const std::string& name) {
  const Fd mount = TRY(mount::clone(path, false));
  const Fd dev = TRY(path::open_strict(root, "dev"));
  const Fd target = TRY(path::make_file(dev.get(), name));
  return sys::move_mount_onto(mount.get(), target.get());
}

Status link(int root, const std::string& to, const std::string& name) {
  const Fd dev = TRY(path::open_strict(root, "dev"));
  if (::unlinkat(dev.get(), name.c_str(), 0) < 0 && errno != ENOENT) return sys::failed("unlinkat", "/dev/" + name);
  if (::symlinkat(to.c_str(), dev.get(), name.c_str()) < 0) return sys::failed("symlinkat", "/dev/" + name);
  return {};
}

Status bind_pty(int root, const Pty& pty, const std::string& name) {
  const Fd pts = TRY(path::open_strict(root, "dev/pts"));
  const std::string number = std::to_string(pty.number);
  const Fd mount = TRY(sys::open_tree(pts.get(), number, OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW));
  struct stat bound{}, opened{};
  if (::fstat(mount.get(), &bound) < 0 || ::fstat(pty.inner.get(), &opened) < 0) return sys::failed("fstat", name);
  if (bound.st_dev != opened.st_dev || bound.st_ino != opened.st_ino) return sys::failed_with(ESTALE, "open_tree", name);
  const Fd dev = TRY(path::open_strict(root, "dev"));
  const Fd target = TRY(path::make_file(dev.get(), name));
  return sys::move_mount_onto(mount.get(), target.get());
}

}  // namespace caisson::device
