#include "kernel/lsm.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"

namespace caisson::lsm {

static Status prove_procfs(int fd, const std::string& path) {
  struct statfs system{};
  if (::fstatfs(fd, &system) < 0) return sys::failed("fstatfs", path);
  if (system.f_type == PROC_SUPER_MAGIC) return {};
  return sys::refused("ERR_FEATURE_MISSING", "something else than a procfs is mounted there", path);
}

Result<Fd> open_proc() {
  Fd proc = TRY(sys::open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  TRY(prove_procfs(proc.get(), "/proc"));
  struct stat info{};
  if (::fstat(proc.get(), &info) < 0) return sys::failed("fstat", "/proc");
  constexpr ino_t kRoot = 1;  // PROC_ROOT_INO: a directory below it could be bound there
  if (info.st_ino != kRoot) return sys::refused("ERR_FEATURE_MISSING", "not the root of a procfs is mounted there", "/proc");
  return proc;
}

Result<std::string> write_attribute(int proc, const std::string& name, const std::string& value) {
  const std::string path = "self/attr/" + name;
  const Fd file = TRY(sys::open_at(proc, path, O_RDWR | O_NOFOLLOW));
  TRY(prove_procfs(file.get(), path));
  if (::write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return sys::failed("write", path, "\"" + value + "\"");
  }
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return sys::failed("lseek", path);
  std::string held = TRY(sys::read_all(file.get(), path, 4096));
  while (!held.empty() && (held.back() == '\n' || held.back() == '\0')) held.pop_back();
  return held;
}

Status label_keyring(int proc, const std::string& context) {
  auto held = write_attribute(proc, "keycreate", context);
  if (!held) return std::move(held).error();
  if (held->empty()) return sys::failed_with(EIO, "write", "self/attr/keycreate", "the kernel holds no context afterwards");
  return {};
}

}  // namespace caisson::lsm
