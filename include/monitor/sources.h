// Rows of what a container shows of the host: its root file system and the binds. Opened by the side that may, as detached mounts; shifted
// and locked by the host side; attached by the guest.
#pragma once

#include "monitor/context.h"

namespace caisson::sources {

/// Whether a mount takes ids by an id map.
bool shifts(const Context& c);
/// Whether the container could take off a restriction of a mount, were it not locked.
bool locks(const Context& c);

Status open_root(Context& c);
Status open_sources(Context& c);
Status shift_mounts(Context& c);
Status lock_mounts(Context& c);

/// Guest rows: what is found while the process is still the caller, to be opened as another one.
Status find_root(Context& c);
Status find_sources(Context& c);
Status attach_mounts(Context& c);

}  // namespace caisson::sources
