// Rows that make what covers /proc and /sys stay: copied where the container has no say, put back by the guest.
#pragma once

#include "monitor/context.h"

namespace caisson::covers {

/// Whether the container could take a cover off, were it not locked.
bool locks(const Context& c);
/// Whether the monitor can make the copies; otherwise the guest does.
bool locks_outside(const Context& c);

Status copy(Context& c);
Status lock(Context& c);

}  // namespace caisson::covers
