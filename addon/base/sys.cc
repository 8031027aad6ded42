#include "base/sys.h"

#include <dirent.h>
#include <linux/sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif

namespace caisson::sys {

Error failed_with(int number, const char* call, std::string path, std::string detail) {
  Error error;
  error.call = call;
  error.number = number;
  error.path = std::move(path);
  error.detail = std::move(detail);
  return error;
}

Error failed(const char* call, std::string path, std::string detail) {
  return failed_with(errno, call, std::move(path), std::move(detail));
}

Error refused(const char* code, std::string detail, std::string path) {
  Error error;
  error.code = code;
  error.detail = std::move(detail);
  error.path = std::move(path);
  return error;
}

template <class Call>
static auto retried(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

static Status checked(long result, const char* call, const std::string& path) {
  if (result < 0) return failed(call, path);
  return {};
}

static Result<Fd> owned(long fd, const char* call, const std::string& path) {
  if (fd < 0) return failed(call, path);
  return Fd(static_cast<int>(fd));
}

Result<Fd> open(const std::string& path, int flags, mode_t mode) { return open_at(AT_FDCWD, path, flags, mode); }

Result<Fd> open_at(int dir, const std::string& path, int flags, mode_t mode) {
  return owned(retried([&] { return ::openat(dir, path.c_str(), flags | O_CLOEXEC, mode); }), "openat", path);
}

Result<Fd> copy(int descriptor) { return owned(::fcntl(descriptor, F_DUPFD_CLOEXEC, 3), "fcntl", {}); }

Result<Fd> open_in_root(int dir, const std::string& path, uint64_t flags, mode_t mode) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode : 0;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: a rename elsewhere raced with the walk and the kernel could not rule out an escape (openat2(2)).
  for (int tries = 0;; tries++) {
    const long fd = retried([&] { return ::syscall(SYS_openat2, dir, path.c_str(), &how, sizeof how); });
    if (fd >= 0 || errno != EAGAIN || tries == 64) return owned(fd, "openat2", path);
  }
}

Result<std::string> read_all(int fd, const std::string& path, size_t most) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = retried([&] { return ::read(fd, buffer, sizeof buffer); });
    if (got < 0) return failed("read", path);
    if (got == 0) return text;
    if (text.size() + static_cast<size_t>(got) > most) return failed_with(EFBIG, "read", path);
    text.append(buffer, static_cast<size_t>(got));
  }
}

Result<std::string> read_file(const std::string& path, size_t most) {
  const Fd fd = TRY(open(path, O_RDONLY));
  return read_all(fd.get(), path, most);
}

Status write_file(const std::string& path, std::string_view text) { return write_file_at(AT_FDCWD, path, text); }

Status write_file_at(int dir, const std::string& path, std::string_view text) {
  const Fd fd = TRY(open_at(dir, path, O_WRONLY));
  const ssize_t put = retried([&] { return ::write(fd.get(), text.data(), text.size()); });
  if (put < 0) return failed("write", path, "\"" + std::string(text) + "\"");
  if (static_cast<size_t>(put) != text.size()) return failed_with(EIO, "write", path, "short write");
  return {};
}

Status write_all(int fd, const void* data, size_t size, const std::string& path) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t put = retried([&] { return ::write(fd, next, size); });
    if (put < 0) return failed("write", path);
    next += put, size -= static_cast<size_t>(put);
  }
  return {};
}

Status replace_file_at(int dir, const std::string& name, std::string_view text, mode_t mode) {
  const std::string aside = name + ".new";
  {
    const Fd fd = TRY(open_at(dir, aside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode));
    TRY(write_all(fd.get(), text.data(), text.size(), aside));
  }
  return checked(::renameat(dir, aside.c_str(), dir, name.c_str()), "renameat", name);
}

Result<pid_t> clone_process(uint64_t flags, int* pidfd, int exit_signal, int cgroup) {
  clone_args args{};
  args.flags = flags;
  args.exit_signal = static_cast<uint64_t>(exit_signal);
  if (pidfd != nullptr) {
    args.flags |= CLONE_PIDFD;
    args.pidfd = reinterpret_cast<uintptr_t>(pidfd);
  }
  if (cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(cgroup);
  }
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) return failed("clone3");
  return static_cast<pid_t>(pid);
}

Result<Fd> pidfd_open(pid_t pid) { return owned(::syscall(SYS_pidfd_open, pid, 0), "pidfd_open", std::to_string(pid)); }

Status pidfd_send_signal(int pidfd, int signal, unsigned flags) {
  return checked(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, flags), "pidfd_send_signal", {});
}

