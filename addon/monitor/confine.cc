#include "monitor/confine.h"

#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>

#include "base/sys.h"
#include "kernel/caps.h"
#include "kernel/lsm.h"
#include "kernel/mount.h"
#include "kernel/process.h"
#include "kernel/rootfs.h"
#include "kernel/seccomp.h"
#include "monitor/become.h"
#include "spec.h"

namespace caisson::confine {

constexpr int kMapped = 3;
constexpr int kReady = 4;
constexpr int kNamespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID;

/// The mount namespace in which the working directory lies: only there can it be shown elsewhere.
static Status go_through(const std::string& mounts) {
  const Fd here = TRY(sys::open(".", O_PATH | O_DIRECTORY));
  const Fd other = TRY(sys::open(mounts, O_RDONLY));
  if (::setns(other.get(), CLONE_NEWNS) < 0) return sys::failed("setns", mounts);
  if (::fchdir(here.get()) < 0) return sys::failed("fchdir");
  return {};
}

/// Namespaces of its own, in which it is root of what the other side maps.
static Status become_root(const ConfineSpec& spec, const Fd& ready) {
  const Fd mapped(kMapped);
  if (::unshare(kNamespaces) < 0) return sys::failed("unshare");
  TRY(sys::write_all(ready.get(), "\n", 1, "ready"));
  char groups = 0;
  if (TEMP_FAILURE_RETRY(::read(mapped.get(), &groups, 1)) != 1) return sys::refused("ERR_PROTOCOL", "nobody has written the id maps");
  // Still the caller to the directories above, and already root to this one.
  if (!spec.below.empty() && ::chdir(spec.below.c_str()) < 0) return sys::failed("chdir", spec.below);
  if (groups == 'c' && ::setgroups(0, nullptr) < 0) return sys::failed("setgroups");
  if (::setresgid(0, 0, 0) < 0) return sys::failed("setresgid");
  if (::setresuid(0, 0, 0) < 0) return sys::failed("setresuid");
  return {};
}

// ── the root directory ────────────────────────────────────────────────────────────────────────────────────────────────

static Status make_read_only(int mount) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  return sys::mount_setattr(mount, "", AT_EMPTY_PATH, attributes);
}

/// A directory of the old root that has the host's programs, or the link that stands for it.
static Status show_programs(int root, const std::string& path) {
  const char* name = path.c_str() + 1;
  char target[PATH_MAX];
  const ssize_t length = ::readlink(path.c_str(), target, sizeof target);
  if (length > 0) {
    if (::symlinkat(std::string(target, static_cast<size_t>(length)).c_str(), root, name) < 0) return sys::failed("symlinkat", path);
    return {};
  }
  if (length < 0 && errno == ENOENT) return {};
  const Fd source = TRY(mount::clone(path, false));
  TRY(make_read_only(source.get()));
  if (::mkdirat(root, name, 0755) < 0) return sys::failed("mkdirat", path);
  return sys::move_mount(source.get(), root, name);
}

/// The working directory as it is now: it is not looked up again.
static Status show_tree(int root, const ConfineSpec& spec) {
  const Fd source = TRY(mount::clone(".", false));
  if (spec.read_only) TRY(make_read_only(source.get()));
  if (::mkdirat(root, spec.tree.c_str(), 0755) < 0) return sys::failed("mkdirat", spec.tree);
  return sys::move_mount(source.get(), root, spec.tree);
}

static Status show_null(int root) {
  const Fd source = TRY(mount::clone("/dev/null", false));
  if (::mkdirat(root, "dev", 0755) < 0) return sys::failed("mkdirat", "dev");
  TRY(sys::open_at(root, "dev/null", O_CREAT | O_EXCL | O_WRONLY, 0666));
  return sys::move_mount(source.get(), root, "dev/null");
}

