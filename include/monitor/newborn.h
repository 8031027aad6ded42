// The clone that makes the container's first process, a child of the monitor in its new and its joined namespaces.
#pragma once

#include "monitor/context.h"

namespace caisson::newborn {

struct Child {
  pid_t pid = 0;  ///< 0: this is the child
  Fd pidfd;
};

/// clone3(2) with those CLONE_NEW* flags, into the v2 cgroup `unified` (-1: none). Namespaces that are to be joined (lxc.namespace.share.*)
/// are entered by a process in between, which the monitor never becomes: it has to stay on the host.
Result<Child> clone(Context& c, uint64_t flags, int unified);

}  // namespace caisson::newborn
