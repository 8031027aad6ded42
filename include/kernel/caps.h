// Capability sets, capabilities(7), by raw capget/capset/prctl.
#pragma once

#include "base/result.h"
#include "spec.h"

namespace caisson::caps {

constexpr unsigned kSysAdmin = 21;

/// Whether the caller has that capability in effect, in its own user namespace.
bool effective(unsigned capability);
/// Effective := permitted, for the calling thread.
void raise_permitted();
/// Lets a following change of uid keep the permitted set (SECBIT_KEEP_CAPS until exec).
Status keep_over_setuid();
/// Shrinks the bounding set: needs CAP_SETPCAP, so it comes before anything else is given up.
Status bound(uint64_t bounding);
/// Permitted, effective, inheritable (equal to ambient), ambient and securebits; nothing can be regained afterwards.
Status set(const CapabilitySpec& spec);

}  // namespace caisson::caps
