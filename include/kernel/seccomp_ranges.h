// A filter that answers most calls by their number alone, found by bisection.
//
// The kernel runs a new filter once for every number of both of its ABIs, to remember which are always allowed (seccomp_cache_prepare), so
// that how deep a filter goes is what loading it costs: a launch's and an attach's largest single part. Neighbouring numbers mostly share
// one answer, so a hundred ranges stand for a thousand comparisons. Of the filter itself those parts stay that look at arguments.
#pragma once

#include "kernel/seccomp_block.h"

namespace caisson::seccomp {

/// The same filter by ranges of the numbers of this machine's ABIs; unchanged when it is not understood, has other ABIs, or got longer.
Code with_ranges(Code code);

}  // namespace caisson::seccomp
