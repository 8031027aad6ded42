// A container that is made before anybody knows what it will run: the rows between its two halves (the table in start.cc says which are
// which). The first Spec names its namespaces, ids and cgroups; the second one is whole and has those alike.
#pragma once

#include "monitor/context.h"

namespace caisson::ahead {

/// A host row: waits for the second Spec and its descriptors, which the launcher sends by the channel, or for the end of the channel.
Status await_spec(Context& c);
/// A host row: the limits of the second Spec, on the cgroups of the first.
Status limit_cgroups(Context& c);
/// A guest row: reads what the host side has passed on.
Status take_spec(Context& c);

}  // namespace caisson::ahead
