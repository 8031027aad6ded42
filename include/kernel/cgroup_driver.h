// What differs between cgroup v1 and v2: one Driver each (the Hierarchy driver interface), and what both are made of.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "spec.h"

namespace caisson::cgroup {

struct Driver;

/// The container's place in one hierarchy.
struct Place {
  const Driver* driver = nullptr;
  Strings controllers;
  std::string directory;  ///< the limits are here; absolute
  Fd home;                ///< O_PATH: what processes join, `directory` or the inner directory below it
  Fd door;                ///< O_WRONLY: home's `tasks` (v1) or `cgroup.procs` (v2)
};
using Places = std::vector<Place>;

/// A descriptor for epoll, and the events to ask for. An empty fd: this host has no such news. The first event may come at once.
struct Watch {
  Fd fd;
  /// EPOLLPRI of a control file, edge-triggered, as the file stays ready until it is read through this very descriptor; or EPOLLIN of an
  /// eventfd, from which 8 bytes are to be read each time.
  uint32_t events = 0;
};

/// What the container has used until now; absent where no hierarchy can tell.
struct Usage {
  std::optional<uint64_t> cpu_usec;
  std::optional<uint64_t> memory_peak;
  std::optional<uint64_t> pids_peak;
  uint64_t oom_kills = 0;
  uint64_t pids_limit_hits = 0;
};

/// Controllers that could not be enabled on the way, each with the failure; it becomes one only when a file needs the controller.
struct Missing {
  std::string controller;
  Error error;
};

struct Driver {
  uint32_t version;
  const char* door;  ///< the file a process writes "0" to
  /// Makes `directory`, whose parent exists, fit for processes. EEXIST comes back as that.
  Status (*make)(const std::string& parent, const std::string& directory, const CgroupHierarchy& hierarchy, std::vector<Missing>& missing);
  Status (*give)(const std::string& directory, uid_t uid, gid_t gid);
  bool (*can_freeze)(const Place& place);
  Status (*freeze)(const Place& place, bool on);
  Result<bool> (*frozen)(const Place& place);
  bool (*can_kill)(const Place& place);
  Status (*kill)(const Place& place);
  Result<Watch> (*watch_oom)(const Place& place);
  void (*add_usage)(const Place& place, Usage& usage);
};

extern const Driver kV1;
extern const Driver kV2;

/// The v2 place, or null.
const Place* unified_place(const Places& places);
bool holds(const Place& place, std::string_view controller);
bool exists(const std::string& path);
/// The number after `key` and a blank in a flat keyed file ("oom_kill 3"); the whole file for an empty key.
std::optional<uint64_t> read_number(const std::string& path, std::string_view key = {});
/// mkdir(2) that leaves the mode to no umask.
Status make_directory(const std::string& path);
/// chown(2). A group of -1 stays, and may write: of a giver without rights, who is to reach what was given.
Status give_path(const std::string& path, uid_t uid, gid_t gid);
/// Calls `act` with a descriptor of the directory and of each one below it, parents first. What vanishes meanwhile is passed over.
Status each_directory(const std::string& directory, const std::function<Status(int dir)>& act);
/// Kills what `cgroup.procs` lists in and below a directory until nobody new is found there.
Status kill_listed(const std::string& directory);

}  // namespace caisson::cgroup
