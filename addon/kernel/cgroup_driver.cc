#include "kernel/cgroup_driver.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <set>

#include "base/sys.h"

namespace caisson::cgroup {

const Place* unified_place(const Places& places) {
  for (const Place& place : places) {
    if (place.driver == &kV2) return &place;
  }
  return nullptr;
}

bool holds(const Place& place, std::string_view controller) {
  return std::find(place.controllers.begin(), place.controllers.end(), controller) != place.controllers.end();
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::optional<uint64_t> read_number(const std::string& path, std::string_view key) {
  auto text = sys::read_file(path);
  if (!text) return std::nullopt;
  size_t at = 0;
  while (!key.empty() && text->compare(at, key.size() + 1, std::string(key) + " ") != 0) {
    at = text->find('\n', at);
    if (at++ == std::string::npos) return std::nullopt;
  }
  const char* digits = text->c_str() + at + (key.empty() ? 0 : key.size() + 1);
  char* end = nullptr;
  const uint64_t number = std::strtoull(digits, &end, 10);
  return end == digits ? std::nullopt : std::optional(number);
}

Status make_directory(const std::string& path) {
  // The mode is given anew since the umask of the program that started us may hide the directory from the container (lxc/lxc#4186).
  if (::mkdir(path.c_str(), 0755) != 0) return sys::failed("mkdir", path);
  if (::chmod(path.c_str(), 0755) != 0) return sys::failed("chmod", path);
  return {};
}

Status give_path(const std::string& path, uid_t uid, gid_t gid) {
  if (::chown(path.c_str(), uid, gid) != 0) return sys::failed("chown", path);
  if (gid != static_cast<gid_t>(-1)) return {};
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return sys::failed("stat", path);
  if (::chmod(path.c_str(), (info.st_mode & 07777) | (S_ISDIR(info.st_mode) ? 0070 : 0060)) != 0) return sys::failed("chmod", path);
  return {};
}

static Status walk(int dir, const std::function<Status(int)>& act, int depth) {
  TRY(act(dir));
  const int copy = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return errno == ENOENT || errno == ENODEV ? Status{} : Status(sys::failed("openat", "."));
  DIR* entries = ::fdopendir(copy);
  Status status;
  // A container may nest its delegated cgroups as deep as it likes; ours are not deeper than this.
  while (const dirent* entry = depth < 64 && status ? ::readdir(entries) : nullptr) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    const Fd child(::openat(copy, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (child) status = walk(child.get(), act, depth + 1);
  }
  ::closedir(entries);
  return status;
}

Status each_directory(const std::string& directory, const std::function<Status(int dir)>& act) {
  auto top = sys::open(directory, O_RDONLY | O_DIRECTORY);
  if (!top) return top.error().number == ENOENT ? Status{} : Status(std::move(top).error());
  return walk(top->get(), act, 0);
}

/// Kills one process, unless its number has passed to another since it was read.
static void kill_member(int dir, pid_t pid) {
  auto pidfd = sys::pidfd_open(pid);
  if (!pidfd) return;
  auto text = [&]() -> Result<std::string> {
    const Fd list = TRY(sys::open_at(dir, "cgroup.procs", O_RDONLY));
    return sys::read_all(list.get(), "cgroup.procs");
  }();
  if (text && ("\n" + *text).find("\n" + std::to_string(pid) + "\n") != std::string::npos) {
    (void)sys::pidfd_send_signal(pidfd->get(), SIGKILL);
  }
}

Status kill_listed(const std::string& directory) {
  std::set<pid_t> killed;
  for (size_t before = 1; before != killed.size();) {
    before = killed.size();
    TRY(each_directory(directory, [&](int dir) -> Status {
      auto list = sys::open_at(dir, "cgroup.procs", O_RDONLY);
      if (!list) return {};
      auto text = sys::read_all(list->get(), "cgroup.procs");
      for (const char* at = text ? text->c_str() : ""; *at != '\0';) {
        char* end = nullptr;
        const pid_t pid = static_cast<pid_t>(std::strtol(at, &end, 10));
        if (end == at) break;
        if (pid > 0 && killed.insert(pid).second) kill_member(dir, pid);
        at = end + (*end == '\n' ? 1 : 0);
      }
      return {};
    }));
  }
  return {};
}

}  // namespace caisson::cgroup
