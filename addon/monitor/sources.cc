#include "monitor/sources.h"

#include <cerrno>

#include "base/sys.h"
#include "kernel/caps.h"
#include "kernel/idmap.h"
#include "kernel/mount.h"
#include "kernel/namespace.h"
#include "kernel/overlay.h"
#include "kernel/rootfs.h"
#include "monitor/guest.h"

namespace caisson::sources {

bool shifts(const Context& c) {
  if (!c.privileged) return false;
  if (c.spec.rootfs.idmapped || c.spec.rootfs.user_namespace >= 0 || overlay::needs_guest(c.spec.rootfs)) return true;
  for (const MountSpec& mount : c.spec.mounts) {
    if (mount.idmap != MountIdmap::none) return true;
  }
  return false;
}

Status open_root(Context& c) {
  if (c.privileged && overlay::needs_guest(c.spec.rootfs)) return {};
  c.root = TRY(rootfs::open(c.spec.rootfs, c.found_root));
  c.found_root.clear();
  return {};
}

Status open_sources(Context& c) {
  c.sources.resize(c.spec.mounts.size());
  for (size_t i = 0; i < c.spec.mounts.size(); i++) {
    const MountSpec& mount = c.spec.mounts[i];
    if (!mount::is_bind(mount)) continue;
    auto source = mount::open_source(mount);
    if (source) c.sources[i] = std::move(*source);
    else if (!mount.optional) return std::move(source).error();
  }
  return {};
}

/// File systems that cannot be shown so say EINVAL, and kernels before 5.12 that they don't know the call.
static Status shift_if_possible(int mount, int user_namespace, bool recursive) {
  Status shifted = mount::shift(mount, user_namespace, recursive);
  if (!shifted && (shifted.error().number == EINVAL || shifted.error().number == ENOSYS)) return {};
  return shifted;
}

Status shift_mounts(Context& c) {
  // Without a user namespace of its own that is the host's, and only those of others are asked for.
  const Fd container = TRY(idmap::open(c.init));
  const Slot foreign = c.spec.rootfs.user_namespace;
  const RootfsSpec& rootfs = c.spec.rootfs;
  if (overlay::needs_guest(rootfs)) {
    c.root = TRY(overlay::open(rootfs, rootfs.idmapped ? container.get() : -1, "/proc/" + std::to_string(c.init) + "/ns/mnt"));
  } else if (foreign >= 0) TRY(mount::shift(c.root.get(), c.slot(foreign), false));
  else if (rootfs.idmapped && rootfs.idmap_preferred) TRY(shift_if_possible(c.root.get(), container.get(), false));
  else if (rootfs.idmapped) TRY(mount::shift(c.root.get(), container.get(), false));
  for (size_t i = 0; i < c.spec.mounts.size(); i++) {
    const MountSpec& mount = c.spec.mounts[i];
    if (mount.idmap == MountIdmap::none || !c.sources[i]) continue;
    const int by = mount.idmap == MountIdmap::descriptor ? c.slot(mount.user_namespace) : container.get();
    if (mount.idmap == MountIdmap::preferred) TRY(shift_if_possible(c.sources[i].get(), by, mount.recursive));
    else TRY(mount::shift(c.sources[i].get(), by, mount.recursive));
  }
  return {};
}

/// The root as a mount with restrictions of its own.
static MountSpec root_as_mount(const RootfsSpec& rootfs) {
  MountSpec mount;
  mount.target = "/";
  mount.recursive = true;
  mount.attributes = rootfs.empty ? 0 : rootfs.attributes;
  return mount;
}

/// Only who has CAP_SYS_ADMIN inside could take a restriction off.
bool locks(const Context& c) {
  if (!guest::has_user(c) || !c.privileged || !ns::has(c.spec.namespaces, NamespaceKind::mnt) || (c.spec.security.capabilities.bounding >> caps::kSysAdmin & 1) == 0) return false;
  if (mount::restricts(root_as_mount(c.spec.rootfs))) return true;
  for (const MountSpec& mount : c.spec.mounts) {
    if (mount.type.empty() && !mount.relative && mount::restricts(mount)) return true;
  }
  return false;
}

Status lock_mounts(Context& c) {
  const Fd container = TRY(idmap::open(c.init));
  const MountSpec root = root_as_mount(c.spec.rootfs);
  if (mount::restricts(root) && c.root) c.root = TRY(mount::lock(root, std::move(c.root), container.get()));
  for (size_t i = 0; i < c.spec.mounts.size(); i++) {
    if (!c.sources[i] || !mount::restricts(c.spec.mounts[i])) continue;
    c.sources[i] = TRY(mount::lock(c.spec.mounts[i], std::move(c.sources[i]), container.get()));
  }
  return {};
}

Status find_root(Context& c) {
  c.found_root = TRY(rootfs::find(c.spec.rootfs));
  return {};
}

Status find_sources(Context& c) {
  c.found.resize(c.spec.mounts.size());
  for (size_t i = 0; i < c.spec.mounts.size(); i++) {
    const MountSpec& mount = c.spec.mounts[i];
    if (!mount::is_bind(mount)) continue;
    auto found = sys::open(mount.source, O_PATH);
    if (found) c.found[i] = std::move(*found);
    else if (!mount.optional) return std::move(found).error();
  }
  return {};
}

/// The sources that were found, as mounts of their own.
static Status clone_found(Context& c) {
  for (size_t i = 0; i < c.found.size(); i++) {
    if (c.found[i]) c.sources[i] = TRY(mount::clone_at(c.found[i].get(), c.spec.mounts[i].recursive));
  }
  c.found.clear();
  return {};
}

Status attach_mounts(Context& c) {
  c.sources.resize(c.spec.mounts.size());
  TRY(clone_found(c));
  for (size_t i = 0; i < c.spec.mounts.size(); i++) {
    TRY(mount::attach(c.root.get(), c.spec.mounts[i], std::move(c.sources[i])));
  }
  return {};
}

}  // namespace caisson::sources
