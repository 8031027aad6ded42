// `caisson-monitor attach`: the same walk as a start, with the table of attaching, in a process of its own, so that the program keeps the
// caller's credentials wherever the container's are not asked for. The program becomes a child of the caller (CLONE_PARENT); this process
// reports its pidfd, or the Error, on the channel, and is gone.
#pragma once

#include <vector>

#include "base/fd.h"
#include "spec.h"

namespace caisson::attach {

int run(const AttachSpec& spec, Fd told, Fd channel, std::vector<Fd> slots);

}  // namespace caisson::attach
