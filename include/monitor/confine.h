// `caisson-monitor confine PROGRAM ARGUMENT…`: becomes a program of the host that touches data nobody vouches for. It takes namespaces of
// its own, waits until their id maps are written, builds a root directory that holds the host's programs and one directory of data, and
// puts on what is independent of those: few capabilities, a Landlock domain, no new privileges, a seccomp filter.
//
// The ConfineSpec is a sealed memfd on descriptor 5. Descriptor 4 is told when there is something to map; 3 brings 'k' (keep the groups,
// which may not be set) or 'c' (clear them) when it has been. A failure is said on standard error and is exit code 126; otherwise the end
// is the program's own, exit code or signal.
#pragma once

namespace caisson::confine {

int run(char** command);

}  // namespace caisson::confine
