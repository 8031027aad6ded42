// A container's cgroups while it lives: frozen, killed, watched, asked.
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/sys.h"
#include "kernel/cgroup.h"

namespace caisson::cgroup {

/// The place that is best at something: v2 before v1.
static const Place* able(const Places& places, bool (*Driver::*can)(const Place&)) {
  const Place* found = nullptr;
  for (const Place& place : places) {
    if ((place.driver->*can)(place) && (found == nullptr || place.driver == &kV2)) found = &place;
  }
  return found;
}

static Result<const Place*> freezer(const Places& places) {
  const Place* place = able(places, &Driver::can_freeze);
  if (place == nullptr) return sys::refused("ERR_NO_CGROUP", "no cgroup hierarchy of this container can freeze");
  return place;
}

Status freeze(const Places& places) {
  const Place* place = TRY(freezer(places));
  return place->driver->freeze(*place, true);
}

Status thaw(const Places& places) {
  const Place* place = TRY(freezer(places));
  return place->driver->freeze(*place, false);
}

Result<bool> frozen(const Places& places) {
  const Place* place = TRY(freezer(places));
  return place->driver->frozen(*place);
}

Status kill(const Places& places) {
  const Place* best = able(places, &Driver::can_kill);
  Status status;
  if (best != nullptr) {
    status = best->driver->kill(*best);
  } else {
    // Without cgroup.kill: nobody forks while the list is walked, if something can freeze; and nobody dies while frozen on v1.
    const Place* still = able(places, &Driver::can_freeze);
    if (still != nullptr) (void)still->driver->freeze(*still, true);
    for (const Place& place : places) {
      if (status) status = kill_listed(place.directory);
    }
  }
  for (const Place& place : places) {
    if (place.driver->can_freeze(place)) (void)place.driver->freeze(place, false);
  }
  return status;
}

Result<Watch> watch_events(const Places& places) {
  const Place* place = unified_place(places);
  if (place == nullptr) return Watch{};
  return Watch{TRY(sys::open(place->directory + "/cgroup.events", O_RDONLY)), EPOLLPRI | EPOLLET};
}

Result<Watch> watch_oom(const Places& places) {
  for (const Place& place : places) {
    Watch watch = TRY(place.driver->watch_oom(place));
    if (watch.fd) return watch;
  }
  return Watch{};
}

Result<Watch> watch_pressure(const Places& places, const char* resource, uint64_t stall_us, uint64_t window_us) {
  const Place* place = unified_place(places);
  const std::string file = (place == nullptr ? "" : place->directory + "/") + resource + ".pressure";
  if (place == nullptr || !exists(file)) return Watch{};
  Watch watch{TRY(sys::open(file, O_RDWR | O_NONBLOCK)), EPOLLPRI};
  // The kernel wants the terminating zero in the same write.
  const std::string trigger = "some " + std::to_string(stall_us) + " " + std::to_string(window_us);
  if (::write(watch.fd.get(), trigger.c_str(), trigger.size() + 1) < 0) return sys::failed("write", file, trigger);
  return watch;
}

Result<uint32_t> pressure(const Places& places, const char* resource) {
  const Place* place = unified_place(places);
  if (place == nullptr) return sys::refused("ERR_NO_CGROUP", "pressure is known to cgroup v2 only");
  const std::string file = place->directory + "/" + resource + ".pressure";
  const std::string text = TRY(sys::read_file(file));
  unsigned whole = 0, part = 0;
  if (std::sscanf(text.c_str(), "some avg10=%u.%2u", &whole, &part) != 2) return sys::failed_with(EPROTO, "read", file);
  return whole * 100 + part;
}

Result<bool> populated(const Places& places) {
  if (const Place* place = unified_place(places)) {
    return read_number(place->directory + "/cgroup.events", "populated").value_or(0) != 0;
  }
  bool found = false;
  for (const Place& place : places) {
    TRY(each_directory(place.directory, [&](int dir) -> Status {
      auto list = sys::open_at(dir, "cgroup.procs", O_RDONLY);
      char byte = 0;
      if (list && ::read(list->get(), &byte, 1) == 1) found = true;
      return {};
    }));
  }
  return found;
}

Usage usage(const Places& places) {
  Usage usage;
  for (const Place& place : places) place.driver->add_usage(place, usage);
  return usage;
}

}  // namespace caisson::cgroup
