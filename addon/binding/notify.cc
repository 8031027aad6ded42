#include "binding/notify.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "base/sys.h"
#include "binding/failure.h"
#include "binding/insert.h"
#include "binding/pending.h"
#include "binding/reactor.h"
#include "kernel/seccomp.h"

namespace caisson::binding {

static seccomp::Call from_kernel(const seccomp_notif& notif) {
  const seccomp_data& data = notif.data;
  seccomp::Call call{notif.id, static_cast<int32_t>(notif.pid), data.arch, data.nr, seccomp::syscall_name(data.arch, data.nr), {}};
  call.arguments.assign(std::begin(data.args), std::end(data.args));
  return call;
}

/// Reads the caller's memory. The pid might be another process's by now: only that the caller still waits after the read proves that
/// what was opened and read was its memory, seccomp_unotify(2).
static Result<Bytes> read_memory(const Pending& pending, uint64_t id, int pid, uint64_t address, size_t length) {
  const std::string path = "/proc/" + std::to_string(pid) + "/mem";
  const Fd memory = TRY(sys::open(path, O_RDONLY));
  Bytes bytes(length);
  size_t got = 0;
  while (got < length) {
    const ssize_t more = ::pread(memory.get(), bytes.data() + got, length - got, static_cast<off_t>(address + got));
    if (more < 0 && errno == EINTR) continue;
    if (more <= 0) break;
    got += static_cast<size_t>(more);
  }
  if (!pending.waits(id)) return sys::failed_with(ESRCH, "read", path, "the caller no longer waits");
  if (got < length) return sys::failed_with(EFAULT, "read", path);
  return bytes;
}

/// A listener, shared by the functions of its JavaScript object, the reactor's watch and the tasks on their way to Node's thread.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(Napi::Env env, std::unique_ptr<Pending> pending, Napi::Function deliver)
      : reactor_(Reactor::of(env)), pending_(std::move(pending)), deliver_(Napi::Persistent(deliver)) {}

  /// Listens, and keeps the event loop alive, until close() is called.
  void open(Napi::Env env) {
    reactor_.hold(env);
    for (const seccomp_notif& call : pending_->left()) post(call);
    watch();
  }

  /// answer(id, value, error, flags) → false when the caller is gone
  Napi::Value answer(const Napi::CallbackInfo& info) {
    uint64_t id = 0;
    int64_t value = 0;
    int32_t error = 0;
    uint32_t flags = 0;
    if (!convert::from_js(info[0], id, "id") || !convert::from_js(info[1], value, "value") ||
        !convert::from_js(info[2], error, "error") || !convert::from_js(info[3], flags, "flags")) {
      return info.Env().Undefined();
    }
    if (!pending_) return Napi::Boolean::New(info.Env(), false);
    return done(info.Env(), pending_->answer(id, value, error, flags));
  }

  /// inject(id, descriptor, flags) → false when the caller is gone
  Napi::Value inject(const Napi::CallbackInfo& info) {
    uint64_t id = 0;
    int32_t descriptor = -1;
    uint32_t flags = 0;
    if (!convert::from_js(info[0], id, "id") || !convert::from_js(info[1], descriptor, "descriptor") ||
        !convert::from_js(info[2], flags, "flags")) {
      return info.Env().Undefined();
    }
    if (!pending_) return Napi::Boolean::New(info.Env(), false);
    return done(info.Env(), pending_->inject(id, descriptor, flags));
  }

  /// read(id, pid, address, length) → Buffer
  Napi::Value read(const Napi::CallbackInfo& info) {
    uint64_t id = 0, address = 0;
    int32_t pid = 0;
    uint32_t length = 0;
    if (!convert::from_js(info[0], id, "id") || !convert::from_js(info[1], pid, "pid") ||
        !convert::from_js(info[2], address, "address") || !convert::from_js(info[3], length, "length")) {
      return info.Env().Undefined();
    }
    if (!pending_) return failure_to_js(info.Env(), sys::failed_with(ESRCH, "read", {}, "the listener is closed"));
    auto bytes = read_memory(*pending_, id, pid, address, length);
    return bytes ? convert::to_js(info.Env(), *bytes) : failure_to_js(info.Env(), bytes.error());
  }

