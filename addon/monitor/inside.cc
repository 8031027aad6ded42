#include "monitor/inside.h"

#include <sched.h>
#include <sys/prctl.h>

#include "base/socket.h"
#include "base/sys.h"
#include "kernel/cgroup.h"
#include "kernel/idmap.h"
#include "kernel/mount.h"
#include "protocol.h"

namespace caisson::inside {

static int slot(const std::vector<Fd>& slots, Slot index) {
  return index >= 0 && static_cast<size_t>(index) < slots.size() ? slots[static_cast<size_t>(index)].get() : -1;
}

static Error with_step(Error error, const char* step) {
  if (error.step.empty()) error.step = step;
  return error;
}

/// What is bound from the host is taken hold of on the host, and shifted by the container's ids when that is wanted.
static Result<std::vector<Fd>> open_sources(const InsideSpec& spec, const std::vector<Fd>& slots, pid_t init) {
  std::vector<Fd> sources(spec.mounts.size());
  for (size_t i = 0; i < spec.mounts.size(); i++) {
    const MountSpec& mount = spec.mounts[i];
    if (!mount.type.empty() || mount.relative) continue;
    sources[i] = TRY(mount::open_source(mount));
    if (!spec.user) continue;
    const Fd ids = TRY(idmap::open(init));
    if (mount.idmap != MountIdmap::none) {
      const int by = mount.idmap == MountIdmap::container ? ids.get() : slot(slots, mount.user_namespace);
      TRY(mount::shift(sources[i].get(), by, mount.recursive));
    }
    if (mount::restricts(mount)) sources[i] = TRY(mount::lock(mount, std::move(sources[i]), ids.get()));
  }
  return sources;
}

static Status join(const InsideSpec& spec, int init) {
  // Nobody inside may trace a process that comes from outside.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return sys::failed("prctl", {}, "PR_SET_DUMPABLE");
  const int flags = CLONE_NEWNS | (spec.user ? CLONE_NEWUSER : 0);
  if (::setns(init, flags) < 0) return sys::failed("setns");
  if (!spec.user) return {};
  IdMap map;
  map.deny_setgroups = spec.keep_groups;
  return idmap::enter(map);
}

/// All of them or none.
static Status attach_all(int root, const InsideSpec& spec, std::vector<Fd> sources) {
  for (size_t i = 0; i < spec.mounts.size(); i++) {
    Status attached = mount::attach(root, spec.mounts[i], std::move(sources[i]));
    if (attached) continue;
    for (size_t done = i; done-- > 0;) (void)mount::detach(root, spec.mounts[done].target);
    return attached;
  }
  return {};
}

static Status change(const InsideSpec& spec, const std::vector<Fd>& slots) {
  const int init = slot(slots, spec.init);
  auto sources = open_sources(spec, slots, TRY(sys::pid_of(init)));
  if (!sources) return with_step(std::move(sources).error(), "mount.open");
  Status ruled = cgroup::replace_devices(spec.cgroup);
  if (!ruled) return with_step(std::move(ruled).error(), "cgroup.devices");
  Status joined = join(spec, init);
  if (!joined) return with_step(std::move(joined).error(), "namespace.join");
  const Fd root = TRY(sys::open("/", O_PATH | O_DIRECTORY));
  Status attached = attach_all(root.get(), spec, std::move(*sources));
  if (!attached) return with_step(std::move(attached).error(), "mount.attach");
  for (const std::string& target : spec.unmounts) {
    Status detached = mount::detach(root.get(), target);
    if (!detached) return with_step(std::move(detached).error(), "mount.detach");
  }
  for (const std::string& path : spec.removals) {
    Status removed = mount::remove_file(root.get(), path);
    if (!removed) return with_step(std::move(removed).error(), "mount.remove");
  }
  return {};
}

int run(const InsideSpec& spec, Fd, Fd channel, std::vector<Fd> slots) {
  Status changed = change(spec, slots);
  Report report{.kind = ReportKind::started, .state = State::running};
  if (!changed) {
    report.kind = ReportKind::failed;
    report.error = std::move(changed).error();
  }
  return socket::send(channel.get(), encode(report), {}, true) ? 0 : 2;
}

}  // namespace caisson::inside
