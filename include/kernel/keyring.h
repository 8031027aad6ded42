// Session keyrings, session-keyring(7).
#pragma once

#include "base/result.h"

namespace caisson::keyring {

/// A new anonymous session keyring, so that no key of the caller is reachable.
Status renew();

}  // namespace caisson::keyring
