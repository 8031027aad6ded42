// `caisson-monitor nursery`: forks a monitor for each packet that its launcher sends: a verb, the Spec's memfd, the channel, and the Spec's
// own descriptors. It reads no Spec, so that no monitor has anything of another one's; it takes nothing from a launcher that has changed
// its user meanwhile, and ends when the launcher has closed its end.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"

namespace caisson::nursery {

/// What a monitor is started with.
struct Order {
  std::string verb;
  Fd told;
  Fd channel;
  std::vector<Fd> slots;
};

/// Returns in every child with its order, and with an empty verb when the launcher has closed its end.
Order run(Fd socket);

}  // namespace caisson::nursery
