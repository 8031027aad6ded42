// What the monitor gives up once its container runs: a Landlock domain of its own.
//
// A domain is for good and is inherited by children, so only a monitor can enter one that will never start anything again: not of an init
// that may reboot (another start mounts, maps ids and connects), nor where hooks or programs of interfaces are to run at the end. Those of
// `execute` and of sandboxes can. From then on such a monitor executes nothing, opens no TCP connection, and writes only where the undoing
// has to: its run directory, its cgroups, the file by which a profile is unloaded.
#pragma once

#include "monitor/context.h"

namespace caisson::confinement {

/// Whether nothing of what is left to do needs more.
bool fits(const Context& context);
/// Enters the domain. A kernel without Landlock has none to enter.
Status enter(const Context& context);

}  // namespace caisson::confinement
