// `caisson-monitor start`: the run directory, the schedule, the life, and the end.
#pragma once

#include <vector>

#include "base/fd.h"
#include "spec.h"

namespace caisson::monitor {

/// Starts a container and stays with it. A Spec that was only the part to be made ahead is replaced by the whole one.
int run(StartSpec& spec, Fd told, Fd channel, std::vector<Fd> slots);
/// Stays with a container whose monitor was killed and whose init lives. How it ends is known from Linux 6.15 on (PIDFD_INFO_EXIT): it is
/// another process's child.
int adopt(StartSpec& spec, Fd told, Fd channel, std::vector<Fd> slots);

}  // namespace caisson::monitor
