// `caisson-monitor view PROGRAM ARGUMENT…`: becomes a program that sees an overlay as its container would, in a mount namespace of its own:
// lower layers through the id map, and so with the ids that the upper layer has on disk. It goes with the program.
//
// The ViewSpec is a sealed memfd on descriptor 5. A failure is said on standard error and is exit code 126.
#pragma once

namespace caisson::view {

int run(char** command);

}  // namespace caisson::view
