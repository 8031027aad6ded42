// A mount put into the mount namespace of a process that waits, from outside: nothing was arranged in it before.
//
// The detached copy of the source is made in our namespace (open_tree(2), Linux 5.2). A thread of its own, which shares no file system
// attributes with the others, then enters the caller's namespace, attaches the copy and ends: Node is neither forked nor moved. The target
// is resolved below the caller's root by openat2(2), so that no link of the container leads out of it.
#pragma once

#include <string>

#include "binding/pending.h"

namespace caisson::binding {

/// Shows `source`, a file or directory of ours, at the absolute path `target` of the caller. A missing target is made, with the rights and
/// the owner that the caller would have. Needs CAP_SYS_ADMIN over the caller's namespace.
Status insert_mount(const Pending& pending, uint64_t id, int pid, const std::string& source, const std::string& target, bool read_only);

}  // namespace caisson::binding
