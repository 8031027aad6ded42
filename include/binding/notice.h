// News from files of the kernel, for which it wakes those who poll them: control files of cgroup v2 (POLLPRI after a change), pressure
// triggers (POLLPRI, psi.rst), and v1's events (an eventfd registered in cgroup.event_control).
#pragma once

#include <napi.h>

namespace caisson::binding {

/// watchNotice(file, trigger, control, listener) → { close() } | { failure }: calls `listener(text)` with what the file says after each
/// change. A `trigger` is written to the file first. With `control`, the path of a v1 cgroup.event_control, the file is registered there.
/// The event loop is not kept alive; a file that goes away is watched no longer.
Napi::Value watch_notice(const Napi::CallbackInfo& info);

}  // namespace caisson::binding
