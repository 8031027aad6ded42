// An overlay as the root: lower layers, shown through an id map if need be, and an upper one on disk or in memory.
//
// overlayfs cannot be shown through an id map itself, and mounts read-only on an upper layer that is, where its mounter's uid 0 is no id:
// lower layers are shifted one by one, and the upper layer's owners stand on disk as they are outside.
//
// A layer that is a detached mount is taken since Linux 6.15. Before, it must be mounted where the caller is (clone_private_mount,
// CVE-2021-3732): it is then attached for that moment in the container's mount namespace, above "/", where nobody else ever sees it.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "spec.h"

namespace caisson::overlay {

/// Whether it can only be made once the container's namespaces are there.
bool needs_guest(const RootfsSpec& spec);
/// The overlay as a detached mount. `user_namespace` shifts the lower layers, or is -1; `mount_namespace` is a file below /proc of the
/// namespace to attach layers in, or empty for the caller's own.
Result<Fd> open(const RootfsSpec& spec, int user_namespace, const std::string& mount_namespace);

}  // namespace caisson::overlay
