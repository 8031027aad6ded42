// A terminal's outer end behind a socket that Node can read to the last byte.
//
// libuv takes a hang-up together with a short read for the end of the stream, and a pty hangs up as soon as the program inside has closed
// it: what it wrote last would be lost. So a thread of its own reads the pty until EIO, which comes after the last byte, and passes
// everything on; it touches nothing of JavaScript, and ends with either side.
#pragma once

#include <napi.h>

namespace caisson::binding {

/// relayTerminal(descriptor, pidfd) → a socket's descriptor. The terminal's descriptor is taken over. It ends with the program of the pidfd, if
/// that is not -1.
Napi::Value relay_terminal(const Napi::CallbackInfo& info);

}  // namespace caisson::binding
