// System calls of a container, answered in JavaScript.
#pragma once

#include <napi.h>

namespace caisson::binding {

/// openListener(listener, journal, deliver) takes both descriptors and returns { answer, inject, read, mount, stop, close }, or { failure }.
/// `deliver` is called with each seccomp::Call, and with null when the filter has no process left.
Napi::Value open_listener(const Napi::CallbackInfo& info);

}  // namespace caisson::binding
