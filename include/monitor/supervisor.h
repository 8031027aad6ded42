// Holds a program that is attached to a container without cgroups: the program and all that it starts live in a pid namespace of their
// own, which the kernel empties when its process 1 ends. The supervisor is what the caller sees: it passes signals on, and ends as the
// program did. Killed itself, it takes the namespace with it.
#pragma once

#include "monitor/context.h"

namespace caisson::supervisor {

/// The next child is process 1 of a new pid namespace; this process stays where it is.
Status unshare_pids(Context& context);

/// Runs the Spec's program below a minimal init, and never returns but with a failure to begin.
Status run(Context& context);

}  // namespace caisson::supervisor
