// The minimal init of lxc-execute and of sandboxes: process 1 of the container reaps what is orphaned, passes signals on to its one
// child, and ends when that child has ended. How it ended goes to the monitor as a wait status, since an exit code cannot tell 137 from
// SIGKILL. Without a program it has no child and ends by SIGKILL only.
#pragma once

#include "monitor/context.h"

namespace caisson::reaper {

/// Runs the Spec's program as a child and waits for it. Returns only when the child could not be made.
Status run(Context& context);

}  // namespace caisson::reaper
