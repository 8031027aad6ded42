// Covers that stay where they are. Who has CAP_SYS_ADMIN over a mount namespace may unmount whatever was mounted in it, and what lay below
// can be read. The kernel locks mounts together (MNT_LOCKED) when it copies a mount namespace for another user namespace
// (mount_namespaces(7)), and a lock stays when such a tree is copied and attached elsewhere, whoever does it. So the trees with covers in
// them are copied from a copy of the container's mount namespace that belongs to another user namespace and ends with the process that made
// it: outside that of the monitor, inside (nobody there may join from outside) a new one. What is not visible in full cannot be mounted
// anew in a user namespace either: a second /proc is refused, which would show what the covers hide.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::cover {

/// Detached copies of /proc and /sys, in this order; closed where nothing is mounted there.
struct Copies {
  std::vector<Fd> trees;
  pid_t maker = 0;  ///< a child of the caller's, without exit signal, that only has to be waited for; 0: none
};

/// By a process that joins init's mount namespace: needs CAP_SYS_ADMIN in a user namespace above. `root`: where the container's root is
/// attached, nothing when above `/`.
Result<Copies> copy_from(int init, const std::string& root);
/// The same of the caller's own mount namespace, by a process that takes a user namespace below the caller's.
Result<Copies> copy_below(const std::string& root);
/// Waits for who made the copies: its mount namespace goes with it, which may take a grace period.
void reap(pid_t& maker);

/// Puts the copies in the place of what they were made of. That is moved to /proc of the caller's old root, to go with it at pivot_root.
Status replace(int root, std::vector<Fd> trees);

}  // namespace caisson::cover
