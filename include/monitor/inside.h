// `caisson-monitor inside`: changes the mounts of a running container, from a process of its own that enters nothing but its mount
// and user namespaces: what it does there, the container's root could have done. No directory is shared beforehand: a bind is a detached copy
// made outside, open_tree(2), and moved to a target that is resolved below the container's root, move_mount(2).
#pragma once

#include <vector>

#include "base/fd.h"
#include "spec.h"

namespace caisson::inside {

int run(const InsideSpec& spec, Fd told, Fd channel, std::vector<Fd> slots);

}  // namespace caisson::inside
