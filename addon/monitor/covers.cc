#include "monitor/covers.h"

#include "kernel/caps.h"
#include "kernel/cover.h"
#include "kernel/namespace.h"
#include "monitor/guest.h"

namespace caisson::covers {

/// Something of the kernel's file systems is hidden or read-only.
static bool covers(const StartSpec& spec) {
  if (!spec.masked.empty() || !spec.read_only.empty()) return true;
  const bool proc = spec.proc && spec.proc_read_only_sys && !spec.proc_hidden;
  return proc || spec.sysfs == StartSpec::Sysfs::read_only || spec.sysfs == StartSpec::Sysfs::mixed;
}

bool locks(const Context& c) {
  if (!ns::has(c.spec.namespaces, NamespaceKind::mnt) || !guest::in_user(c)) return false;
  return (c.spec.security.capabilities.bounding >> caps::kSysAdmin & 1) != 0 && covers(c.spec);
}

bool locks_outside(const Context& c) { return c.privileged && locks(c); }

Status copy(Context& c) {
  cover::Copies copies = TRY(cover::copy_from(c.pidfd.get(), c.spec.rootfs.attached_at));
  c.covered = std::move(copies.trees);
  c.copier = copies.maker;
  return {};
}

Status lock(Context& c) {
  if (!c.privileged) {
    cover::Copies copies = TRY(cover::copy_below(c.spec.rootfs.attached_at));
    c.covered = std::move(copies.trees);
    cover::reap(copies.maker);
  }
  return cover::replace(c.root.get(), std::move(c.covered));
}

}  // namespace caisson::covers
