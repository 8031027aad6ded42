// The kernel's own file systems inside a container: /proc, /sys and /sys/fs/cgroup (lxc.mount.auto).
#pragma once

#include "base/result.h"
#include "spec.h"

namespace caisson::automount {

/// A fresh procfs of the caller's pid namespace.
Status mount_proc(int root, const StartSpec& spec);
/// Makes /proc/sys (but for its net, with a network namespace) and sysrq-trigger read-only, when the Spec asks for it.
Status protect_proc(int root, const StartSpec& spec);
/// sysfs of the caller's network namespace.
Status mount_sys(int root, const StartSpec& spec);
/// cgroup2 of the caller's cgroup namespace at /sys/fs/cgroup.
Status mount_cgroup(int root, const StartSpec& spec);
/// Masked and read-only paths.
Status cover(int root, const StartSpec& spec);

}  // namespace caisson::automount
