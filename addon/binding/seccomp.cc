#include "binding/seccomp.h"

#include "binding/failure.h"
#include "kernel/seccomp.h"

namespace caisson::binding {

Napi::Value compile_seccomp(const Napi::CallbackInfo& info) {
  seccomp::Policy policy;
  if (!convert::from_js(info[0], policy, seccomp::Policy::kName)) return info.Env().Undefined();
  auto compiled = seccomp::compile(policy);
  return compiled ? convert::to_js(info.Env(), *compiled) : failure_to_js(info.Env(), compiled.error());
}

}  // namespace caisson::binding
