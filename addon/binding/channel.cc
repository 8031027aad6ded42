#include "binding/channel.h"

#include <poll.h>
#include <sys/wait.h>

#include <cerrno>
#include <memory>

#include "base/socket.h"
#include "base/sys.h"
#include "binding/convert.h"
#include "binding/failure.h"
#include "binding/launch.h"
#include "binding/reactor.h"
#include "protocol.h"

namespace caisson::binding {

class Channel : public Napi::ObjectWrap<Channel> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Channel",
                       {InstanceMethod<&Channel::send>("send"), InstanceMethod<&Channel::deliver_spec>("deliver"),
                        InstanceMethod<&Channel::dismiss>("dismiss"), InstanceMethod<&Channel::is_quiet>("isQuiet"), InstanceMethod<&Channel::close>("close"),
                        InstanceMethod<&Channel::ref>("ref"), InstanceMethod<&Channel::unref>("unref")});
  }

  explicit Channel(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Channel>(info) {}

  /// The object stays alive, and listens, until the peer closes or close() is called.
  void open(Napi::Env env, Fd socket, Napi::Function listener) {
    listener_ = Napi::Persistent(listener);
    line_ = std::make_shared<Line>();
    line_->socket = std::move(socket);
    Ref();
    Reactor& reactor = Reactor::of(env);
    token_ = reactor.watch(line_->socket.get(), [this, line = line_, &reactor] { return receive(line, reactor); });
  }

 private:
  /// The connection, which the reactor and its tasks may hold on to for longer than the object is there.
  struct Line {
    Fd socket;
    bool open = true;  ///< and with it the object; on Node's thread only
  };

  /// On the reactor's thread.
  bool receive(const std::shared_ptr<Line>& line, Reactor& reactor) {
    auto packet = socket::receive(line->socket.get(), kLargestMessage, false);
    if (!packet && packet.error().number == EAGAIN) return true;
    auto report = std::make_shared<Report>();
    const bool good = packet && !packet->data.empty() && decode(packet->data.data(), packet->data.size(), *report);
    auto descriptors = std::make_shared<std::vector<Fd>>();
    if (good) *descriptors = std::move(packet->descriptors);
    reactor.post([this, line, good, report, descriptors](Napi::Env env) {
      if (line->open) deliver(env, good, *report, *descriptors);
    });
    return good;
  }

  /// On Node's thread.
  void deliver(Napi::Env env, bool good, const Report& report, std::vector<Fd>& descriptors) {
    const Napi::HandleScope scope(env);
    const Napi::Function listener = listener_.Value();
    if (!good) shut(env);
    auto numbers = Napi::Array::New(env, descriptors.size());
    for (uint32_t i = 0; i < descriptors.size(); i++) numbers.Set(i, Napi::Number::New(env, descriptors[i].release()));
    listener.MakeCallback(env.Global(), {good ? convert::to_js(env, report) : env.Null(), numbers});
  }

  void shut(Napi::Env env) {
    if (!line_) return;
    Reactor& reactor = Reactor::of(env);
    reactor.forget(token_);
    line_->open = false;
    line_.reset();
    listener_.Reset();
    if (held_) held_ = false, reactor.release(env);
    Unref();
  }

  /// Whether nothing has come that was not yet told: neither a report nor the end.
  Napi::Value is_quiet(const Napi::CallbackInfo& info) {
    pollfd state{line_ ? line_->socket.get() : -1, POLLIN, 0};
    return Napi::Boolean::New(info.Env(), line_ && ::poll(&state, 1, 0) == 0);
  }

  Napi::Value send(const Napi::CallbackInfo& info) {
    Request request;
    if (!convert::from_js(info[0], request, "request")) return info.Env().Undefined();
    if (!line_) return failure_to_js(info.Env(), sys::failed_with(EPIPE, "sendmsg"));
    Status sent = socket::send(line_->socket.get(), encode(request), {}, false);
    return sent ? info.Env().Undefined() : failure_to_js(info.Env(), sent.error());
  }
  /// The whole Spec of a container that was made ahead, and its descriptors.
  Napi::Value deliver_spec(const Napi::CallbackInfo& info) {
    StartSpec spec;
    std::vector<int> descriptors;
    if (!convert::from_js(info[0], spec, "spec") || !convert::from_js(info[1], descriptors, "descriptors")) return info.Env().Undefined();
    auto told = seal_spec(encode(spec));
    if (!told) return failure_to_js(info.Env(), told.error());
    descriptors.insert(descriptors.begin(), told->get());
    return pass(info.Env(), descriptors);
  }
  /// There is none.
  Napi::Value dismiss(const Napi::CallbackInfo& info) { return pass(info.Env(), {}); }
  Napi::Value pass(Napi::Env env, const std::vector<int>& descriptors) {
    if (!line_) return failure_to_js(env, sys::failed_with(EPIPE, "sendmsg"));
    Status sent = socket::send(line_->socket.get(), Bytes{1}, descriptors, false);
    return sent ? env.Undefined() : failure_to_js(env, sent.error());
  }
  Napi::Value close(const Napi::CallbackInfo& info) {
    shut(info.Env());
    return info.Env().Undefined();
  }
  Napi::Value ref(const Napi::CallbackInfo& info) {
    if (line_ && !held_) held_ = true, Reactor::of(info.Env()).hold(info.Env());
    return info.Env().Undefined();
  }
  Napi::Value unref(const Napi::CallbackInfo& info) {
    if (held_) held_ = false, Reactor::of(info.Env()).release(info.Env());
    return info.Env().Undefined();
  }

  std::shared_ptr<Line> line_;  ///< none once closed
  Reactor::Token token_ = 0;
  Napi::FunctionReference listener_;
  bool held_ = false;
};

