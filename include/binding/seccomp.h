// The seccomp compiler and the notification listener, for JavaScript.
#pragma once

#include <napi.h>

namespace caisson::binding {

/// compileSeccomp(policy: SeccompPolicy) → SeccompProgram or { failure }.
Napi::Value compile_seccomp(const Napi::CallbackInfo& info);

}  // namespace caisson::binding