  /// mount(id, pid, source, target, readOnly)
  Napi::Value mount(const Napi::CallbackInfo& info) {
    uint64_t id = 0;
    int32_t pid = 0;
    std::string source, target;
    bool read_only = false;
    if (!convert::from_js(info[0], id, "id") || !convert::from_js(info[1], pid, "pid") ||
        !convert::from_js(info[2], source, "source") || !convert::from_js(info[3], target, "target") ||
        !convert::from_js(info[4], read_only, "readOnly")) {
      return info.Env().Undefined();
    }
    if (!pending_) return failure_to_js(info.Env(), sys::failed_with(ESRCH, "move_mount", {}, "the listener is closed"));
    Status mounted = insert_mount(*pending_, id, pid, source, target, read_only);
    return mounted ? info.Env().Undefined() : failure_to_js(info.Env(), mounted.error());
  }

  /// Receives no more calls; those received can still be answered.
  Napi::Value stop(const Napi::CallbackInfo& info) {
    if (pending_) pending_->stop(), reactor_.forget(token_);
    return info.Env().Undefined();
  }

  /// Leaves unanswered calls to whoever opens the listener next.
  Napi::Value close(const Napi::CallbackInfo& info) {
    if (!pending_) return info.Env().Undefined();
    stop(info);
    pending_->release();
    pending_.reset();
    reactor_.release(info.Env());
    deliver_.Reset();
    return info.Env().Undefined();
  }

 private:
  void watch() {
    stalled_ = false;
    token_ = reactor_.watch(pending_->listener(), [self = shared_from_this(), pending = pending_] { return self->receive(*pending); });
  }

  /// On the reactor's thread. RECV would block without a call, so poll(2) says whether there is one.
  bool receive(Pending& pending) {
    pollfd state{pending.listener(), POLLIN, 0};
    if (::poll(&state, 1, 0) <= 0) return true;
    if ((state.revents & POLLIN) == 0) return end();
    if (pending.full()) {
      reactor_.post([self = shared_from_this()](Napi::Env) { self->stall(); });
      return true;
    }
    auto call = pending.receive();
    if (!call) return end();
    if (*call) post(**call);
    return true;
  }

  /// No process has the filter any more.
  bool end() {
    reactor_.post([self = shared_from_this()](Napi::Env env) { self->tell(env, nullptr); });
    return false;
  }

  void post(const seccomp_notif& notif) {
    reactor_.post([self = shared_from_this(), call = from_kernel(notif)](Napi::Env env) { self->tell(env, &call); });
  }

  /// On Node's thread, as is everything below: stops receiving until a call has been answered.
  void stall() {
    if (!pending_ || stalled_ || !pending_->full()) return;
    stalled_ = true;
    reactor_.forget(token_);
  }

  void tell(Napi::Env env, const seccomp::Call* call) {
    if (!pending_) return;
    const Napi::HandleScope scope(env);
    deliver_.Value().MakeCallback(env.Global(), {call == nullptr ? env.Null() : convert::to_js(env, *call)});
  }

  Napi::Value done(Napi::Env env, Result<bool> there) {
    if (!there) return failure_to_js(env, there.error());
    if (stalled_ && !pending_->stopped()) watch();
    return Napi::Boolean::New(env, *there);
  }

  Reactor& reactor_;
  std::shared_ptr<Pending> pending_;  ///< none once closed
  Napi::FunctionReference deliver_;
  Reactor::Token token_ = 0;
  bool stalled_ = false;
};

Napi::Value open_listener(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsNumber() || !info[1].IsNumber() || !info[2].IsFunction()) return throw_arguments(env);
  Fd listener(info[0].As<Napi::Number>().Int32Value());
  Fd journal(info[1].As<Napi::Number>().Int32Value());
  auto pending = Pending::open(std::move(listener), std::move(journal));
  if (!pending) return failure_to_js(env, pending.error());
  const auto opened = std::make_shared<Listener>(env, std::move(*pending), info[2].As<Napi::Function>());
  opened->open(env);
  auto object = Napi::Object::New(env);
  const auto offer = [&](const char* name, Napi::Value (Listener::*method)(const Napi::CallbackInfo&)) {
    object.Set(name, Napi::Function::New(env, [opened, method](const Napi::CallbackInfo& call) { return ((*opened).*method)(call); }, name));
  };
  offer("answer", &Listener::answer);
  offer("inject", &Listener::inject);
  offer("read", &Listener::read);
  offer("mount", &Listener::mount);
  offer("stop", &Listener::stop);
  offer("close", &Listener::close);
  return object;
}

}  // namespace caisson::binding