Napi::Value wrap_channel(Napi::Env env, Fd socket, Napi::Function listener) {
  const Napi::Object object = Channel::define(env).New({});
  Channel::Unwrap(object)->open(env, std::move(socket), listener);
  return object;
}

Napi::Value connect_channel(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsFunction()) return throw_arguments(info.Env());
  auto socket = socket::connect(info[0].As<Napi::String>().Utf8Value());
  if (!socket) return failure_to_js(info.Env(), socket.error());
  return wrap_channel(info.Env(), std::move(*socket), info[1].As<Napi::Function>());
}

/// How a process ended; by waitid for our own child, which is reaped by it, for others nothing is known but the end.
static Napi::Value ending(Napi::Env env, int pidfd) {
  siginfo_t info{};
  constexpr auto kByPidfd = static_cast<idtype_t>(3);  // P_PIDFD, Linux 5.4
  auto object = Napi::Object::New(env);
  object.Set("code", env.Null());
  object.Set("signal", env.Null());
  if (::waitid(kByPidfd, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG | __WALL) == 0 && info.si_pid != 0) {
    object.Set(info.si_code == CLD_EXITED ? "code" : "signal", Napi::Number::New(env, info.si_status));
  }
  return object;
}

Napi::Value watch_process(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber() || !info[1].IsFunction()) return throw_arguments(info.Env());
  // A copy: the caller closes its own when it likes.
  auto copy = sys::copy(info[0].As<Napi::Number>().Int32Value());
  if (!copy) return failure_to_js(info.Env(), copy.error());
  const auto pidfd = std::make_shared<Fd>(std::move(*copy));
  auto callback = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[1].As<Napi::Function>()));
  Reactor& reactor = Reactor::of(info.Env());
  const bool held = info.Length() < 3 || info[2].ToBoolean();
  if (held) reactor.hold(info.Env());
  const int fd = pidfd->get();
  reactor.watch(fd, [pidfd, callback, held, &reactor] {
    reactor.post([pidfd, callback, held, &reactor](Napi::Env env) {
      const Napi::HandleScope scope(env);
      if (held) reactor.release(env);
      callback->Value().MakeCallback(env.Global(), {ending(env, pidfd->get())});
      callback->Reset();
    });
    return false;
  });
  return info.Env().Undefined();
}

Napi::Value kill_process(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber() || !info[1].IsNumber()) return throw_arguments(info.Env());
  const int pidfd = info[0].As<Napi::Number>().Int32Value();
  const int signal = info[1].As<Napi::Number>().Int32Value();
  constexpr unsigned kGroup = 1U << 2;  // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
  Status sent = sys::failed_with(EINVAL, "pidfd_send_signal");
  if (info[2].ToBoolean()) sent = sys::pidfd_send_signal(pidfd, signal, kGroup);
  if (!sent && sent.error().number == EINVAL) sent = sys::pidfd_send_signal(pidfd, signal);
  if (!sent && sent.error().number != ESRCH) return failure_to_js(info.Env(), sent.error());
  return Napi::Boolean::New(info.Env(), static_cast<bool>(sent));
}

}  // namespace caisson::binding
