// Starting the monitor, from a write-sealed memfd.
//
// The program is the monitor embedded in this addon, written once to a memfd that is then sealed: nobody can change what later launches
// run, not even a container that gets hold of /proc/PID/exe (CVE-2019-5736). Where memfds may not be executed (vm.memfd_noexec=2) or do
// not exist, the file `caisson-monitor` beside the addon is run.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "base/codec.h"
#include "base/fd.h"
#include "base/result.h"
#include "binding/child.h"

namespace caisson::binding {

/// How many null descriptors come before the Spec.
constexpr int kNull = 3;

/// The monitor's program with a verb.
Result<child::Program> monitor_program(const char* verb, const std::string& fallback);

/// Says on the monitor's end of a channel that there will be no monitor.
void tell_failure(int channel, Error error);

/// The bytes of a Spec as a monitor gets them.
Result<Fd> seal_spec(const Bytes& spec);

/// launch(verb, spec, descriptors, listener, fallback) → channel or { failure }.
Napi::Value launch(const Napi::CallbackInfo& info);
/// sealConfinement(ConfineSpec, fallback) → [memfd with it, the monitor's program], for whoever starts `caisson-monitor confine` otherwise.
Napi::Value seal_confinement(const Napi::CallbackInfo& info);
/// The same of a ViewSpec and `caisson-monitor view`.
Napi::Value seal_view(const Napi::CallbackInfo& info);
/// decodeSpec(memfd) → StartSpec: what a monitor was told.
Napi::Value decode_spec(const Napi::CallbackInfo& info);

}  // namespace caisson::binding
