// How a native function tells of a failure: it returns { failure: … }, which lib/native turns into a ContainerError. Only wrong arguments,
// a mistake in the library itself, throw.
#pragma once

#include <napi.h>

#include "base/result.h"
#include "binding/convert.h"

namespace caisson::binding {

inline Napi::Value failure_to_js(Napi::Env env, const Error& error) {
  auto object = Napi::Object::New(env);
  object.Set("failure", convert::to_js(env, error));
  return object;
}

inline Napi::Value throw_arguments(Napi::Env env) {
  Napi::TypeError::New(env, "wrong arguments to a native function").ThrowAsJavaScriptException();
  return env.Undefined();
}

}  // namespace caisson::binding