static Status enter_root(const ConfineSpec& spec) {
  TRY(mount::isolate(false));
  const Fd root = TRY(mount::create("tmpfs", "", {{"size", "1m"}, {"mode", "755"}}, 0));
  // On top of the old root, which paths still mean until the pivot.
  TRY(sys::move_mount(root.get(), AT_FDCWD, "/"));
  if (!spec.tree.empty()) TRY(show_tree(root.get(), spec));
  for (const std::string& path : spec.programs) TRY(show_programs(root.get(), path));
  TRY(show_null(root.get()));
  TRY(make_read_only(root.get()));
  return rootfs::pivot(root.get());
}

/// A file of the tree as a program in the tree would find it: no link leads out.
static Status open_file(const ConfineSpec& spec) {
  const Fd tree = TRY(sys::open("/" + spec.tree, O_PATH | O_DIRECTORY));
  const int kind = spec.at_directory ? O_DIRECTORY : 0;
  const Fd file = TRY(sys::open_in_root(tree.get(), spec.at, static_cast<uint64_t>(O_RDONLY | O_NONBLOCK | O_NOCTTY | kind)));
  if (spec.at_directory) return ::fchdir(file.get()) < 0 ? sys::failed("fchdir", spec.at) : Status{};
  struct stat info{};
  if (::fstat(file.get(), &info) < 0) return sys::failed("fstat", spec.at);
  // Opened without waiting: a FIFO or device is refused here and not read.
  if (!S_ISREG(info.st_mode)) return sys::failed_with(EINVAL, "open", spec.at, ", it is no regular file");
  return ::dup2(file.get(), 0) < 0 ? sys::failed("dup2", spec.at) : Status{};
}

/// The caller hears by its number why there is no such file.
static Status find_file(const ConfineSpec& spec, const Fd& ready) {
  if (spec.at.empty()) return {};
  Status found = open_file(spec);
  if (found) return found;
  const char number = static_cast<char>(found.error().number);
  TRY(sys::write_all(ready.get(), &number, 1, "ready"));
  return found;
}

// ── the program ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// Process 1 of its pid namespace: it goes when the process that waits for it goes.
static Status become_program(const ConfineSpec& spec, const Fd& waiting, const Fd& ready, char** command) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return sys::failed("prctl", {}, "PR_SET_PDEATHSIG");
  pollfd gone{waiting.get(), POLLIN, 0};
  if (::poll(&gone, 1, 0) != 0) return sys::refused("ERR_ABORTED", "whoever waits for the program has ended");
  if (spec.own_root) TRY(enter_root(spec));
  TRY(find_file(spec, ready));
  TRY(caps::bound(spec.capabilities));
  if (spec.landlock) TRY(lsm::landlock::restrict(*spec.landlock));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return sys::failed("prctl", {}, "PR_SET_NO_NEW_PRIVS");
  TRY(caps::set({spec.capabilities, spec.capabilities, spec.capabilities, spec.capabilities, 0}));
  process::reset_signals();
  TRY(seccomp::load(spec.seccomp, false));
  ::execv(command[0], command);
  return sys::failed("execve", command[0]);
}

/// Ends as the child ends, by its exit code or its signal.
static Result<int> end_as(pid_t child) {
  int status = 0;
  if (TEMP_FAILURE_RETRY(::waitpid(child, &status, 0)) < 0) return sys::failed("waitpid");
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  ::raise(WTERMSIG(status));
  return become::kRefused;
}

static Result<int> confine(char** command) {
  const ConfineSpec spec = TRY(become::read<ConfineSpec>());
  if (!spec.through.empty()) TRY(go_through(spec.through));
  const Fd ready(kReady);
  TRY(become_root(spec, ready));
  // Nothing but 0, 1 and 2 is the program's.
  TRY(sys::cloexec_from(3));
  const Fd self = TRY(sys::pidfd_open(::getpid()));
  const pid_t child = TRY(sys::clone_process(0, nullptr, SIGCHLD));
  if (child == 0) ::_exit(become::report(become_program(spec, self, ready, command)));
  return end_as(child);
}

int run(char** command) {
  process::reset_signals();
  auto ended = confine(command);
  return ended ? *ended : become::report(ended.error());
}

}  // namespace caisson::confine
