// User namespaces and their id maps, user_namespaces(7).
//
// Theory of operation. A user namespace belongs to the effective uid that creates it, and the kernel charges per-user limits (inotify
// instances, user namespaces, pending signals …) to that owner. So the monitor takes the container's own first uid for the moment of
// clone3 (Owner), writes the maps from outside, and the guest then becomes root inside (enter). An unprivileged caller owns the
// namespace itself and has newuidmap(1) write the maps, or maps just its own id after giving up setgroups (CVE-2014-8989).
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "spec.h"

namespace caisson::idmap {

/// Takes, and gives back, the effective ids that are to own the user namespace.
class Owner {
 public:
  explicit Owner(const IdMap& map);
  ~Owner();
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

 private:
  bool taken_ = false;
};

/// Writes uid_map and gid_map of a process in a new user namespace, directly or by newuidmap(1) and newgidmap(1).
Status write(pid_t pid, const IdMap& map);
/// Inside: drops all groups and becomes uid 0 and gid 0 of the namespace, or the first mapped ids of one without a root user.
Status enter(const IdMap& map);
/// Runs `act` in a process that is root, in a user namespace of its own, over the caller's id (0 there) and all of the map (from 1 on, in
/// its order): an unprivileged caller gives files to the container's ids so, and removes theirs.
Status run_over(const IdMap& map, const std::function<Status()>& act);
/// What an id of the host is called there; none when the map does not hold it.
std::optional<uint32_t> id_over(const std::vector<IdMapExtent>& extents, uint32_t host);
/// A descriptor of the user namespace of `pid`.
Result<Fd> open(pid_t pid);

}  // namespace caisson::idmap
