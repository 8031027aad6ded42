// cgroup v2, Documentation/admin-guide/cgroup-v2.rst: one hierarchy; controllers are enabled from the top down, each by its parent.
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "kernel/cgroup_driver.h"

namespace caisson::cgroup {

/// Whether a blank-separated list holds a word.
static bool lists(const std::string& list, const std::string& word) {
  for (size_t at = 0; at < list.size();) {
    const size_t end = std::min(list.find_first_of(" \n", at), list.size());
    if (list.compare(at, end - at, word) == 0) return true;
    at = end + 1;
  }
  return false;
}

/// Enables one by one what the children of `parent` lack: the kernel takes all of a line or nothing.
static void enable(const std::string& parent, const Strings& controllers, std::vector<Missing>& missing) {
  const std::string file = parent + "/cgroup.subtree_control";
  auto enabled = sys::read_file(file);
  for (const std::string& controller : controllers) {
    if (enabled && lists(*enabled, controller)) continue;
    auto status = sys::write_file(file, "+" + controller);
    if (!status) missing.push_back({controller, std::move(status).error()});
  }
}

static Status make(const std::string& parent, const std::string& directory, const CgroupHierarchy& hierarchy,
                   std::vector<Missing>& missing) {
  enable(parent, hierarchy.controllers, missing);
  return make_directory(directory);
}

static Status give(const std::string& directory, uid_t uid, gid_t gid) {
  // Which files a delegatee owns is the kernel's word (Linux 4.15); older kernels had these three.
  auto list = sys::read_file("/sys/kernel/cgroup/delegate");
  const std::string names = list ? *list : "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";
  TRY(give_path(directory, uid, gid));
  for (size_t at = 0; at < names.size();) {
    const size_t end = std::min(names.find('\n', at), names.size());
    const std::string path = directory + "/" + names.substr(at, end - at);
    // memory.oom.group and the like exist only where their controller is enabled
    if (end > at && exists(path)) TRY(give_path(path, uid, gid));
    at = end + 1;
  }
  return {};
}

static bool can_freeze(const Place& place) { return exists(place.directory + "/cgroup.freeze"); }  // Linux 5.2

static Status freeze(const Place& place, bool on) { return sys::write_file(place.directory + "/cgroup.freeze", on ? "1" : "0"); }

static Result<bool> frozen(const Place& place) {
  const std::string file = place.directory + "/cgroup.events";
  const auto value = read_number(file, "frozen");
  if (!value) return sys::failed_with(EPROTO, "read", file, "no line \"frozen\"");
  return *value != 0;
}

static bool can_kill(const Place& place) { return exists(place.directory + "/cgroup.kill"); }  // Linux 5.14

static Status kill(const Place& place) { return sys::write_file(place.directory + "/cgroup.kill", "1"); }

static Result<Watch> watch_oom(const Place& place) {
  const std::string file = place.directory + "/memory.events";
  if (!exists(file)) return Watch{};
  return Watch{TRY(sys::open(file, O_RDONLY)), EPOLLPRI | EPOLLET};
}

static void add_usage(const Place& place, Usage& usage) {
  const std::string at = place.directory + "/";
  if (const auto usec = read_number(at + "cpu.stat", "usage_usec")) usage.cpu_usec = usec;
  if (const auto peak = read_number(at + "memory.peak")) usage.memory_peak = peak;  // Linux 5.19
  if (const auto peak = read_number(at + "pids.peak")) usage.pids_peak = peak;      // Linux 6.1
  usage.oom_kills += read_number(at + "memory.events", "oom_kill").value_or(0);
  usage.pids_limit_hits += read_number(at + "pids.events", "max").value_or(0);
}

const Driver kV2 = {2, "cgroup.procs", make, give, can_freeze, freeze, frozen, can_kill, kill, watch_oom, add_usage};

}  // namespace caisson::cgroup
