// The nursery: a monitor that has been exec'ed ahead of time and forks the next ones.
//
// A program's start is dear where CPUID is (glibc asks it some twenty times, and each is a trap into a hypervisor), so the second launch
// within a while makes a process that has it behind it, and that one and the later ones are forks of it: children of this process like any
// other (CLONE_PARENT), with nothing of each other's, since the nursery reads no Spec. It has no say in what it forks and is asked by this
// thread alone; it ends with the socket, when it has not been used for a while, and when it is old, so that it does not differ from this
// process for long in what a child inherits. Whatever it cannot do, the launcher does itself.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

namespace caisson::binding::nursery {

/// Forks a monitor with a verb and descriptors from 3 on. False: there is no nursery.
bool launch(Napi::Env env, const char* verb, const std::vector<int>& descriptors, const std::string& fallback);
/// closeNursery(): lets it end when it has done what it was asked.
Napi::Value close(const Napi::CallbackInfo& info);

}  // namespace caisson::binding::nursery
