#include "kernel/cgroup.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>

#include "base/sys.h"
#include "kernel/device_program.h"

namespace caisson::cgroup {

// ── making ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

static const Driver& driver_of(const CgroupHierarchy& hierarchy) { return hierarchy.version == 1 ? kV1 : kV2; }

static std::string joined(const std::string& directory, const std::string& name) {
  return name.empty() ? directory : directory + "/" + name;
}

static std::string base_of(const CgroupHierarchy& hierarchy) { return joined(hierarchy.mount, hierarchy.base); }
static std::string monitor_base_of(const CgroupHierarchy& hierarchy) { return joined(hierarchy.mount, hierarchy.monitor_base); }

static std::string directory_of(const CgroupHierarchy& hierarchy) { return joined(base_of(hierarchy), hierarchy.path); }

/// The directories from below `base` down to base/path, the shallowest first.
static Strings steps(const std::string& base, const std::string& path) {
  Strings all;
  for (size_t at = 0; at < path.size();) {
    at = std::min(path.find('/', at + 1), path.size());
    all.push_back(base + "/" + path.substr(0, at));
  }
  return all;
}

/// What create has made so far, so that a failure can take it back.
struct Making {
  Strings made;
  std::vector<Missing> missing;
  ~Making() {
    for (auto directory = made.rbegin(); directory != made.rend(); ++directory) ::rmdir(directory->c_str());
  }
};

/// Makes base/path with what lies between; only the last directory must be new.
static Status make_path(const CgroupHierarchy& hierarchy, std::string parent, const std::string& path, Making& making) {
  const Strings all = steps(parent, path);
  for (const std::string& directory : all) {
    auto status = driver_of(hierarchy).make(parent, directory, hierarchy, making.missing);
    if (status) making.made.push_back(directory);
    else if (status.error().number != EEXIST || &directory == &all.back()) return status;
    parent = directory;
  }
  return {};
}

static Result<Place> open_place(const CgroupHierarchy& hierarchy, const std::string& home) {
  const Driver& driver = driver_of(hierarchy);
  Place place;
  place.driver = &driver;
  place.controllers = hierarchy.controllers;
  place.directory = directory_of(hierarchy);
  place.home = TRY(sys::open(home, O_PATH | O_DIRECTORY));
  place.door = TRY(sys::open(home + "/" + driver.door, O_WRONLY));
  return place;
}

static Status make_directories(const CgroupHierarchy& hierarchy, Making& making) {
  TRY(make_path(hierarchy, base_of(hierarchy), hierarchy.path, making));
  if (hierarchy.monitor.empty()) return {};
  return make_path(hierarchy, monitor_base_of(hierarchy), hierarchy.monitor, making);
}

/// What is made when the limits stand, since a v1 cpuset can't shrink below those of its children: the inner directory. Then the home,
/// inner or not, is given away.
static Result<Place> make_home(const CgroupSpec& spec, const CgroupHierarchy& hierarchy, Making& making) {
  const std::string directory = directory_of(hierarchy);
  const std::string home = joined(directory, hierarchy.inner);
  if (!hierarchy.inner.empty()) {
    TRY(driver_of(hierarchy).make(directory, home, hierarchy, making.missing));
    making.made.push_back(home);
  }
  if (::geteuid() == 0 && hierarchy.delegated && (spec.owner_uid || spec.owner_gid)) {
    TRY(driver_of(hierarchy).give(home, spec.owner_uid.value_or(static_cast<uid_t>(-1)),
                                  spec.owner_gid.value_or(static_cast<gid_t>(-1))));
  }
  return open_place(hierarchy, home);
}

Status give(const CgroupSpec& spec, uid_t uid) {
  for (const CgroupHierarchy& hierarchy : spec.hierarchies) {
    if (!hierarchy.delegated) continue;
    const std::string home = joined(directory_of(hierarchy), hierarchy.inner);
    TRY(driver_of(hierarchy).give(home, uid, static_cast<gid_t>(-1)));
  }
  return {};
}

static bool is_absence(const Error& error) { return error.number == ENOENT || error.number == EOPNOTSUPP; }

static Status write_control(const std::string& directory, const CgroupFile& file, const std::vector<Missing>& missing) {
  auto status = sys::write_file(directory + "/" + file.name, file.value);
  if (status) return {};
  if (is_absence(status.error()) && !file.fallback_name.empty()) {
    auto again = sys::write_file(directory + "/" + file.fallback_name, file.fallback_value);
    if (again || !is_absence(again.error())) return again;
  }
  if (!is_absence(status.error())) return status;
  if (file.optional) return {};
  const std::string controller = file.name.substr(0, file.name.find('.'));
  for (const Missing& one : missing) {
    if (one.controller != controller) continue;
    Error error = one.error;
    error.code = "ERR_NO_CGROUP", error.detail = "the controller " + controller + " cannot be enabled for " + file.name;
    return error;
  }
  return status;
}

Status replace_devices(const CgroupSpec& spec) {
  if (spec.devices.empty()) return {};
  for (const CgroupHierarchy& hierarchy : spec.hierarchies) {
    if (hierarchy.version != 2) continue;
    const Fd directory = TRY(sys::open(directory_of(hierarchy), O_RDONLY | O_DIRECTORY));
    return device_program::replace(directory.get(), spec.devices);
  }
  return sys::refused("ERR_NO_CGROUP", "device rules need a cgroup v2 hierarchy");
}

static Status write_controls(const CgroupSpec& spec, const std::vector<Missing>& missing) {
  for (const CgroupFile& file : spec.files) {
    if (file.hierarchy >= spec.hierarchies.size()) return sys::failed_with(EINVAL, "write", file.name, "no such hierarchy");
    TRY(write_control(directory_of(spec.hierarchies[file.hierarchy]), file, missing));
  }
  return {};
}

Status limit(const CgroupSpec& spec) { return write_controls(spec, {}); }

Result<Places> create(const CgroupSpec& spec) {
  Making making;
  for (const CgroupHierarchy& hierarchy : spec.hierarchies) TRY(make_directories(hierarchy, making));
  TRY(write_controls(spec, making.missing));
  TRY(replace_devices(spec));
  Places places;
  for (const CgroupHierarchy& hierarchy : spec.hierarchies) places.push_back(TRY(make_home(spec, hierarchy, making)));
  making.made.clear();
  return places;
}

// ── joining ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Where a process lives in the v2 hierarchy, as its cgroup.procs names it to this cgroup namespace: the line "0::/path".
static Result<std::string> unified_path(const std::string& process) {
  const std::string file = "/proc/" + process + "/cgroup";
  const std::string text = "\n" + TRY(sys::read_file(file));
  const size_t at = text.find("\n0::");
  if (at == std::string::npos) return sys::failed_with(ENOENT, "read", file, "no cgroup v2 hierarchy");
  return text.substr(at + 4, text.find('\n', at + 1) - at - 4);
}

/// The directory of init's own v2 cgroup, which lies at or below the container's.
static Result<std::string> home_of_init(const CgroupHierarchy& hierarchy, pid_t init) {
  const std::string path = TRY(unified_path(std::to_string(init)));
  const std::string ours = "/" + hierarchy.path;
  const size_t at = (path + "/").find(ours + "/");
  if (at == std::string::npos) return sys::failed_with(ESRCH, "open", path, "init is not in the container's cgroup");
  return joined(base_of(hierarchy), path.substr(at + 1));
}

Result<Places> open(const CgroupSpec& spec, pid_t init) {
  Places places;
  for (const CgroupHierarchy& hierarchy : spec.hierarchies) {
    const bool follow = hierarchy.version == 2 && init > 0;
    const std::string home = follow ? TRY(home_of_init(hierarchy, init))
                                    : joined(directory_of(hierarchy), hierarchy.inner);
    places.push_back(TRY(open_place(hierarchy, home)));
  }
  return places;
}

int unified(const Places& places) {
  const Place* place = unified_place(places);
  return place == nullptr ? -1 : place->home.get();
}

Status enter(const Places& places, bool unified_joined) {
  for (const Place& place : places) {
    if (place.driver == &kV2 && unified_joined) continue;
    if (::write(place.door.get(), "0", 1) != 1) return sys::failed("write", place.directory + "/" + place.driver->door);
  }
  return {};
}

Status enter_monitor(const CgroupSpec& spec) {
  for (const CgroupHierarchy& hierarchy : spec.hierarchies) {
    if (hierarchy.monitor.empty()) continue;
    TRY(sys::write_file(joined(monitor_base_of(hierarchy), hierarchy.monitor) + "/" + driver_of(hierarchy).door, "0"));
  }
  return {};
}

Status leave_monitor(const CgroupSpec& spec, const std::string& origin) {
  for (const CgroupHierarchy& hierarchy : spec.hierarchies) {
    if (hierarchy.monitor.empty()) continue;
    const std::string door = std::string("/") + driver_of(hierarchy).door;
    for (const std::string& directory : steps(monitor_base_of(hierarchy), hierarchy.pivot)) {
      if (::mkdir(directory.c_str(), 0755) < 0 && errno != EEXIST) return sys::failed("mkdir", directory);
    }
    auto status = sys::write_file(joined(monitor_base_of(hierarchy), hierarchy.pivot) + door, "0");
    if (!status && hierarchy.version == 2 && !origin.empty()) status = sys::write_file(origin + door, "0");
    if (!status) return status;
  }
  return {};
}

std::string own_unified(const CgroupSpec& spec) {
  for (const CgroupHierarchy& hierarchy : spec.hierarchies) {
    if (hierarchy.version != 2) continue;
    auto path = unified_path("self");
    if (path && path->find("..") == std::string::npos) return hierarchy.mount + *path;
  }
  return {};
}

// ── removing ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The first directory below `dir`, or an empty name.
static Result<std::string> child_directory(int dir) {
  const int copy = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return sys::failed("openat", ".");
  DIR* entries = ::fdopendir(copy);
  if (entries == nullptr) return sys::failed("fdopendir");
  std::string name;
  while (const dirent* entry = ::readdir(entries)) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    name = entry->d_name;
    break;
  }
  ::closedir(entries);
  return name;
}

