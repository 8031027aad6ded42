// The container's root file system: opened detached, attached over the old root, and entered by pivot_root(2).
#pragma once

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "spec.h"

namespace caisson::rootfs {

/// The root as a detached mount: a copy of the directory's mounts, an overlay, an image, or an empty tmpfs.
/// `found`: its directories as `find` gave them; empty: they are looked up now.
Result<Fd> open(const RootfsSpec& spec, const std::vector<Fd>& found);
/// The directories of the root, O_PATH, found with the caller's own rights: the root that it becomes may not pass those above them, such
/// as a home of mode 0700. Empty for a root that is made.
Result<std::vector<Fd>> find(const RootfsSpec& spec);
/// Attaches the detached root above "/" of the caller's own mount namespace, where no directory has to exist for it, or where the Spec
/// says.
Status attach(const RootfsSpec& spec, int root);
/// Makes the links and files of an empty root.
Status fill(const RootfsSpec& spec, int root);
/// Gives an empty root its attributes, once everything has been mounted in it.
Status close(const RootfsSpec& spec, int root);
/// Makes `root` the process's root and lets go of the old one, before any code of the container runs.
Status pivot(int root);

}  // namespace caisson::rootfs
