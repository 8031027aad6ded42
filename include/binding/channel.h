// A channel to a monitor, and a process known by its pidfd, as JavaScript objects.
#pragma once

#include <napi.h>

#include <memory>

#include "base/fd.h"

namespace caisson::binding {

/// Wraps a connected socket: { send(request), deliver(spec, descriptors), dismiss(), close(), ref(), unref() } that calls `listener(report | null, descriptors)`.
Napi::Value wrap_channel(Napi::Env env, Fd socket, Napi::Function listener);

/// connectChannel(path, listener): connects to a monitor's command socket.
Napi::Value connect_channel(const Napi::CallbackInfo& info);
/// watchProcess(pidfd, callback): calls once with { code, signal } when the process has ended; reaps it if it is a child.
Napi::Value watch_process(const Napi::CallbackInfo& info);
/// killProcess(pidfd, signal, group): false when the process is gone.
Napi::Value kill_process(const Napi::CallbackInfo& info);

}  // namespace caisson::binding