static bool gone(int number) { return number == ENOENT || number == ENODEV; }

/// rmdir(2), again while processes that were killed are still on their way out. EBUSY with a child directory is the caller's to see.
static Status remove_one(int dir, const std::string& name, int64_t deadline) {
  for (timespec pause{0, 200'000};; pause.tv_nsec = std::min(pause.tv_nsec * 2, 20'000'000L)) {
    if (::unlinkat(dir, name.c_str(), AT_REMOVEDIR) == 0 || gone(errno)) return {};
    if (errno != EBUSY || sys::now_ms() >= deadline) return sys::failed("rmdir", name);
    ::nanosleep(&pause, nullptr);
  }
}

/// Removes everything below a directory with two descriptors at a time: how deep a container nests its cgroups is its own choice.
static Status remove_below(Fd current, int64_t deadline) {
  Strings path;
  for (;;) {
    const std::string child = TRY(child_directory(current.get()));
    if (!child.empty()) {
      auto next = sys::open_at(current.get(), child, O_RDONLY | O_DIRECTORY);
      if (!next && !gone(next.error().number)) return std::move(next).error();
      if (next) path.push_back(child), current = std::move(*next);
      continue;
    }
    if (path.empty()) return {};
    current = TRY(sys::open_at(current.get(), "..", O_RDONLY | O_DIRECTORY));
    TRY(remove_one(current.get(), path.back(), deadline));
    path.pop_back();
  }
}

static Status remove_tree(const std::string& directory, int64_t deadline) {
  // Mostly nothing is left in it.
  if (::rmdir(directory.c_str()) == 0 || gone(errno)) return {};
  auto top = sys::open(directory, O_RDONLY | O_DIRECTORY);
  if (!top) return gone(top.error().number) ? Status{} : Status(std::move(top).error());
  TRY(remove_below(std::move(*top), deadline));
  return remove_one(AT_FDCWD, directory, deadline);
}

static Status remove_path(const std::string& base, const std::string& path, int64_t deadline) {
  if (path.empty()) return {};
  Strings all = steps(base, path);
  TRY(remove_tree(all.back(), deadline));
  all.pop_back();
  // EBUSY or ENOTEMPTY: another container lives there too, and the last one removes it.
  while (!all.empty() && ::rmdir(all.back().c_str()) == 0) all.pop_back();
  return {};
}

Status remove(const CgroupSpec& spec, int64_t patience_ms) {
  const int64_t deadline = sys::now_ms() + patience_ms;
  Status first;
  for (const CgroupHierarchy& hierarchy : spec.hierarchies) {
    auto container = remove_path(base_of(hierarchy), hierarchy.path, deadline);
    if (!container && first) first = std::move(container);
    auto monitor = remove_path(monitor_base_of(hierarchy), hierarchy.monitor, deadline);
    if (!monitor && first) first = std::move(monitor);
  }
  return first;
}

}  // namespace caisson::cgroup
