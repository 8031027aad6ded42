#include "kernel/cover.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "base/sys.h"
#include "kernel/path.h"

namespace caisson::cover {

constexpr std::array kPlaces = {"proc", "sys"};

/// What the process in between is told, and what it answers: it shares the caller's memory and descriptors, and nothing else.
struct Task {
  int mounts;            ///< the mount namespace, or a process in it
  std::string root;      ///< a path there
  int kinds;             ///< the new namespaces
  std::vector<Fd> trees{};
  std::optional<Error> error{};
};

static bool is_mounted(int place) {
  struct statx info{};
  return ::statx(place, "", AT_EMPTY_PATH, STATX_MODE, &info) == 0 && (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/// Who joins a mount namespace stands in its topmost root, without which the kernel gives nobody a user namespace.
static Status enter(const Task& task) {
  if (::setns(task.mounts, CLONE_NEWNS) < 0) return sys::failed("setns", {}, "CLONE_NEWNS");
  if (::chdir(task.root.c_str()) < 0) return sys::failed("chdir", task.root);
  if (::unshare(task.kinds) < 0) return sys::failed("unshare", {}, (task.kinds & CLONE_NEWUSER) != 0 ? "CLONE_NEWUSER" : "CLONE_NEWNS");
  return {};
}

static Status copy_trees(Task& task) {
  TRY(enter(task));
  // The working directory has become its copy's.
  for (const char* place : kPlaces) {
    auto found = path::open_strict(AT_FDCWD, place);
    if (!found && found.error().number != ENOENT) return std::move(found).error();
    task.trees.emplace_back();
    if (!found || !is_mounted(found->get())) continue;
    task.trees.back() = TRY(sys::open_tree(found->get(), "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE));
  }
  return {};
}

static int run(void* argument) {
  auto& task = *static_cast<Task*>(argument);
  Status copied = copy_trees(task);
  if (!copied) task.error = std::move(copied).error();
  ::_exit(0);
}

static Result<Copies> copy(Task task) {
  constexpr size_t kStack = 64 * 1024;
  void* const stack = ::mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return sys::failed("mmap");
  const pid_t pid = ::clone(run, static_cast<char*>(stack) + kStack, CLONE_VM | CLONE_VFORK | CLONE_FILES, &task);
  const int number = errno;
  ::munmap(stack, kStack);
  if (pid < 0) return sys::failed_with(number, "clone");
  Copies copies{std::move(task.trees), pid};
  if (!task.error && copies.trees.size() == kPlaces.size()) return copies;
  reap(copies.maker);
  return task.error ? *std::move(task.error) : sys::failed_with(EPROTO, "clone", {}, "the process in between was killed");
}

Result<Copies> copy_from(int init, const std::string& root) { return copy({init, root.empty() ? "/" : root, CLONE_NEWNS}); }

Result<Copies> copy_below(const std::string& root) {
  const Fd own = TRY(sys::open("/proc/self/ns/mnt", O_RDONLY));
  return copy({own.get(), root.empty() ? "/" : root, CLONE_NEWUSER | CLONE_NEWNS});
}

void reap(pid_t& maker) {
  if (maker == 0) return;
  while (::waitpid(maker, nullptr, __WALL) < 0 && errno == EINTR) continue;
  maker = 0;
}

Status replace(int root, std::vector<Fd> trees) {
  for (size_t i = 0; i < trees.size() && i < kPlaces.size(); i++) {
    if (!trees[i]) continue;
    const Fd loose = TRY(path::open_strict(root, kPlaces[i]));
    TRY(sys::move_mount(loose.get(), AT_FDCWD, "/proc"));
    const Fd place = TRY(path::open_strict(root, kPlaces[i]));
    TRY(sys::move_mount_onto(trees[i].get(), place.get()));
  }
  return {};
}

}  // namespace caisson::cover
