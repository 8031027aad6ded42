#include "monitor/confinement.h"

#include <sys/prctl.h>

#include "base/sys.h"
#include "kernel/lsm.h"

namespace caisson::confinement {

// landlock(7), LANDLOCK_ACCESS_FS_*: all but reading of files and directories, and ioctls of devices.
constexpr uint64_t kChanges = ((uint64_t{1} << 15) - 1) & ~uint64_t{1 << 2 | 1 << 3};
constexpr uint64_t kExecute = 1 << 0;
constexpr uint64_t kNetwork = 3;  // LANDLOCK_ACCESS_NET_BIND_TCP, CONNECT_TCP

bool fits(const Context& context) {
  const StartSpec& spec = context.spec;
  const bool restarts = !spec.minimal_init || spec.ephemeral;
  const bool runs = !spec.hooks.empty() || !spec.links.empty() || !spec.idmap.newuidmap.empty();
  const bool writes = !spec.console.log.empty() || spec.log.has_value() || spec.syscall_proxy.has_value();
  return !restarts && !runs && !writes;
}

Status enter(const Context& context) {
  const StartSpec& spec = context.spec;
  LandlockSpec domain;
  domain.handled_access = kChanges;
  domain.handled_network = kNetwork;
  const auto allow = [&](const std::string& path) {
    if (!path.empty()) domain.paths.push_back({path, kChanges & ~kExecute});
  };
  allow(spec.run_dir);
  for (const CgroupHierarchy& hierarchy : spec.cgroup.hierarchies) {
    allow(hierarchy.base.empty() ? hierarchy.mount : hierarchy.mount + "/" + hierarchy.base);
  }
  if (!spec.security.apparmor_profile.empty()) allow("/sys/kernel/security/apparmor");
  // Without rights over the host no_new_privs stands for them.
  if (!context.privileged && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return sys::failed("prctl", {}, "PR_SET_NO_NEW_PRIVS");
  return lsm::landlock::restrict(domain);
}

}  // namespace caisson::confinement