Result<pid_t> pid_of(int pidfd) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(pidfd);
  const std::string text = TRY(read_file(path));
  const size_t at = text.find("\nPid:\t");
  const long pid = at == std::string::npos ? 0 : std::strtol(text.c_str() + at + 6, nullptr, 10);
  if (pid <= 0) return failed_with(ESRCH, "read", path);
  return static_cast<pid_t>(pid);
}

/// For kernels without close_range: does `act` to every descriptor from `first` on.
template <class Act>
static Status each_descriptor(unsigned first, Act act) {
  DIR* dir = ::opendir("/proc/self/fd");
  if (dir == nullptr) return failed("opendir", "/proc/self/fd");
  while (const dirent* entry = ::readdir(dir)) {
    char* end = nullptr;
    const unsigned long fd = std::strtoul(entry->d_name, &end, 10);
    if (end != entry->d_name && fd >= first && static_cast<int>(fd) != ::dirfd(dir)) act(static_cast<int>(fd));
  }
  ::closedir(dir);
  return {};
}

Status close_from(unsigned first) {
  if (::syscall(SYS_close_range, first, ~0U, 0) == 0) return {};
  return each_descriptor(first, [](int fd) { ::close(fd); });
}

Status cloexec_from(unsigned first) {
  constexpr unsigned kCloexec = 1U << 2;  // CLOSE_RANGE_CLOEXEC
  if (::syscall(SYS_close_range, first, ~0U, kCloexec) == 0) return {};
  return each_descriptor(first, [](int fd) { ::fcntl(fd, F_SETFD, FD_CLOEXEC); });
}

Result<Fd> open_tree(int dir, const std::string& path, unsigned flags) {
  Fd tree = TRY(owned(::syscall(SYS_open_tree, dir, path.c_str(), flags | OPEN_TREE_CLOEXEC), "open_tree", path));
  if ((flags & OPEN_TREE_CLONE) == 0) return tree;
  // A copy of a shared mount is its peer: what is mounted on it inside would be mounted on the host too, mount_namespaces(7).
  mount_attr attributes{};
  attributes.propagation = MS_SLAVE;
  TRY(mount_setattr(tree.get(), "", AT_EMPTY_PATH | (flags & AT_RECURSIVE), attributes));
  return tree;
}

Status move_mount(int from, int to_dir, const std::string& to) {
  return checked(::syscall(SYS_move_mount, from, "", to_dir, to.c_str(), MOVE_MOUNT_F_EMPTY_PATH), "move_mount", to);
}

Status move_mount_onto(int from, int target) {
  return checked(::syscall(SYS_move_mount, from, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
                 "move_mount", {});
}

Status mount_setattr(int dir, const std::string& path, unsigned flags, const mount_attr& attributes) {
  return checked(::syscall(__NR_mount_setattr, dir, path.c_str(), flags, &attributes, sizeof attributes), "mount_setattr",
                 path);
}

Result<Fd> fsopen(const char* type) { return owned(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), "fsopen", type); }

Status fsconfig(int context, unsigned command, const char* key, const std::string& value, int aux) {
  const bool plain = command == FSCONFIG_CMD_CREATE || command == FSCONFIG_SET_FLAG || command == FSCONFIG_CMD_RECONFIGURE;
  const long result = ::syscall(SYS_fsconfig, context, command, key, plain ? nullptr : value.c_str(), aux);
  if (result == 0) return {};
  const int number = errno;
  // The kernel's own words about a refused option wait in the context ("e overlay: …"), fsopen(2).
  char words[256];
  const ssize_t got = ::read(context, words, sizeof words - 1);
  std::string detail = got > 0 ? std::string(words, static_cast<size_t>(got)) : std::string{};
  while (!detail.empty() && detail.back() == '\n') detail.pop_back();
  return failed_with(number, "fsconfig", key == nullptr ? std::string{} : std::string(key) + "=" + value, std::move(detail));
}

Result<Fd> fsmount(int context, unsigned attributes) {
  return owned(::syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes), "fsmount", {});
}

Status pivot_root(const char* new_root, const char* put_old) {
  return checked(::syscall(SYS_pivot_root, new_root, put_old), "pivot_root", new_root);
}

int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

Result<uint64_t> start_time(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const std::string text = TRY(read_file(path));
  size_t at = text.rfind(')');  // the command name may hold blanks and parentheses
  for (int field = 2; field < 22 && at != std::string::npos; field++) at = text.find(' ', at + 1);
  if (at == std::string::npos) return failed_with(EPROTO, "read", path);
  return std::strtoull(text.c_str() + at, nullptr, 10);
}

}  // namespace caisson::sys
