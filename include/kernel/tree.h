// Removing a directory tree that strangers have filled: by descriptors, through no link, and never into another mount.
#pragma once

#include <string>

#include "base/result.h"

namespace caisson::tree {

/// Takes `parent`/`name` out of sight under the name of unfinished work, `.caisson-…`, which recover() removes too, and then removes it
/// with all that is below. Any depth costs the same few descriptors. A mount below it ends it with EXDEV or EBUSY: nothing that was bound
/// there is lost. One that is gone already is no Error.
Status remove(const std::string& parent, const std::string& name);

}  // namespace caisson::tree
