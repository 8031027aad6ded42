// cgroup v1, Documentation/admin-guide/cgroup-v1: one hierarchy for each controller or group of them, and named ones without any.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "kernel/cgroup_driver.h"

namespace caisson::cgroup {

static bool lists(const CgroupHierarchy& hierarchy, const char* controller) {
  for (const std::string& one : hierarchy.controllers) {
    if (one == controller) return true;
  }
  return false;
}

/// A new cpuset allows no cpu and no memory node, and nobody can join it (ENOSPC) until it has both: the parent's.
static Status inherit_cpuset(const std::string& parent, const std::string& directory) {
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) TRY(sys::write_file(directory + file, TRY(sys::read_file(parent + file))));
  return {};
}

static Status make(const std::string& parent, const std::string& directory, const CgroupHierarchy& hierarchy, std::vector<Missing>&) {
  TRY(make_directory(directory));
  auto prepared = lists(hierarchy, "cpuset") ? inherit_cpuset(parent, directory) : Status{};
  // Before Linux 5.11 a memory limit doesn't hold for cgroups below unless this says so; EBUSY: the parent has said it already.
  if (prepared && lists(hierarchy, "memory")) (void)sys::write_file(directory + "/memory.use_hierarchy", "1");
  if (!prepared) ::rmdir(directory.c_str());
  return prepared;
}

static Status give(const std::string& directory, uid_t uid, gid_t gid) {
  for (const char* file : {"", "/tasks", "/cgroup.procs"}) TRY(give_path(directory + file, uid, gid));
  return {};
}

static bool can_freeze(const Place& place) { return holds(place, "freezer"); }

static Status freeze(const Place& place, bool on) {
  return sys::write_file(place.directory + "/freezer.state", on ? "FROZEN" : "THAWED");
}

static Result<bool> frozen(const Place& place) {
  return TRY(sys::read_file(place.directory + "/freezer.state")).starts_with("FROZEN");
}

static bool can_kill(const Place&) { return false; }

static Status kill(const Place& place) { return kill_listed(place.directory); }

static Result<Watch> watch_oom(const Place& place) {
  if (!holds(place, "memory")) return Watch{};
  Fd news(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!news) return sys::failed("eventfd");
  const Fd control = TRY(sys::open(place.directory + "/memory.oom_control", O_RDONLY));
  TRY(sys::write_file(place.directory + "/cgroup.event_control",
                      std::to_string(news.get()) + " " + std::to_string(control.get())));
  return Watch{std::move(news), EPOLLIN};
}

static void add_usage(const Place& place, Usage& usage) {
  const std::string at = place.directory + "/";
  if (holds(place, "cpuacct")) {
    if (const auto nanoseconds = read_number(at + "cpuacct.usage")) usage.cpu_usec = *nanoseconds / 1000;
  }
  if (holds(place, "memory")) {
    usage.memory_peak = read_number(at + "memory.max_usage_in_bytes");
    usage.oom_kills += read_number(at + "memory.oom_control", "oom_kill").value_or(0);  // Linux 4.13
  }
  if (holds(place, "pids")) {
    usage.pids_peak = read_number(at + "pids.peak");  // Linux 6.1
    usage.pids_limit_hits += read_number(at + "pids.events", "max").value_or(0);
  }
}

const Driver kV1 = {1, "tasks", make, give, can_freeze, freeze, frozen, can_kill, kill, watch_oom, add_usage};

}  // namespace caisson::cgroup
