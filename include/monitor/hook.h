// The hooks of a container (lxc.hook.*), as rows of the schedule. A program that ends badly is the row's Error, with its last words.
//
// `stop` and `post-stop` are the undoing of rows: they run after init has ended, in the order of everything that is undone, whether it
// ended well, failed or never came to exec.
#pragma once

#include <algorithm>

#include "monitor/context.h"

namespace caisson::hook {

bool has(const Context& c, HookPoint point);

/// Runs what a point has, in order; the first failure ends it.
template <HookPoint point>
bool has(const Context& c) {
  return has(c, point);
}
Status run(Context& c, HookPoint point);
template <HookPoint point>
Status run(Context& c) {
  return run(c, point);
}

/// Whether the launcher has something of its own to do at that point.
template <HookPoint point>
bool calls(const Context& c) {
  return std::ranges::find(c.spec.callbacks, point) != c.spec.callbacks.end();
}
/// Has it done, by the process that started the container. A start for which nobody is there any more fails; an end does not.
Status call(Context& c, HookPoint point);
template <HookPoint point>
Status call(Context& c) {
  return call(c, point);
}
/// Of rows that have only an undoing.
Status nothing(Context& c);

/// Whether there is a row to begin, or to end, the container with.
bool frames(const Context& c);

/// Keeps the namespaces of init, which are gone with it otherwise, for run<stop>.
Status keep_namespaces(Context& c);
Status run_stop(Context& c);

}  // namespace caisson::hook
