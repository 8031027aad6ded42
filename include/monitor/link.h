// `caisson-monitor link`: interfaces outside a start. A bridge, a container's new or lost interface, a rate, and what a namespace has.
//
// A process of its own, because only a single-threaded one may enter another namespace without a thread of Node's being left there, and
// may join a user namespace at all. It answers with one Report (a long list in several), watches for as long as it was asked to, and ends.
#pragma once

#include <vector>

#include "base/fd.h"
#include "spec.h"

namespace caisson::link {

int run(const LinkRequest& request, Fd told, Fd channel, std::vector<Fd> slots);

}  // namespace caisson::link
